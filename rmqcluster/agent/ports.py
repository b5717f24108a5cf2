"""What the supervisor needs from the outside, as structural protocols.

Adapters (rooms `store`, `broker`, `process`) and the fakes of the tests have these shapes; they need not
import this module. Every call is bounded in time by its adapter. Only the long calls of `BrokerApi` and
`Commands` may take longer than a second; those run on a worker, never on the loop.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rmqcluster.core.actions import StoreAction
from rmqcluster.core.model import (
    Announcement,
    BrokerState,
    Disk,
    Lease,
    Marker,
    Purpose,
    StoreView,
    View,
)


@dataclass(frozen=True, slots=True)
class Beat:
    """One write to the store: my announcement, and what is to be kept alive with it.

    `registered` also writes the heartbeat and the membership; `keep_lease` and `keep_claim` extend those that
    are mine and do nothing to those that are not.
    """

    announcement: Announcement
    registered: bool
    keep_lease: bool
    keep_claim: bool


@dataclass(frozen=True, slots=True)
class Event:
    """One line of history: who did what, by which rule, in which epoch."""

    actor: str
    kind: str
    text: str
    rule: int = 0
    epoch: int = 0
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

    def record_event(self, event: Event) -> None: ...

    def recent_events(self, count: int) -> Sequence[Event]: ...


class Volume(Protocol):
    """The data volume of this member."""

    def read(self) -> Disk: ...

    def write_marker(self, marker: Marker) -> None: ...

    def raise_epoch(self, epoch: int) -> None: ...

    def empty(self) -> None:
        """Delete the broker's data. Raises IdentityRefused when the marker says member."""
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


class Clock(Protocol):
    def monotonic(self) -> float: ...
