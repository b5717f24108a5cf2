"""The store's contract in plain Python: what the simulation runs against, and the model for the real store.

`MemoryState` is one Redis, shared by the `MemoryStore` of each member. Time comes from the clock that it is
given; a value whose deadline has come is gone, as in Redis. Nothing is encoded, so a reading is cheap.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from rmqcluster.agent.ports import Beat, Event
from rmqcluster.core.actions import (
    AbandonClaim,
    ClaimFounding,
    ClaimOperation,
    CommitFounding,
    EndOperation,
    ForgetName,
    Leave,
    OfferFounder,
    ReadyOperation,
    ReleaseLease,
    RemoveMember,
    RestoreRecord,
    SetMaster,
    StartOperation,
    StoreAction,
    TakeLease,
    TakeOwnership,
)
from rmqcluster.core.model import (
    Announcement,
    Claim,
    DiskKind,
    Lease,
    Operation,
    OperationKind,
    Owner,
    Policy,
    Record,
    StoreView,
)
from rmqcluster.errors import StoreUnavailable

EVENTS_KEPT = 1000
EMPTIED_TTLS = 2  # how long after Redis was emptied an operation under way may be written down again
OWNER_TTLS = 4  # an owner outlives its heartbeat by this factor
COMMIT_MARGIN_SECONDS = 1.0  # beyond one beat, how old the roll call must be before a commit
DISPOSABLE = frozenset({DiskKind.BLANK, DiskKind.UNCOMMITTED})

T = TypeVar("T")


@dataclass(slots=True)
class Mortal(Generic[T]):
    """A value with the time at which it is gone."""

    value: T
    until: float


@dataclass(slots=True)
class MemoryState:
    """One Redis: everything under the prefix. `available` False makes every call raise StoreUnavailable."""

    clock: Callable[[], float]
    seed: int = 0
    available: bool = True
    members: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)
    master: str | None = None
    record: Record | None = None
    claim: Mortal[Claim] | None = None
    lease: Mortal[Lease] | None = None
    operation: Mortal[Operation] | None = None
    owners: dict[str, Mortal[Owner]] = field(default_factory=dict)
    announcements: dict[str, Mortal[Announcement]] = field(default_factory=dict)
    heartbeats: dict[str, float] = field(default_factory=dict)  # node -> time at which it is gone
    epoch: int = 0
    roll_call_at: float | None = None
    paused: str | None = None
    events: list[Event] = field(default_factory=list)
    draw: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)

    def flush(self) -> None:
        """Forget everything, as FLUSHALL does."""
        self.__init__(self.clock, seed=self.draw.randrange(2**32), available=self.available)  # type: ignore[misc]

    def live_claim(self) -> Claim | None:
        return self.claim.value if self.claim and self.claim.until > self.clock() else None

    def live_lease(self) -> Lease | None:
        return self.lease.value if self.lease and self.lease.until > self.clock() else None

    def live_operation(self) -> Operation | None:
        return self.operation.value if self.operation and self.operation.until > self.clock() else None

    def live_owner(self, node: str) -> Owner | None:
        owner = self.owners.get(node)
        return owner.value if owner and owner.until > self.clock() else None

    def live_announcements(self) -> dict[str, Announcement]:
        now = self.clock()
        return {n: a.value for n, a in self.announcements.items() if a.until > now}

    def has_heartbeat(self, node: str) -> bool:
        return self.heartbeats.get(node, 0.0) > self.clock()

    def next_epoch(self, floor: int) -> int:
        """Above everything that Redis knows of, and above `floor`."""
        lease, claim = self.live_lease(), self.live_claim()
        self.epoch = 1 + max(
            self.epoch,
            floor,
            self.record.epoch if self.record else 0,
            lease.epoch if lease else 0,
            claim.epoch if claim else 0,
            max((a.epoch_high for a in self.live_announcements().values()), default=0),
        )
        return self.epoch


class MemoryStore:
    """One member's hand on a `MemoryState`; the same promises as the real store."""

    def __init__(self, state: MemoryState, node: str, instance: str, policy: Policy) -> None:
        self.state = state
        self.node = node
        self.instance = instance
        self.policy = policy
        self._executors: dict[type, Callable[..., bool]] = {
            ClaimFounding: self._claim_founding,
            AbandonClaim: self._abandon_claim,
            CommitFounding: self._commit_founding,
            RestoreRecord: self._restore_record,
            TakeOwnership: self._take_ownership,
            TakeLease: self._take_lease,
            ReleaseLease: self._release_lease,
            RemoveMember: self._remove_member,
            SetMaster: self._set_master,
            StartOperation: self._start_operation,
            ClaimOperation: self._claim_operation,
            ReadyOperation: self._ready_operation,
            EndOperation: self._end_operation,
            ForgetName: self._forget_name,
            OfferFounder: self._offer_founder,
            Leave: self._leave,
        }

    def beat(self, beat: Beat) -> None:
        s = self._reachable()
        if self._name_is_anothers():
            return
        now, until = s.clock(), s.clock() + self.policy.ttl_seconds
        if beat.keep_lease and self._holds_lease():
            assert s.lease is not None
            s.lease.until = until
        if beat.announcement is None:
            return
        s.known = {n for n in s.known if self._still_known(n)} | {self.node}
        if s.roll_call_at is None or s.roll_call_at > now or not s.live_announcements():
            s.roll_call_at = now
        s.announcements[self.node] = Mortal(beat.announcement, until)
        owner = Owner(self.instance, beat.announcement.beat_sequence)
        s.owners[self.node] = Mortal(owner, now + self.policy.ttl_seconds * OWNER_TTLS)
        if beat.registered:
            s.members.add(self.node)
            s.heartbeats[self.node] = until
        if beat.keep_claim and self._holds_claim():
            assert s.claim is not None
            s.claim.until = until
        self._write_operation_again(beat)

    def snapshot(self) -> StoreView:
        s = self._reachable()
        now = s.clock()
        claim, lease = s.live_claim(), s.live_lease()
        heartbeats = {n: until - now for n, until in s.heartbeats.items() if until > now}
        ends = list(heartbeats.values())
        if claim and s.claim:
            ends.append(s.claim.until - now)
        if lease and s.lease:
            ends.append(s.lease.until - now)
        operation, operation_left = s.live_operation(), 0.0
        if operation and s.operation:
            operation_left = s.operation.until - now
            ends.append(operation_left)
        return StoreView(
            members=frozenset(s.members),
            master=s.master,
            record=s.record,
            claim=claim,
            lease=lease,
            operation=operation,
            operation_left_seconds=operation_left,
            owner=s.live_owner(self.node),
            announcements=s.live_announcements(),
            heartbeats=heartbeats,
            epoch=s.epoch,
            roll_call_seconds=0.0 if s.roll_call_at is None else now - s.roll_call_at,
            paused=s.paused,
            next_expiry_seconds=min(ends, default=None),
        )

    def apply(self, action: StoreAction) -> bool:
        self._reachable()
        return self._executors[type(action)](action)

    def read_lease(self) -> Lease | None:
        return self._reachable().live_lease()

    def read_operation(self) -> Operation | None:
        return self._reachable().live_operation()

    def record_event(self, event: Event) -> None:
        s = self._reachable()
        at = s.clock()
        s.events.append(replace(event, at=at, id=f"{int(at * 1000)}-{len(s.events)}"))
        del s.events[:-EVENTS_KEPT]

    def recent_events(self, count: int) -> Sequence[Event]:
        return tuple(self._reachable().events[-count:])

    def clear(self) -> None:
        """Forget members, master, heartbeats and the lease; an operation goes on."""
        s = self._reachable()
        s.members.clear()
        s.heartbeats.clear()
        s.master = s.lease = None

    def clear_identity(self, cluster_id: str) -> tuple[str, ...]:
        """Forget the cluster; what stands in the way when it must not be."""
        s = self._reachable()
        if s.record is None or s.record.cluster_id != cluster_id:
            return ("record",)
        data = [n for n, a in s.live_announcements().items() if a.has_identity]
        alive = [n for n in s.heartbeats if s.has_heartbeat(n)]
        obstacles = sorted({*s.members, *alive, *data})
        if obstacles:
            return tuple(obstacles)
        s.record = s.claim = s.roll_call_at = None
        return ()

    def _reachable(self) -> MemoryState:
        if not self.state.available:
            raise StoreUnavailable("Redis is not reachable (simulated)")
        return self.state

    def _still_known(self, node: str) -> bool:
        s = self.state
        announced = node in s.announcements and s.announcements[node].until > s.clock()
        return announced or node in s.members or s.has_heartbeat(node) or s.live_owner(node) is not None

    def _name_is_anothers(self) -> bool:
        owner = self.state.live_owner(self.node)
        return owner is not None and owner.instance != self.instance

    def _holds_lease(self, epoch: int | None = None) -> bool:
        lease = self.state.live_lease()
        mine = lease is not None and (lease.node, lease.instance) == (self.node, self.instance)
        return mine and (epoch is None or (lease is not None and lease.epoch == epoch))

    def _holds_claim(self) -> bool:
        claim = self.state.live_claim()
        return claim is not None and (claim.node, claim.instance) == (self.node, self.instance)

    def _write_operation_again(self, beat: Beat) -> None:
        """Only if the store was emptied after the operation had begun: a roll call that is younger says so."""
        s, operation, left = self.state, beat.operation, beat.operation_left_seconds
        if operation is None or left <= 0 or s.roll_call_at is None or s.live_operation() is not None:
            return
        young = s.clock() - s.roll_call_at < EMPTIED_TTLS * self.policy.ttl_seconds
        if young and s.roll_call_at > operation.since:
            s.operation = Mortal(operation, s.clock() + left)

    def _claim_founding(self, action: ClaimFounding) -> bool:
        s = self.state
        announced = s.live_announcements()
        mine = announced.get(self.node)
        if s.record is not None or s.live_claim() is not None or mine is None:
            return False
        if mine.instance != self.instance or any(a.has_identity for a in announced.values()):
            return False
        if sum(a.disk in DISPOSABLE for a in announced.values()) < self.policy.majority:
            return False
        draw = random.Random(action.cluster_id_seed) if action.cluster_id_seed else s.draw
        claim = Claim(f"{draw.getrandbits(128):032x}", self.node, self.instance, s.next_epoch(0))
        s.claim = Mortal(claim, s.clock() + self.policy.ttl_seconds)
        return True

    def _abandon_claim(self, action: AbandonClaim) -> bool:
        if not self._holds_claim():
            return False
        self.state.claim = None
        return True

    def _commit_founding(self, action: CommitFounding) -> bool:
        s = self.state
        claim = s.live_claim()
        if claim is None or not self._holds_claim() or claim.cluster_id != action.cluster_id:
            return False
        announced = s.live_announcements().values()
        foreign = any(a.has_identity and a.cluster_id != action.cluster_id for a in announced)
        if s.record is not None or foreign or s.roll_call_at is None:
            return False
        if s.clock() - s.roll_call_at <= self.policy.heartbeat_seconds + COMMIT_MARGIN_SECONDS:
            return False
        s.record = Record(claim.cluster_id, claim.epoch, self.node)
        s.claim = None
        return True

    def _restore_record(self, action: RestoreRecord) -> bool:
        s = self.state
        stored = s.record.cluster_id if s.record else None
        if stored != action.replaces:
            return False
        founder = s.record.founder if s.record and stored == action.cluster_id else ""
        s.record = Record(action.cluster_id, action.epoch, founder)
        s.epoch = max(s.epoch, action.epoch)
        s.claim = None
        return True

    def _take_ownership(self, action: TakeOwnership) -> bool:
        owner = self.state.live_owner(self.node)
        if (owner.instance if owner else None) != action.replaces:
            return False
        until = self.state.clock() + self.policy.ttl_seconds * OWNER_TTLS
        self.state.owners[self.node] = Mortal(Owner(self.instance, 0), until)
        return True

    def _take_lease(self, action: TakeLease) -> bool:
        s = self.state
        if s.live_lease() is not None or self._name_is_anothers():
            return False
        lease = Lease(self.node, self.instance, s.next_epoch(action.floor))
        s.lease = Mortal(lease, s.clock() + self.policy.ttl_seconds)
        return True

    def _release_lease(self, action: ReleaseLease) -> bool:
        if not self._holds_lease():
            return False
        self.state.lease = None
        return True

    def _remove_member(self, action: RemoveMember) -> bool:
        if not self._holds_lease(action.epoch) or self.state.has_heartbeat(action.node):
            return False
        self.state.members.discard(action.node)
        return True

    def _set_master(self, action: SetMaster) -> bool:
        s = self.state
        if not self._holds_lease(action.epoch) or s.master != action.replaces:
            return False
        if action.node not in s.members or not s.has_heartbeat(action.node):
            return False
        s.master = action.node
        return True

    def _start_operation(self, action: StartOperation) -> bool:
        s = self.state
        if action.epoch > 0 and not self._holds_lease(action.epoch):
            return False
        if s.live_operation() is not None:
            return False
        operation = Operation(
            id=action.id or f"{s.draw.getrandbits(48):012x}",
            kind=action.kind,
            subject=action.subject,
            executor=action.executor,
            by=action.by,
            epoch=action.epoch or s.epoch,
            since=s.clock(),
            seconds=action.seconds,
            consent=action.consent,
            target=action.target,
            why=action.why,
        )
        s.operation = Mortal(operation, s.clock() + action.seconds)
        return True

    def _claim_operation(self, action: ClaimOperation) -> bool:
        s = self.state
        found = s.live_operation()
        if found is None or found.id != action.operation.id or found.executor not in ("", self.node):
            return False
        if action.epoch > 0 and not self._holds_lease(action.epoch):
            return False
        s.operation = Mortal(replace(found, executor=self.node), s.clock() + found.seconds)
        return True

    def _ready_operation(self, action: ReadyOperation) -> bool:
        s = self.state
        found = s.live_operation()
        if found is None or s.operation is None or found.id != action.operation.id:
            return False
        s.operation = Mortal(replace(found, ready=True), s.operation.until)
        return True

    def _end_operation(self, action: EndOperation) -> bool:
        found = self.state.live_operation()
        if found is None or found.id != action.operation.id:
            return False
        self.state.operation = None
        return True

    def _forget_name(self, action: ForgetName) -> bool:
        s = self.state
        if not self._holds_lease(action.epoch) or s.has_heartbeat(action.node):
            return False
        s.members.discard(action.node)
        s.known.discard(action.node)
        s.announcements.pop(action.node, None)
        s.owners.pop(action.node, None)
        if s.master == action.node:
            s.master = None
        return True

    def _offer_founder(self, action: OfferFounder) -> bool:
        if not self._holds_claim() or self.state.record is not None:
            return False
        self.state.master = action.node
        return True

    def _leave(self, action: Leave) -> bool:
        s = self.state
        if self._holds_lease():
            s.lease = None
        if self._holds_claim():
            s.claim = None
        if self._name_is_anothers():
            return False
        s.heartbeats.pop(self.node, None)
        s.members.discard(self.node)
        if s.master == self.node:
            s.master = None
        if action.final:
            s.announcements.pop(self.node, None)
            s.owners.pop(self.node, None)
            s.known.discard(self.node)
            found = s.live_operation()
            if found is not None and (found.kind, found.subject) == (OperationKind.STOP, self.node):
                s.operation = None
        return True
