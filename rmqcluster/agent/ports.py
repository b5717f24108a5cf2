"""What the supervisor needs from the outside, as structural protocols.

Adapters (rooms `store`, `broker`, `process`) and the fakes of the tests have these shapes; they need not
import this module. Every call is bounded in time by its adapter. Only the long calls of `BrokerApi` and
`Commands` may take longer than a second; those run on a worker, never on the loop.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rmqcluster.core.actions import StoreAction
from rmqcluster.core.model import (
    Announcement,
    BrokerState,
    Disk,
    Lease,
    Marker,
    Operation,
    Purpose,
    StoreView,
    View,
)
from rmqcluster.core.queues import QueueReport


@dataclass(frozen=True, slots=True)
class Beat:
    """One write to the store: my announcement, and what is to be kept alive with it.

    `registered` also writes the heartbeat and the membership; `keep_lease` and `keep_claim` extend those that
    are mine and do nothing to those that are not. A monitor without a broker announces nothing.
    """

    announcement: Announcement | None
    registered: bool
    keep_lease: bool
    keep_claim: bool
    operation: Operation | None = None  # that I am carrying out: written again should Redis have been emptied
    operation_left_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Event:
    """One line of history: who did what, by which rule, in which epoch."""

    actor: str
    kind: str
    text: str
    rule: int = 0
    epoch: int = 0
    operation: str = ""  # id of the operation that this tells of
    at: float = 0.0  # Unix time, given by the store when read
    id: str = ""


@dataclass(frozen=True, slots=True)
class Boot:
    """How to boot the broker this time."""

    purpose: Purpose
    cluster_id: str | None = None
    target: str | None = None


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """One reading of my own broker. Fields are None when unknown."""

    view: View | None = None
    stamp: str | None = None  # provisioning stamp in the broker, "" when there is none
    broker_cluster_id: str | None = None
    trouble: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


class Store(Protocol):
    """Redis, bound to one node name and instance. Raises StoreUnavailable (or StoreRefused)."""

    def beat(self, beat: Beat) -> None: ...

    def snapshot(self) -> StoreView:
        """Everything under the prefix in at most two round trips; `at` is left 0 for the caller to fill."""
        ...

    def apply(self, action: StoreAction) -> bool:
        """Carry out one store action in one atomic step; False when its condition did not hold."""
        ...

    def read_lease(self) -> Lease | None: ...

    def read_operation(self) -> Operation | None: ...

    def record_event(self, event: Event) -> None: ...

    def recent_events(self, count: int) -> Sequence[Event]: ...


class Volume(Protocol):
    """The data volume of this member."""

    def read(self) -> Disk: ...

    def write_marker(self, marker: Marker) -> None: ...

    def raise_epoch(self, epoch: int) -> None: ...

    def empty(self) -> None:
        """Delete the broker's data. Raises IdentityRefused when it is a member's."""
        ...

    def set_aside(self) -> Path:
        """Move the broker's data into a dated directory beside, so that the disk is blank; returns where it is."""
        ...


class BrokerProcess(Protocol):
    """This member's own broker process; none of these calls blocks."""

    def start(self, boot: Boot) -> None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...

    def state(self) -> BrokerState: ...


class BrokerApi(Protocol):
    """What brokers say over their own ports. Raises BrokerUnavailable (or BrokerRefused)."""

    def facts(self) -> BrokerFacts: ...

    def peer_view(self, address: str) -> View: ...


class Commands(Protocol):
    """Acts on the broker through its own tools; slow. Raises CommandFailed."""

    def join(self, target: str) -> None: ...

    def provision(self, cluster_id: str) -> None: ...

    def queues(self) -> QueueReport:
        """All queues with their replicas, leaders, and who has caught up."""
        ...

    def forget(self, node: str) -> None:
        """Take a node that does not run out of the cluster; returns when nothing lists it any more."""
        ...

    def grow(self) -> None:
        """Bring every queue to its own target on the running members."""
        ...

    def rebalance(self, seen: QueueReport | None) -> None:
        """Spread the leaders of the quorum queues over the running members; `seen` saves the first look."""
        ...

    def drain(self) -> None: ...

    def revive(self) -> None: ...

    def prepare_boot(self) -> None:
        """Going on alone, while the broker is down: the next boot waits for nobody, where that can be told it."""
        ...

    def release(self) -> None:
        """Going on alone, while the broker waits for a majority."""
        ...

    def settle(self, lost: frozenset[str]) -> tuple[str, ...]:
        """Going on alone, once the broker serves: forget the lost. Returns the queues that stay without a leader."""
        ...

    def load_tables(self, missed: Mapping[str, frozenset[str] | None]) -> str:
        """While the broker boots: load its metadata if that is its part. Returns why it is not, "" when it was done.

        `missed`: member -> whom it missed when it last ran with a majority; None unknown.
        """
        ...

    def prepare_stop(self, seconds: float) -> None:
        """Move the leaders away, within so many seconds."""
        ...


class Clock(Protocol):
    def monotonic(self) -> float: ...
