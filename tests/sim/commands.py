"""Port `Commands` on the simulated broker: every act takes time, may fail, and may end unheard.

A command that timed out goes on behind the back of who began it: its effect comes later, or never.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rmqcluster.core import queues as q
from rmqcluster.core.model import BrokerPhase
from rmqcluster.core.queues import QueueKind, QueueReport
from rmqcluster.errors import CommandFailed

from .brokers import Cluster
from .kernel import Crash, Fiber

if TYPE_CHECKING:
    from .operation_checks import Act
    from .process import SimProcess

WANTED_STAMP = "as configured"
FAILS, TIMES_OUT = 0.06, 0.03  # while faults last
PROGRESS_SECONDS = 20.0
MOVE_SECONDS = 60.0
NEVER = -1e9


class SimCommands:
    """Each takes seconds during which the world goes on."""

    def __init__(self, process: "SimProcess") -> None:
        self._process, self._world = process, process.world
        self._late: Callable[[], object] | None = None  # what a command does after nobody waits for it any more

    def join(self, target: str) -> None:
        self._process.step("commands.join")
        self._process.block(self._world.random.uniform(0.5, 2.0))
        if not self._process.broker.join_now(target):
            raise CommandFailed(f"{target} does not run (simulated)", exit_status=69)

    def provision(self, cluster_id: str) -> None:
        self._process.step("commands.provision")
        cluster = self._cluster()
        self._world.checker.provisions(self._process, cluster, cluster_id)
        self._process.block(self._world.random.uniform(0.1, 1.5))
        self._cluster()
        if not cluster.stamp:
            self._world.queues.declare(cluster, self._process.node)
        cluster.stamp = WANTED_STAMP

    def queues(self) -> QueueReport:
        self._process.step("commands.queues")
        self._process.block(self._world.random.uniform(0.05, 0.5))
        cluster = self._cluster()
        report = self._world.queues.report(self._process.broker)
        self._world.checker.acts.look(self._process, cluster)
        self._process.block(self._world.random.uniform(0.05, 0.5))
        return report

    def forget(self, node: str) -> None:
        self._process.step("commands.forget")
        self._world.checker.acts.forgets(self._process, node)
        with self._act("forget", node):
            self._takes((0.5, 6.0), lambda: self._forget(node))

    def grow(self) -> None:
        self._process.step("commands.grow")
        self._world.checker.acts.performs(self._process, "grow", "")
        with self._act("grow", ""):
            self._takes((0.1, 1.0), self._grow, self._grow_at_once)

    def rebalance(self, seen: QueueReport | None) -> None:
        self._process.step("commands.rebalance")
        self._world.checker.acts.performs(self._process, "rebalance", "")
        with self._act("rebalance", ""):
            self._takes((0.1, 2.0), self._rebalance)

    def drain(self) -> None:
        self._process.step("commands.drain")
        self._world.checker.acts.drains(self._process)
        with self._act("drain", self._process.node):
            self._takes((0.5, 5.0), self._drain)

    def revive(self) -> None:
        self._process.step("commands.revive")
        self._world.checker.acts.performs(self._process, "revive", self._process.node)
        with self._act("revive", self._process.node):
            self._takes((0.3, 3.0), self._revive)

    def prepare_stop(self, seconds: float) -> None:
        self._process.step("commands.prepare_stop")
        self._world.checker.acts.performs(self._process, "prepare_stop", self._process.node)
        with self._act("prepare_stop", self._process.node):
            takes = self._world.random.uniform(0.1, 1.5)
            self._process.block(min(takes, seconds))
            if takes > seconds:
                raise CommandFailed("leaders did not move in time (simulated)", exit_status=None, timed_out=True)
            self._hand_over()

    def load_tables(self, missed: Mapping[str, frozenset[str] | None]) -> str:
        return "simulated brokers need a majority only"

    def prepare_boot(self) -> None:
        raise CommandFailed("going on alone is not simulated", exit_status=None)

    def release(self) -> None:
        raise CommandFailed("going on alone is not simulated", exit_status=None)

    def settle(self, lost: frozenset[str]) -> tuple[str, ...]:
        raise CommandFailed("going on alone is not simulated", exit_status=None)

    # ---- how they run ----
    @contextmanager
    def _act(self, kind: str, subject: str) -> Iterator[None]:
        act, run = self._world.checker.acts.begin(self._process, kind, subject), self._process.broker.run
        try:
            yield
        except CommandFailed as error:
            if error.timed_out and kind != "prepare_stop":
                self._world.kernel.after(self._world.random.uniform(1.0, 20.0), lambda: self._ends_late(act, run))
            else:
                self._world.checker.acts.end(act)
            raise
        except BaseException:
            self._world.checker.acts.end(act)
            raise
        else:
            self._world.checker.acts.end(act)

    def _ends_late(self, act: "Act", run: int) -> None:
        late, self._late = self._late, None
        broker = self._process.broker
        if late is not None and not self._process.dead and broker.serves and broker.run == run:
            try:
                late()
            except (CommandFailed, Crash) as error:
                self._world.kernel.log(self._process.instance, f"unheard: {error}")
        self._world.checker.acts.end(act)

    def _takes(
        self, seconds: tuple[float, float], act: Callable[[], None], late: Callable[[], object] | None = None
    ) -> None:
        r = self._world.random
        fate, run = r.random(), self._process.broker.run
        if self._world.healing or not self._world.options.commands_fail:
            fate = 1.0
        self._process.block(r.uniform(*seconds))
        if self._process.broker.run != run:
            raise CommandFailed("the broker ended (simulated)", exit_status=69)
        if fate < FAILS:
            raise CommandFailed("the command failed (simulated)", exit_status=1)
        if fate < FAILS + TIMES_OUT:
            self._late = r.choice((None, late or act))
            self._process.block(r.uniform(1.0, 20.0))
            raise CommandFailed("no answer in time (simulated)", exit_status=None, timed_out=True)
        act()

    def _cluster(self) -> Cluster:
        broker = self._process.broker
        if broker.phase is not BrokerPhase.READY or broker.disk.db is None:
            raise CommandFailed("the broker does not run (simulated)", exit_status=69)
        return broker.disk.db.cluster

    # ---- what they do ----
    def _forget(self, node: str) -> None:
        cluster, queues = self._cluster(), self._world.queues
        me = self._process.broker.disk.db
        assert me is not None
        if any(b.name == node and b.loaded and b.disk.db is cluster.members.get(node) for b in self._world.brokers()):
            raise CommandFailed(f"{node} runs (simulated)", exit_status=69)
        if not me.is_member or not self._world.has_majority(me, self._process.node):
            raise CommandFailed("no majority (simulated)", exit_status=69)
        cluster.members.pop(node, None)
        self._world.changed()
        self._process.step("commands.forget half done")
        left = []
        for queue in list(cluster.queues.values()):
            if node in queue.voters and not queues.remove(cluster, queue, node):
                left.append(queue.name)
        if left:
            raise CommandFailed(f"{node} is still listed by {', '.join(left)} (simulated)", exit_status=None)

    def _grow(self) -> None:
        fewest, progress_at = None, self._world.kernel.now
        while True:
            left = self._grow_at_once(count_only=True)
            if left == 0 and fewest is not None:
                return
            now = self._world.kernel.now
            if fewest is None or left < fewest:
                fewest, progress_at = left, now
            if now - progress_at >= PROGRESS_SECONDS:
                raise CommandFailed(f"{left} replicas of queues could not be added yet (simulated)", exit_status=None)
            self._grow_at_once()
            self._process.block(0.5)

    def _grow_at_once(self, count_only: bool = False) -> int:
        """One round; returns what was due."""
        cluster, queues = self._cluster(), self._world.queues
        report, default = queues.report(self._process.broker), self._world.policy.replicas
        usable = report.running - report.drained
        due = q.missing_count(report, usable, default)
        if count_only:
            return due
        for facts, node in q.strays(report):
            queues.remove(cluster, cluster.queues[facts.name], node)
        for growth in self._world.plant.missing(report, usable, default):
            for name in sorted(growth.names):
                if not self._world.ready_under(growth.node, self._process.node):
                    continue
                self._process.block(self._world.random.uniform(0.05, 0.6))
                queue = cluster.queues.get(name)
                if queue is not None and queues.add(cluster, queue, growth.node):
                    self._world.checker.queues.grown(queue, growth.node)
        return due

    def _rebalance(self) -> None:
        deadline = self._world.kernel.now + MOVE_SECONDS
        while True:
            cluster = self._cluster()
            report = self._world.queues.report(self._process.broker)
            moves = q.rebalance_moves(report, report.running - report.drained)
            if not moves:
                return
            if self._world.kernel.now >= deadline:
                raise CommandFailed(f"leaders of {len(moves)} queues did not move (simulated)", exit_status=None)
            for move in moves:
                self._world.queues.lead(cluster, cluster.queues[move.name], move.to)
            self._process.block(0.5)

    def _hand_over(self) -> None:
        cluster = self._cluster()
        report = self._world.queues.report(self._process.broker)
        for move in q.departing_moves(report, self._process.node):
            if cluster.queues[move.name].kind is QueueKind.QUORUM:
                self._world.queues.lead(cluster, cluster.queues[move.name], move.to)

    def _drain(self) -> None:
        self._hand_over()
        self._process.broker.drained = True

    def _revive(self) -> None:
        self._cluster()
        self._process.broker.drained = False


class SimLongActs:
    """One long act at a time, on a call stack of its own."""

    def __init__(self, process: "SimProcess") -> None:
        self._process = process
        self.busy: str | None = None

    def run(self, name: str, act: Callable[[], None]) -> None:
        assert self.busy is None, "one long act at a time"
        self.busy = name
        self._process.fence_read_at = NEVER  # a look taken for an earlier act proves nothing
        self._process.world.before_long_act(self._process, name)

        def step() -> None:
            try:
                act()
            finally:
                self.busy = None
            self._process.loop.wake()

        Fiber(self._process.world.kernel, step, self._process.may_run)
