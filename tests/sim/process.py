"""One run of a supervisor: the production Agent, StoreWorker, Prober and Hands over simulated ports."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from fakes.memory_store import MemoryStore

from rmqcluster.agent import act
from rmqcluster.agent.agent import Agent, Parts
from rmqcluster.agent.memory import Identity
from rmqcluster.agent.ports import Beat, BrokerFacts, Event
from rmqcluster.agent.prober import Prober
from rmqcluster.agent.store_worker import StoreWorker
from rmqcluster.core.actions import StoreAction
from rmqcluster.core.model import BrokerPhase, Disk, Lease, Marker, Operation, Stage, StoreView, View
from rmqcluster.errors import BrokerUnavailable, IdentityRefused, RmqclusterError, StoreUnavailable

from .brokers import SimBroker, SimDisk
from .commands import WANTED_STAMP, SimCommands, SimLongActs
from .kernel import Crash, Thread

if TYPE_CHECKING:
    from .operation_checks import Look
    from .world import World


class ProcessClock:
    """Monotonic time of one process; comparing it between processes means nothing."""

    def __init__(self, world: "World") -> None:
        self._kernel, self._offset = world.kernel, float(world.random.randrange(1000, 9000))

    def monotonic(self) -> float:
        return self._kernel.now + self._offset


class SimVolume:
    """Port `Volume`."""

    def __init__(self, process: "SimProcess") -> None:
        self._process, self._disk = process, process.disk
        self._read: Disk | None = None

    def forget_cache(self) -> None:
        self._read = None

    def read(self) -> Disk:
        self._process.step("volume.read")
        disk = self._disk
        if self._read is None:
            high = max(disk.epoch, disk.marker.epoch if disk.marker else 0)
            self._read = Disk(disk.db is not None, disk.marker, high)
        return self._read

    def write_marker(self, marker: Marker) -> None:
        self._process.step("volume.write_marker")
        self._process.world.checker.marks(self._process, marker)
        self._disk.marker, self._read = marker, None
        self._process.step("volume.marker_written")

    def raise_epoch(self, epoch: int) -> None:
        self._process.step("volume.raise_epoch")
        self._disk.epoch, self._read = max(self._disk.epoch, epoch), None

    def empty(self) -> None:
        self._process.step("volume.empty")
        self._process.world.checker.destroys(self._process, "volume.empty")
        marker = self._disk.marker
        proven = marker is not None and marker.stage is Stage.MEMBER and self._disk.db is not None
        if self._process.world.plant.volume_checks and proven and marker is not None:
            raise IdentityRefused(f"{self._disk.node} is a member of {marker.cluster_id}: not emptied")
        self._disk.db, self._read = None, None
        self._process.step("volume.emptied")

    def set_aside(self) -> Path:
        self._process.step("volume.set_aside")
        self._process.world.checker.acts.sets_aside(self._process)
        disk = self._disk
        disk.epoch = max(disk.epoch, disk.marker.epoch if disk.marker else 0)
        disk.db, self._read = None, None  # the data goes first
        self._process.step("volume.data_set_aside")
        disk.marker, self._read = None, None
        return Path("kept")


class SimStore:
    """Port `Store`: the memory store behind a Redis that may be slow, down, or lose its replies."""

    def __init__(self, process: "SimProcess", inner: MemoryStore) -> None:
        self._process, self._inner, self._world = process, inner, process.world

    def _call(self, name: str, act: Callable[[], Any]) -> Any:
        self._process.step(name)
        redis = self._world.redis
        if redis.slow_seconds:
            self._process.block(self._world.random.uniform(0.0, redis.slow_seconds))
        if self._process.cut_from_redis:
            raise StoreUnavailable("Redis did not answer (cut off)")
        answer = act()
        if redis.loses_replies and self._world.random.random() < redis.loses_replies:
            raise StoreUnavailable("Redis did not answer (reply lost)")
        return answer

    def beat(self, beat: Beat) -> None:
        self._call("store.beat", lambda: self._inner.beat(beat))
        self._process.beat_at = self._world.kernel.now

    def snapshot(self) -> StoreView:
        view: StoreView = self._call("store.snapshot", self._inner.snapshot)
        return view

    def apply(self, action: StoreAction) -> bool:
        self._world.before_apply(self._process, action)

        def act() -> bool:
            before = self._world.checker.before_apply()
            done = self._inner.apply(action)
            self._world.checker.applied(self._process, action, done, before)
            return done

        done: bool = self._call("store.apply", act)
        return done

    def read_lease(self) -> Lease | None:
        lease: Lease | None = self._call("store.read_lease", self._inner.read_lease)
        return lease

    def read_operation(self) -> Operation | None:
        operation: Operation | None = self._call("store.read_operation", self._inner.read_operation)
        self._process.fence_read_at = self._world.kernel.now
        return operation

    def record_event(self, event: Event) -> None:
        self._call("store.record_event", lambda: self._inner.record_event(event))

    def recent_events(self, count: int) -> tuple[Event, ...]:
        return tuple(self._inner.recent_events(count))


class SimApi:
    """Port `BrokerApi`."""

    def __init__(self, process: "SimProcess") -> None:
        self._process, self._world = process, process.world

    def facts(self) -> BrokerFacts:
        self._process.step("api.facts")
        broker = self._process.broker
        if not self._answers(broker):
            raise BrokerUnavailable("the broker did not answer (simulated)")
        cluster = broker.disk.db.cluster if broker.disk.db else None
        assert cluster is not None
        return BrokerFacts(broker.view(), cluster.stamp, cluster.uid)

    def peer_view(self, address: str) -> View:
        self._process.step("api.peer_view")
        found = self._world.broker_named(address, self._process.node)
        if found is None or not self._answers(found):
            raise BrokerUnavailable(f"{address} did not answer (simulated)")
        return found.view()

    def _answers(self, broker: SimBroker) -> bool:
        if broker.phase is not BrokerPhase.READY or broker.disk.db is None:
            return False
        return broker.serves and self._world.random.random() >= self._world.api_trouble


class SimJournal:
    """Stands in for `Journal`; a line without words is a broken promise."""

    def __init__(self, process: "SimProcess") -> None:
        self._process = process

    def say(self, text: str, *, kind: str = "note", rule: int = 0, epoch: int = 0) -> None:
        self._process.world.checker.says(self._process, text)
        self._process.world.kernel.log(self._process.instance, f"{kind} [{rule}] {text}")


class SimProcess:
    """From start to exit or crash; a restart is another one on the same disk."""

    def __init__(self, world: "World", node: str, disk: SimDisk, instance: str) -> None:
        self.world, self.node, self.disk, self.instance = world, node, disk, instance
        self.host = world.hosts[node] if disk is world.disks[node] else f"a second host of {node}"
        self.dead = False
        self.exit_code: int | None = None
        self.cut_from_redis = False
        self.paused_until = 0.0
        self.paused_last = -1e9  # when the last pause ended
        self.calls = 0
        self.beat_at = -1e9  # when Redis last confirmed a beat
        self.fence_read_at = -1e9  # when it last read the operation record
        self.looked: Look | None = None
        self._planned: dict[int, Callable[[], None]] = {}
        self._next_planned = -1
        self.clock = ProcessClock(world)
        self.volume = SimVolume(self)
        self.broker = SimBroker(self)
        self.agent = self._assemble()
        self.loop = Thread(world.kernel, self._turn, self.may_run)
        self._storing = Thread(world.kernel, self._store_step, self.may_run)
        self._probing = Thread(world.kernel, self._probe_step, self.may_run)
        disk.last_instance = instance
        self._connect()

    def _assemble(self) -> Agent:
        world, policy = self.world, self.world.policy
        predecessor = self.disk.last_instance if world.options.locks else None
        identity = Identity(
            self.node,
            self.instance,
            self.host,
            "cookie",
            self.node,
            None,
            predecessor,
            wanted_stamp=WANTED_STAMP,
        )
        store = SimStore(self, world.plant.store(world.state, self.node, self.instance, policy))
        self.worker = StoreWorker(store, policy, self.clock, self.instance)
        self.prober = Prober(SimApi(self), policy, self.clock)
        parts = Parts(
            store,
            self.worker,
            self.prober,
            self.volume,
            self.broker,
            SimCommands(self),
            SimLongActs(self),
            SimJournal(self),  # type: ignore[arg-type]
            self.clock,
        )
        with patch.object(act, "Performer", world.plant.performer):
            agent = Agent(identity, policy, parts)
        agent.member_rules, agent.monitor_rules = world.plant.member_rules, world.plant.monitor_rules
        return agent

    def _connect(self) -> None:
        self.worker.wake, self.prober.wake = self._storing.wake, self._probing.wake
        self.worker.on_reading = self.prober.on_answer = self.loop.wake
        self.agent.on_published = lambda published: self.world.checker.decided(self, published)
        for thread in (self.loop, self._storing, self._probing):
            thread.wake()

    def may_run(self) -> float | None:
        """Seconds until this process may go on; None when it is no more."""
        return None if self.dead else max(0.0, self.paused_until - self.world.kernel.now)

    # ---- faults ----
    def step(self, call: str) -> None:
        """Every port call passes here: the place where a process may be killed or stopped."""
        if self.dead:
            raise Crash
        self.calls += 1
        if self.calls == self._next_planned:
            act = self._planned.pop(self.calls)
            self._next_planned = min(self._planned, default=-1)
            self.world.kernel.log(self.instance, f"fault at call {self.calls} {call}")
            act()

    def plan(self, call: int, act: Callable[[], None]) -> None:
        """Do `act` at that port call, counted from the start of this process."""
        self._planned[call] = act
        self._next_planned = min(self._planned)

    def stop_for(self, seconds: float, broker_too: bool) -> None:
        """SIGSTOP, from outside."""
        self.paused_until = max(self.paused_until, self.world.kernel.now + seconds)
        self.paused_last = self.paused_until
        if broker_too:
            self.broker.pause(self.paused_until)

    def go_on(self) -> None:
        """SIGCONT."""
        self.paused_until = self.broker.paused_until = 0.0
        self.paused_last = min(self.paused_last, self.world.kernel.now)
        for thread in (self.loop, self._storing, self._probing):
            thread.wake()

    def stop_here(self, seconds: float, broker_too: bool) -> None:
        """SIGSTOP in the middle of this call."""
        self.stop_for(seconds, broker_too)
        self.block(seconds)

    def block(self, seconds: float) -> None:
        """This thread waits; the process is not stopped by it."""
        self.world.kernel.nap(seconds)
        if self.dead:
            raise Crash

    def kill(self) -> None:
        """SIGKILL; the broker does not outlive its supervisor."""
        if not self.dead:
            self.dead = True
            self.world.kernel.log(self.instance, "killed")
            self.broker.die_with_container()

    def kill_here(self) -> None:
        self.kill()
        raise Crash

    # ---- threads ----
    def _turn(self) -> float:
        try:
            leaving = self.agent.tick()
        except RmqclusterError as error:
            self._end(int(error.exit_code), str(error))
            return float("inf")
        if leaving is not None:
            self.agent.event("exit", leaving.reason)
            self.worker.step()
            self._end(int(leaving.code), leaving.reason)
            return float("inf")
        published = self.agent.published
        settled = published is not None and published.registered and published.decision.rule >= 630
        return 4.0 if settled else 1.0

    def _end(self, code: int, reason: str) -> None:
        self.exit_code = code
        self.world.kernel.log(self.instance, f"exit {code}: {reason}")
        self.dead = True
        self.broker.die_with_container()
        self.world.ended(self)

    def _store_step(self) -> float:
        return max(self.worker.step(), self.world.random.uniform(0.6, 1.2))

    def _probe_step(self) -> float:
        self.prober.step()
        return max(self.prober.step_peers(), self.world.random.uniform(0.6, 1.2))
