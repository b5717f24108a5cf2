"""A person with the command line: asks with the guards of the commands, and does what a held member says."""

from typing import TYPE_CHECKING

from fakes.memory_store import MemoryStore

from rmqcluster.cli import guards
from rmqcluster.core.actions import StartOperation
from rmqcluster.core.model import BrokerPhase, OperationKind, StoreView
from rmqcluster.core.operations import deadline_seconds, executor_of
from rmqcluster.errors import StoreUnavailable

if TYPE_CHECKING:
    from .world import World

ATTENDS_SECONDS = 8.0


class Operator:
    def __init__(self, world: "World") -> None:
        self._world = world
        self._store = MemoryStore(world.state, "operator", "operator", world.policy)
        self.asked: dict[tuple[OperationKind, str], float] = {}
        self.helps = False  # types the one command that a held member names

    def ask(self, kind: OperationKind, subject: str = "", target: str | None = None) -> bool:
        """One command; False when its guard refuses, somebody is busy, or Redis does not answer."""
        try:
            view = self._store.snapshot()
            refusal = guards.busy(view) or self._guard(view, kind, subject, target)
            if refusal is not None:
                self._world.kernel.log("operator", f"{kind} {subject}: {refusal}")
                return False
            seconds = deadline_seconds(kind, self._world.policy)
            consent = kind in (OperationKind.FORGET, OperationKind.REPLACE, OperationKind.REJOIN)
            executor = executor_of(kind, subject)
            act = StartOperation(kind, subject, seconds, "operator", executor, consent=consent, target=target)
            done = self._store.apply(act)
        except StoreUnavailable:
            return False
        self._world.kernel.log("operator", f"{kind} {subject} -> {done}")
        if done:
            self.asked[kind, subject] = self._world.kernel.now
        return done

    def pause(self, seconds: float) -> None:
        self._world.state.paused = "the operator looks at something"
        self._world.kernel.after(seconds, self.resume)

    def resume(self) -> None:
        self._world.state.paused = None

    def attend(self) -> None:
        """After the last fault: maintenance ends, and what waits for a person gets its command, where one helps."""
        self._world.kernel.after(ATTENDS_SECONDS, self.attend)
        if self._world.state.live_operation() is not None:
            return
        for process in self._world.running():
            away = process.broker.drained or process.agent.memory.drained  # a drain of unknown end is announced
            if away and process.broker.phase is BrokerPhase.READY:
                self.ask(OperationKind.REVIVE, process.node)
                return
        for node in self._world.names if self.helps else ():
            there = self._world.processes.get(node)
            said = there.agent.published if there is not None and not there.dead else None
            words = said.decision.held if said is not None else None
            for command in (OperationKind.REPLACE, OperationKind.REJOIN):
                if words is not None and f"rmqcluster {command} {node}" in words and self.ask(command, node):
                    return

    def _guard(self, view: StoreView, kind: OperationKind, subject: str, target: str | None) -> str | None:
        if kind is OperationKind.FAILOVER:
            return guards.failover(view, target)
        if kind is OperationKind.REBALANCE:
            return guards.rebalance(view)
        by_kind = {
            OperationKind.DRAIN: guards.drain,
            OperationKind.REVIVE: guards.revive,
            OperationKind.FORGET: guards.forget,
            OperationKind.REPLACE: guards.replace,
            OperationKind.REJOIN: guards.rejoin,
        }
        return by_kind[kind](view, subject)
