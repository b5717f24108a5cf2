"""Bugs planted on purpose: the checkers must find each of them, or they prove nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from fakes.memory_store import MemoryState, MemoryStore, Mortal

from rmqcluster.agent.performer import Performer
from rmqcluster.core import evidence as e
from rmqcluster.core import monitor_outcomes as then
from rmqcluster.core import queues as q
from rmqcluster.core import upkeep as u
from rmqcluster.core.actions import ClaimFounding, CommitFounding, Perform, StoreAction
from rmqcluster.core.engine import Condition, Outcome, Rule
from rmqcluster.core.member_conditions import (
    broker_down,
    broker_ready,
    data_lost,
    founding_boot,
    not_committed,
    target_known,
)
from rmqcluster.core.member_record import join_is_granted
from rmqcluster.core.member_rules import MEMBER_RULES
from rmqcluster.core.model import Claim, Observation, Operation, OperationKind, Policy, Record, StoreView
from rmqcluster.core.monitor_conditions import no_operation as nothing_under_way
from rmqcluster.core.monitor_conditions import steward
from rmqcluster.core.monitor_rules import MONITOR_RULES

Missing = Callable[[q.QueueReport, frozenset[str], int], tuple[q.Growth, ...]]
StoreMaker = Callable[[MemoryState, str, str, Policy], MemoryStore]


@dataclass(frozen=True, slots=True)
class Plant:
    """What the members of a world run; `NOTHING` is production."""

    name: str
    member_rules: tuple[Rule, ...] = MEMBER_RULES
    monitor_rules: tuple[Rule, ...] = MONITOR_RULES
    store: StoreMaker = MemoryStore
    volume_checks: bool = True
    missing: Missing = q.missing  # which replicas a growth adds
    performer: type[Performer] = Performer
    watches_joins: bool = True  # False: the loss itself has to be seen, not the join that leads to it


class UnclaimedStore(MemoryStore):
    """Anybody claims and commits, whoever holds the claim and whatever is recorded."""

    def _claim_founding(self, action: ClaimFounding) -> bool:
        record, claim = self.state.record, self.state.claim
        self.state.record = self.state.claim = None
        done = super()._claim_founding(action)
        self.state.record = record
        if not done:
            self.state.claim = claim
        return done

    def _commit_founding(self, action: CommitFounding) -> bool:
        self.state.record = Record(action.cluster_id, self.state.epoch, self.node)
        return True


class CarelessStore(MemoryStore):
    """The first one to ask may found, whoever else is there."""

    def _claim_founding(self, action: ClaimFounding) -> bool:
        if self.state.live_claim() is not None or self.state.record is not None:
            return False
        claim = Claim(f"{self.state.draw.getrandbits(128):032x}", self.node, self.instance, self.state.next_epoch(0))
        self.state.claim = Mortal(claim, self.state.clock() + self.policy.ttl_seconds)
        return True

    def _commit_founding(self, action: CommitFounding) -> bool:
        if self.state.record is not None or not self._holds_claim():
            return False
        self.state.record = Record(action.cluster_id, self.state.epoch, self.node)
        self.state.claim = None
        return True


class UnfencedStore(MemoryStore):
    """Writes of the lease holder are taken from anybody, whatever epoch they carry."""

    def _holds_lease(self, epoch: int | None = None) -> bool:
        return epoch is not None or super()._holds_lease()


class PrivateRecordStore(MemoryStore):
    """Each member has an operation record of its own."""

    own: Mortal[Operation] | None = None

    def apply(self, action: StoreAction) -> bool:
        with self._with_own_record():
            return super().apply(action)

    def snapshot(self) -> StoreView:
        with self._with_own_record():
            return super().snapshot()

    def read_operation(self) -> Operation | None:
        with self._with_own_record():
            return super().read_operation()

    @contextmanager
    def _with_own_record(self) -> Iterator[None]:
        shared, self.state.operation = self.state.operation, self.own
        try:
            yield
        finally:
            self.own, self.state.operation = self.state.operation, shared


class BlindPerformer(Performer):
    """Takes out whom it is told to, without a look at who needs it."""

    def _forget(self, act: Perform, o: Observation) -> str:
        if act.part > 1:
            return super()._forget(act, o)
        node = act.operation.subject
        self._commands.queues()
        self._commands.forget(node)
        return self._let_in(act.operation) if act.operation.kind is OperationKind.REPLACE else f"{node} is gone"


class ForgetfulPerformer(Performer):
    """Lets a wiped member in under its old name, which every queue still lists."""

    def _forget(self, act: Perform, o: Observation) -> str:
        return super()._forget(act, o) if act.part > 1 else self._let_in(act.operation)


class WelcomingPerformer(Performer):
    """Lets a blank node in under any name."""

    def _admit(self, act: Perform, o: Observation) -> str:
        return super()._admit(act, o) if act.part > 1 else self._let_in(act.operation)


class RashPerformer(Performer):
    """Acts on what it read when it decided."""

    def _still_mine(self, act: Perform, o: Observation) -> None:
        pass


def without(rules: tuple[Rule, ...], *numbers: int) -> tuple[Rule, ...]:
    """The table with some rows left out."""
    assert set(numbers) <= {r.number for r in rules}
    return tuple(r for r in rules if r.number not in numbers)


def with_conditions(rules: tuple[Rule, ...], number: int, *when: Condition) -> tuple[Rule, ...]:
    """The table with other conditions for one row."""
    return tuple(replace(r, when=when) if r.number == number else r for r in rules)


def _replace_at_once(o: Observation) -> Outcome:
    return Outcome((then._begin(o, OperationKind.REPLACE, u.wiped(o)[0], "planted"),), "planted")


def _somebody_wiped(o: Observation) -> bool:
    return e.store_is_steady(o) and bool(u.wiped(o))


def replacing_at_once(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The table in which nothing keeps a wiped member from being replaced."""
    changed = with_conditions(rules, 876, steward, nothing_under_way, _somebody_wiped)
    return tuple(replace(r, then=_replace_at_once) if r.number == 876 else r for r in changed)


