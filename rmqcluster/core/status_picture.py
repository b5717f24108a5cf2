"""What the checks of a status share: the note that each yields, and the counts that several of them need."""

from dataclasses import dataclass

from rmqcluster.core.model import Announcement, BrokerPhase, DiskKind, Operation, OperationKind
from rmqcluster.core.status import MemberStatus, Sources
from rmqcluster.core.status_format import name, shown
from rmqcluster.core.status_members import describe_members, known_views


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that is to be told. What is `harmless` is shown and makes nothing degraded.

    `restarts_mend` it: no reason against restarting members one after another.
    """

    reason: str
    next: str = ""
    do: str = ""
    harmless: bool = False
    restarts_mend: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """The rows, and what the brokers list, all of them together."""

    sources: Sources
    members: tuple[MemberStatus, ...]
    listed: frozenset[str]

    @property
    def total(self) -> int:
        """How many members there should be."""
        return max(self.sources.policy.size, len(self.listed))

    @property
    def serving(self) -> int:
        return sum(1 for member in self.members if member.serves)

    @property
    def undecided(self) -> int:
        return sum(1 for member in self.members if member.running is None)

    @property
    def needed(self) -> int:
        """A majority of what the brokers list; of the expected size while nothing is listed."""
        return (len(self.listed) or self.sources.policy.size) // 2 + 1

    @property
    def up(self) -> tuple[str, ...]:
        """Members whose broker serves, or boots and waits for others, with the data that it has."""
        found = []
        for member in self.members:
            said = self.said(member.node)
            blank = said is not None and said.disk in (DiskKind.BLANK, DiskKind.AMNESIC)
            waits = said is not None and said.broker in (BrokerPhase.STARTING, BrokerPhase.READY)
            if member.held is None and (member.serves or (waits and not blank)):
                found.append(member.node)
        return tuple(found)

    @property
    def majority_lost(self) -> bool:
        """A cluster is there, and fewer of its members are up, for all that is known, than it needs."""
        may_serve = max(self.serving, len(self.up)) + self.undecided
        return bool(self.listed) and may_serve < self.needed

    @property
    def alarms(self) -> tuple[str, ...]:
        views = known_views(self.sources).values()
        return tuple(sorted({shown(alarm, 120) for view in views for alarm in view.alarms}))

    @property
    def operation(self) -> Operation | None:
        return self.sources.store.operation if self.sources.store else None

    @property
    def operation_left_seconds(self) -> float:
        store = self.sources.store
        return max(0.0, store.operation_left_seconds - self.sources.store_age_seconds) if store else 0.0

    def said(self, node: str) -> Announcement | None:
        """What this member's supervisor says of itself."""
        store = self.sources.store
        return self.sources.reports.get(node) or (store.announcements.get(node) if store else None)

    def is_wiped(self, node: str) -> bool:
        """Is it there without the data that the cluster lists it for, and not merely in the middle of joining?"""
        said, store = self.said(node), self.sources.store
        if said is None or said.broker is not BrokerPhase.DOWN:
            return False
        committed = store.record.cluster_id if store and store.record else None
        joins = said.cluster_id is not None and said.cluster_id == committed
        listing = any(node in view.members for other, view in known_views(self.sources).items() if other != node)
        return said.disk is DiskKind.AMNESIC or (said.disk is DiskKind.BLANK and listing and not joins)

    def is_replaced(self, node: str) -> bool:
        """Is an operation under way that gives this member's old self up?"""
        found = self.operation
        return found is not None and found.kind is OperationKind.REPLACE and name(found.subject) == node

    @property
    def steward(self) -> Announcement | None:
        """The member whose look at the queues counts: the lease holder; the master while that is no member."""
        store = self.sources.store
        if store is None or store.lease is None:
            return None
        return store.announcements.get(store.lease.node) or store.announcements.get(store.master or "")

    @property
    def queue_notes(self) -> tuple[str, ...]:
        """What the last look at the queues found."""
        return self.steward.notes if self.steward is not None else ()

    @property
    def is_whole(self) -> bool | None:
        """Has the steward seen all replicas caught up with the very instances that run now? None: nobody says so."""
        store = self.sources.store
        if store is None or self.steward is None:
            return None
        return {said.instance for said in store.announcements.values()} <= self.steward.whole

    def host(self, node: str) -> str | None:
        """Where its supervisor runs, else where its good disk was last seen."""
        said = self.said(node)
        return (said.host if said else None) or self.sources.hosts.get(node)

    def place(self, node: str) -> str:
        """` (host manager2)`, or nothing."""
        host = self.host(node)
        return f" (host {shown(host, 60)})" if host else ""


def picture_of(sources: Sources) -> Picture:
    listed: frozenset[str] = frozenset()
    for view in known_views(sources).values():
        listed |= view.members
    if not listed and sources.store is not None:
        for said in sources.store.announcements.values():
            listed |= said.listed
    return Picture(sources, describe_members(sources), listed)
