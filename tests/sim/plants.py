"""Bugs planted on purpose: the checkers must find each of them, or they prove nothing."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from fakes.memory_store import MemoryState, MemoryStore, Mortal

from rmqcluster.agent.agent import Agent
from rmqcluster.core import queues as q
from rmqcluster.core.actions import ClaimFounding, CommitFounding
from rmqcluster.core.engine import Condition, Rule
from rmqcluster.core.member_conditions import broker_down, broker_ready, founding_boot, not_committed
from rmqcluster.core.member_rules import MEMBER_RULES
from rmqcluster.core.model import Claim, Observation, Policy, Record
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
    mind: Callable[[Agent], None] = lambda _agent: None  # changes what a member's acts check


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


def without(rules: tuple[Rule, ...], *numbers: int) -> tuple[Rule, ...]:
    """The table with some rows left out."""
    assert set(numbers) <= {r.number for r in rules}
    return tuple(r for r in rules if r.number not in numbers)


def with_conditions(rules: tuple[Rule, ...], number: int, *when: Condition) -> tuple[Rule, ...]:
    """The table with other conditions for one row."""
    return tuple(replace(r, when=when) if r.number == number else r for r in rules)


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
NOT_HELD = Plant("wiped node not held", without(MEMBER_RULES, 240, 250, 255))
NO_MARKER_CHECK = Plant("marker not checked", without(MEMBER_RULES, 260, 270, 310, 340, 360, 370), volume_checks=False)
PLANTS = (NO_CLAIM_CHECK, NO_ROLL_CALL, NO_EPOCH, NOT_HELD, NO_MARKER_CHECK)
