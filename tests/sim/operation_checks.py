"""What runs at the same time, and what may: disruptive acts by the truth of what executes, not by the record.

An act is a join into a committed cluster, a forget, a growth, a move of leaders, a maintenance, a stop. A broker
command that did not answer in time is still running here until it really ends.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rmqcluster.core import evidence as e
from rmqcluster.core.model import BrokerPhase, Observation, Operation, OperationKind, Stage
from rmqcluster.core.operations import STOPPING_TAKES_SECONDS

from .kernel import Violation

if TYPE_CHECKING:
    from .brokers import Cluster
    from .process import SimProcess
    from .world import World

FENCE_SECONDS = 8.0  # between the last look at record and lease and the command itself


@dataclass(frozen=True, slots=True)
class Look:
    """The truth at the moment at which a member was told of all queues."""

    at: float
    critical: dict[str, list[str]]
    only_on: dict[str, list[str]]


@dataclass(eq=False, slots=True)
class Act:
    kind: str
    subject: str
    instance: str
    began: float
    forced: bool
    process: "SimProcess"

    def __str__(self) -> str:
        return f"{self.kind} {self.subject} by {self.instance} since {self.began:.1f}"


@dataclass(slots=True)
class ActChecker:
    world: "World"
    under_way: list[Act] = field(default_factory=list)
    flushed_at: float = -1e9
    aside: list[str] = field(default_factory=list)  # who put a member's data aside
    counts: dict[str, int] = field(default_factory=dict)

    def flushed(self) -> None:
        self.flushed_at = self.world.kernel.now

    def look(self, process: "SimProcess", cluster: "Cluster") -> None:
        queues, now = self.world.queues, self.world.kernel.now
        critical = {n: queues.critical_without(cluster, n, process.node) for n in sorted(cluster.members)}
        only_on = {n: queues.only_on(cluster, n) for n in sorted(cluster.members)}
        process.looked = Look(now, critical, only_on)

    # ---- one at a time (S5) ----
    def begin(self, process: "SimProcess", kind: str, subject: str, forced: bool = False) -> Act:
        now = self.world.kernel.now
        act = Act(kind, subject, process.instance, now, forced, process)
        others = [a for a in self.under_way if not a.forced and not self._same_operation(a, act)]
        if not forced and not all(self._record_is_lost(a) for a in others):
            raise Violation("S5", f"{act} while {others[0]}")
        self.under_way.append(act)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.world.kernel.log(process.instance, f"begins {kind} {subject}{' (forced)' if forced else ''}")
        return act

    def end(self, act: Act) -> None:
        if act in self.under_way:
            self.under_way.remove(act)
            self.world.kernel.log(act.instance, f"ends {act.kind} {act.subject}")

    def broker_ended(self, process: "SimProcess") -> None:
        """No command outlives the broker that carries it out."""
        for act in [a for a in self.under_way if a.instance == process.instance]:
            self.end(act)

    def _record_is_lost(self, act: Act) -> bool:
        """Redis was emptied meanwhile, and its owner has not beaten since, which would write the record back."""
        flushed = self.flushed_at > 0 and act.began <= self.flushed_at + FENCE_SECONDS
        return flushed and act.process.beat_at <= max(self.flushed_at, act.began)

    def _same_operation(self, one: Act, other: Act) -> bool:
        """A member's own acts follow each other; its broker's end belongs to them."""
        return one.instance == other.instance and one.subject == other.subject

    # ---- under a valid right (S12) ----
    def performs(self, process: "SimProcess", kind: str, subject: str) -> Operation:
        """Record and lease are the executor's when its command starts, as far as it can know."""
        held, said, state = process.agent.memory.held, process.agent.published, self.world.state
        seen = said.observation.store.operation if said is not None and said.observation.store is not None else None
        operation = held[0] if held is not None else seen
        if operation is None:
            raise Violation("S5", f"{process.instance} begins {kind} {subject} without an operation")
        live, lease = state.live_operation(), state.live_lease()
        by_lease = operation.executor == ""
        mine = live is not None and live.id == operation.id
        mine = mine and (not by_lease or (lease is not None and lease.instance == process.instance))
        now, read_at = self.world.kernel.now, process.fence_read_at
        if not mine and now - read_at > FENCE_SECONDS and process.paused_last < read_at:
            raise Violation("S12", f"{process.instance} begins {kind} {subject}; record {live}, lease {lease}")
        if not mine and read_at < 0:
            raise Violation("S12", f"{process.instance} begins {kind} {subject} without a look; record {live}")
        return operation

    # ---- forget (S4) ----
    def forgets(self, process: "SimProcess", node: str) -> None:
        operation = self.performs(process, "forget", node)
        if operation.kind not in (OperationKind.FORGET, OperationKind.REPLACE) or operation.subject != node:
            raise Violation("I3", f"{process.instance} forgets {node} within {operation}")
        if operation.kind is OperationKind.FORGET and not operation.by.startswith("operator"):
            raise Violation("I3", f"{process.instance} forgets {node} without a person's word")
        looked = process.looked
        if looked is None or (self.world.kernel.now - looked.at > FENCE_SECONDS and process.paused_last < looked.at):
            raise Violation("S4", f"{process.instance} forgets {node} without having looked at its queues")
        critical = looked.critical.get(node, [])
        if critical:
            raise Violation("S4", f"{process.instance} forgets {node}, which {', '.join(critical)} needs")
        if operation.consent:
            return
        only = looked.only_on.get(node, [])
        if only:
            raise Violation("S4", f"{process.instance} forgets {node}, which alone holds {', '.join(only)}")
        good, here = self.world.disks[node].good_host, self.world.hosts[node]
        if operation.kind is OperationKind.REPLACE and good != here and node not in self.world.twinned:
            raise Violation("S4", f"{process.instance} forgets {node}, whose disk may return on {good}")

    def sets_aside(self, process: "SimProcess") -> None:
        asked = self.world.operator.asked.get((OperationKind.REJOIN, process.node))
        db = process.disk.db
        if asked is None:
            raise Violation("S2", f"{process.instance} puts its data aside and nobody asked")
        if db is None or db.is_member:
            raise Violation("S2", f"{process.instance} puts the data of a listed member aside")
        self.aside.append(process.node)

    # ---- stops and maintenance (S6) ----
    def stops(self, process: "SimProcess") -> Act:
        """A member with a broker that serves ends it: prepared, or in one of the cases that may not wait."""
        memory, said = process.agent.memory, process.agent.published
        assert said is not None
        asked = memory.stop_asked_at is not None
        forced = not memory.stop_prepared or (asked and self._is_late(process, said.observation))
        if asked and forced and not self._may_be_forced(process, said.observation):
            raise Violation("S6", f"{process.instance} stops unprepared, and could have waited")
        if asked and not forced:
            self.performs(process, "stop", process.node)
            self._spares(process, "stops")
        return self.begin(process, "stop", process.node, forced)

    def drains(self, process: "SimProcess") -> None:
        self.performs(process, "drain", process.node)
        self._spares(process, "goes into maintenance")
        away = [b.name for b in self.world.brokers() if b.drained and b is not process.broker]
        if away:
            raise Violation("S6", f"{process.instance} goes into maintenance beside {away[0]}")

    def _spares(self, process: "SimProcess", what: str) -> None:
        critical = process.looked.critical.get(process.node, []) if process.looked is not None else ["?"]
        if critical:
            raise Violation("S6", f"{process.instance} {what}, which {', '.join(critical)} needs")

    def _is_late(self, process: "SimProcess", o: Observation) -> bool:
        """Is what is left of the stop budget needed by the broker itself?"""
        assert o.stop_asked_at is not None
        return process.clock.monotonic() - o.stop_asked_at >= o.policy.stop_seconds - STOPPING_TAKES_SECONDS

    def _may_be_forced(self, process: "SimProcess", o: Observation) -> bool:
        """No time left, nobody to wait for, or nobody to ask."""
        late = self._is_late(process, o)
        alone = o.view is None or len(o.view.running) < 2
        stopping = sum(1 for b in self.world.brokers() if b.phase is BrokerPhase.STOPPING or b.is_leaving)
        unproven = o.disk.marker is None or o.disk.marker.stage is not Stage.MEMBER or e.is_mutual(o) is not True
        return late or alone or unproven or o.store is None or stopping + 1 >= o.policy.majority
