"""Everything a decision can ask for, one frozen record each. `agent/act.py` has exactly one executor for each.

Store actions carry the condition under which Redis accepts them; it is checked in the same atomic step as
the write, so an action decided on an old reading does nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from rmqcluster.core.model import Operation, OperationKind, Purpose, Stage


@dataclass(frozen=True, slots=True)
class ClaimFounding:
    """Claim the founding: only if there is no record, no claim, no announced identity, and a blank majority."""

    cluster_id_seed: str = ""  # the executor draws the id; a seed keeps simulations repeatable


@dataclass(frozen=True, slots=True)
class AbandonClaim:
    """Give up my claim, if it is still mine."""

    reason: str


@dataclass(frozen=True, slots=True)
class CommitFounding:
    """Write the cluster record: only if my claim stands, there is no record, and no identity is announced."""

    cluster_id: str


@dataclass(frozen=True, slots=True)
class RestoreRecord:
    """Write the record that a majority of the disks carries: only if Redis still holds what was read."""

    cluster_id: str
    epoch: int
    replaces: str | None  # the cluster id read in Redis, None when there was no record


@dataclass(frozen=True, slots=True)
class TakeOwnership:
    """Make this instance the owner of its name: only if the owner is still the one that was read."""

    replaces: str | None


@dataclass(frozen=True, slots=True)
class TakeLease:
    """Take the monitor lease: only if it is free. The new epoch is above the stored one and `floor`."""

    floor: int


@dataclass(frozen=True, slots=True)
class ReleaseLease:
    reason: str


@dataclass(frozen=True, slots=True)
class RemoveMember:
    """Take a node out of `members`: only under my lease, only while it has no heartbeat."""

    node: str
    epoch: int
    reason: str


@dataclass(frozen=True, slots=True)
class SetMaster:
    """Move the master label: only under my lease, only if it still names `replaces`. Done, it ends `operation`."""

    node: str
    replaces: str | None
    epoch: int
    reason: str
    operation: Operation | None = None


@dataclass(frozen=True, slots=True)
class LoadTables:
    """Load the metadata of my booting broker from its own disk, if a majority waits and none of it has newer data.

    `missed`: member -> whom it missed when it last ran with a majority; None unknown.
    """

    missed: Mapping[str, frozenset[str] | None]


@dataclass(frozen=True, slots=True)
class StartOperation:
    """Write the operation record: only if there is none, and, with an `epoch`, only under my lease of that epoch.

    Who was killed goes on under the record that is there, if it is its subject.
    """

    kind: OperationKind
    subject: str
    seconds: float
    by: str
    executor: str = ""
    epoch: int = 0
    consent: bool = False
    target: str | None = None
    why: str = ""
    id: str = ""  # drawn by the store when empty


@dataclass(frozen=True, slots=True)
class ClaimOperation:
    """Begin an operation that whoever holds the lease may carry out: from now on it is mine alone.

    Only if the record is still this one and nobody began it, and, with an `epoch`, only under my lease of that
    epoch. Its deadline counts from here.
    """

    operation: Operation
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class ReadyOperation:
    """The subject may join: only if the record is still this one."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class EndOperation:
    """Take the record away: only if it is still this one. `outcome` is done, failed or refused."""

    operation: Operation
    outcome: str
    text: str


@dataclass(frozen=True, slots=True)
class ForgetName:
    """Take what is left of a forgotten node out of Redis: only under my lease, only while it has no heartbeat."""

    node: str
    epoch: int


@dataclass(frozen=True, slots=True)
class OfferFounder:
    """Name the founder as master so that others can join it: only under my claim."""

    node: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Take my own heartbeat, registration, lease and master label away, each only if it is mine."""

    final: bool  # also the announcement and the ownership of the name


@dataclass(frozen=True, slots=True)
class WriteMarker:
    cluster_id: str
    stage: Stage
    epoch: int


@dataclass(frozen=True, slots=True)
class RaiseEpoch:
    """Remember the highest epoch seen, on disk."""

    epoch: int


@dataclass(frozen=True, slots=True)
class StartBroker:
    """Write the generated configuration and boot. `fresh` empties a disposable disk first (never a member's)."""

    purpose: Purpose
    cluster_id: str | None = None
    target: str | None = None
    epoch: int = 0
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class StopBroker:
    """SIGTERM: the broker ends in order."""

    reason: str


@dataclass(frozen=True, slots=True)
class KillBroker:
    reason: str


@dataclass(frozen=True, slots=True)
class JoinByCommand:
    """stop_app, join_cluster, start_app against `target`: only while this broker lists nobody else."""

    target: str


@dataclass(frozen=True, slots=True)
class Provision:
    """Import accounts and definitions and grow replicas: only under my lease, re-read right before."""

    epoch: int
    cluster_id: str


@dataclass(frozen=True, slots=True)
class Inspect:
    """Look at all queues and their replicas; reads only."""


@dataclass(frozen=True, slots=True)
class Perform:
    """Carry out an operation that is mine to do; record and lease are read again right before. `part` counts steps."""

    operation: Operation
    epoch: int = 0  # of my lease, when it is done for the cluster
    part: int = 1


@dataclass(frozen=True, slots=True)
class SetAside:
    """Put a forgotten member's data into a dated directory beside, so that the disk is blank."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class Report:
    """Write an event once; `key` tells repeated reports apart."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class ExitProcess:
    code: int
    reason: str


StoreAction = (
    ClaimFounding
    | AbandonClaim
    | CommitFounding
    | RestoreRecord
    | TakeOwnership
    | TakeLease
    | ReleaseLease
    | RemoveMember
    | SetMaster
    | StartOperation
    | ClaimOperation
    | ReadyOperation
    | EndOperation
    | ForgetName
    | OfferFounder
    | Leave
)
Action = (
    StoreAction
    | WriteMarker
    | RaiseEpoch
    | StartBroker
    | StopBroker
    | KillBroker
    | JoinByCommand
    | Provision
    | Inspect
    | LoadTables
    | Perform
    | SetAside
    | Report
    | ExitProcess
)