def to_default(report: q.QueueReport, running: frozenset[str], default: int) -> tuple[q.Growth, ...]:
    """What a growth adds that takes every queue for one without a target of its own."""
    queues = tuple(replace(queue, declared_target=None) for queue in report.queues)
    return q.missing(replace(report, queues=queues), running, default)


def _no_record(o: Observation) -> bool:
    return o.store is not None and o.store.record is None and o.store.claim is None


NOTHING = Plant("nothing")
NO_CLAIM_CHECK = Plant("no claim check", without(MEMBER_RULES, 510, 520), store=UnclaimedStore)
NO_ROLL_CALL = Plant(
    "no roll call",
    with_conditions(
        with_conditions(without(MEMBER_RULES, 460, 470, 480, 510), 490, broker_down, _no_record),
        550,
        founding_boot,
        broker_ready,
        not_committed,
    ),
    store=CarelessStore,
)
NO_EPOCH = Plant("no epoch", store=UnfencedStore)
NOT_HELD = Plant(
    "wiped node not held",
    without(MEMBER_RULES, 240, 250, 255),
    without(MONITOR_RULES, 743, 876),
    performer=WelcomingPerformer,
)
NO_MARKER_CHECK = Plant("marker not checked", without(MEMBER_RULES, 260, 270, 310, 340, 360, 370), volume_checks=False)
NO_OBSTACLE = Plant("obstacle skipped", monitor_rules=replacing_at_once(MONITOR_RULES), performer=BlindPerformer)
BLIND_FORGET = Plant("forget without a look", performer=BlindPerformer)
NO_RECORD = Plant("operation record ignored", store=PrivateRecordStore)
NO_TARGET = Plant("target ignored", missing=to_default)
NOT_FORGOTTEN = Plant(
    "replaced without a forget",
    with_conditions(without(MEMBER_RULES, 235, 240, 250), 233, broker_down, data_lost, join_is_granted, target_known),
    replacing_at_once(MONITOR_RULES),
    performer=ForgetfulPerformer,
)
AMNESIAC = replace(NOT_FORGOTTEN, name="amnesiac voter", watches_joins=False)
NO_SECOND_LOOK = Plant("lease not read again", performer=RashPerformer)
