"""What the cluster looks like from here: one honest record out of everything that could be read.

Pure: the callers bring what they read (Redis, brokers asked directly, supervisors asked directly) and get a
verdict with its reasons, what happens by itself (`next`) and what a person should type (`do`). The rows are made
in `status_members`, the words in `status_words` and the checks that it calls, the text for a terminal in
`status_text`. Unknown is `None` and never counted as bad or good.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rmqcluster.core.model import Announcement, OperationKind, Policy, StoreView, View
from rmqcluster.core.status_format import shown as shown
from rmqcluster.errors import ExitCode

STOPPING = "stopping"  # state of a member that was asked to stop
DONT = "DON'T "  # how an item of `do` begins that must not be typed


class Verdict(StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"

    @property
    def exit_code(self) -> ExitCode:
        """0 healthy, 1 degraded, 2 unavailable or unknown."""
        if self is Verdict.HEALTHY:
            return ExitCode.OK
        return ExitCode.DEGRADED if self is Verdict.DEGRADED else ExitCode.UNAVAILABLE


@dataclass(frozen=True, slots=True)
class Moved:
    """The last move of the master label, from the history. `at` is Unix seconds."""

    was: str
    to: str
    at: float
    epoch: int


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that could be read. All ages are seconds; None is unknown."""

    policy: Policy
    store: StoreView | None = None
    store_age_seconds: float = 0.0  # of `store`
    store_address: str = "redis"
    store_trouble: str = ""  # why `store` is None
    store_lost_seconds: float | None = None  # how long it has been None
    last_contact_seconds: float | None = None  # since the last timely reply of Redis
    views: Mapping[str, View] = field(default_factory=dict)  # brokers asked directly: newer than Redis' copies
    reports: Mapping[str, Announcement] = field(default_factory=dict)  # supervisors asked directly
    management: Mapping[str, str] = field(default_factory=dict)  # addresses known otherwise than from Redis
    named: frozenset[str] = frozenset()  # further members that somebody knows of
    hosts: Mapping[str, str] = field(default_factory=dict)  # where each member's good disk was last seen
    lost_seconds: Mapping[str, float] = field(default_factory=dict)  # since when a member has been lost
    stopped_seconds: Mapping[str, float] = field(default_factory=dict)  # since when it has been stopped on request
    minority_seconds: float | None = None  # since when no broker has seen a majority
    moved: Moved | None = None
    alarm_facts: tuple[str, ...] = ()  # about the nodes with an alarm: what is free, what is large
    cluster_id: str | None = None  # known otherwise than from Redis
    warnings: tuple[str, ...] = ()  # about Redis, beside those of `store`


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """One member as it is shown. None is unknown."""

    node: str
    role: str = "member"
    registered: bool | None = None
    heartbeat_age_seconds: float | None = None
    running: bool | None = None
    mutual: bool | None = None
    state: str | None = None
    version: str | None = None
    http: str | None = None
    management: str | None = None
    held: str | None = None
    drained: bool | None = None  # shown as its state

    @property
    def serves(self) -> bool:
        """Its broker runs, and nothing says that it runs outside the cluster."""
        return self.running is True and self.mutual is not False

    @property
    def takes_clients(self) -> bool:
        """It is neither in maintenance nor on its way out."""
        return not self.drained and self.state != STOPPING

    @property
    def proven(self) -> bool:
        """Mutual, registered and beating: what `healthy` and `wait` count."""
        return self.mutual is True and self.registered is True and self.heartbeat_age_seconds is not None

    def as_json(self) -> dict[str, object]:
        return {
            "node": self.node,
            "role": self.role,
            "registered": self.registered,
            "heartbeat_age_seconds": self.heartbeat_age_seconds,
            "running": self.running,
            "mutual": self.mutual,
            "state": self.state,
            "version": self.version,
            "http": self.http,
            "management": self.management,
            "held": self.held,
        }


@dataclass(frozen=True, slots=True)
class OperationStatus:
    """The operation under way. `since` is Unix seconds by the clock of Redis."""

    kind: OperationKind
    subject: str  # "" for the whole cluster
    by: str
    since: float
    seconds_left: float
    epoch: int

    def as_json(self) -> dict[str, object]:
        return {
            "kind": self.kind.value,
            "subject": self.subject,
            "by": self.by,
            "since": self.since,
            "seconds_left": self.seconds_left,
            "epoch": self.epoch,
        }


@dataclass(frozen=True, slots=True)
class Status:
    """The contract of `status --json` and `/status`, with the headline that people read first.

    `notes` are facts that make nothing worse than it is meant to be; they are shown to people alone.
    """

    verdict: Verdict
    headline: str
    reasons: tuple[str, ...]
    next: tuple[str, ...]
    do: tuple[str, ...]
    cluster_id: str | None
    size: int
    epoch: int | None
    master: str | None
    paused: str | None
    members: tuple[MemberStatus, ...]
    redis_reachable: bool | None
    redis_last_contact_seconds: float | None
    redis_warnings: tuple[str, ...] = ()
    operation: OperationStatus | None = None
    moved: Moved | None = None
    notes: tuple[str, ...] = ()
    lacking: str = ""  # what keeps the cluster from being whole: no member may be stopped now; "" when it is whole

    @property
    def exit_code(self) -> ExitCode:
        return self.verdict.exit_code

    @property
    def proven(self) -> tuple[str, ...]:
        """Node names of the mutual, registered, beating members."""
        return tuple(member.node for member in self.members if member.proven)

    @property
    def to_do(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """`do` in two parts: what to type, and what not to."""
        wanted = tuple(item for item in self.do if not item.startswith(DONT))
        return wanted, tuple(item.removeprefix(DONT) for item in self.do if item.startswith(DONT))

    def as_json(self) -> dict[str, object]:
        """The contract's JSON: these keys, this order, unknown as null."""
        return {
            "verdict": self.verdict.value,
            "reasons": list(self.reasons),
            "next": list(self.next),
            "do": list(self.do),
            "cluster_id": self.cluster_id,
            "size": self.size,
            "epoch": self.epoch,
            "master": self.master,
            "paused": self.paused,
            "members": [member.as_json() for member in self.members],
            "redis": {
                "reachable": self.redis_reachable,
                "last_contact_seconds": self.redis_last_contact_seconds,
                "warnings": list(self.redis_warnings),
            },
            "operation": self.operation.as_json() if self.operation else None,
        }
