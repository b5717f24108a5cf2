"""The truth about brokers: who is whose cluster, on which disk, and what clients were told is safe.

A `Cluster` is the replicated metadata of one founding. A `Db` is the broker data on one disk; it is a real
member only while the cluster lists this very incarnation under its name. A name that is listed without a disk
behind it is a ghost: a join that was killed half way.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rmqcluster.agent.ports import Boot
from rmqcluster.core.model import BrokerPhase, BrokerState, Exit, Marker, Purpose, View

from .queues import Log, SimQueue

if TYPE_CHECKING:
    from .operation_checks import Act
    from .process import SimProcess

BOOT_GIVE_UP_SECONDS = 300.0  # how long RabbitMQ waits for a majority of its members
HELD_SECONDS = 60.0  # a boot that was ready for so long clears the record of failed ones
RETRY_SECONDS = 0.7  # a joiner's discovery
SILENT_SECONDS = 60.0  # how long a stopped node is taken for running by the others
CATCH_UP_SECONDS = 8.0  # at most so long a replica is behind after its start


@dataclass(eq=False, slots=True)
class Cluster:
    uid: str
    founding_id: str | None
    members: dict[str, "Db | None"] = field(default_factory=dict)
    stamp: str = ""
    queues: dict[str, SimQueue] = field(default_factory=dict)
    served: bool = False  # a message was confirmed to a client


@dataclass(eq=False, slots=True)
class Db:
    """Broker data on one disk: whom it listed last, and the logs of its replicas by queue."""

    name: str
    cluster: Cluster
    last_listed: frozenset[str] = frozenset()
    logs: dict[str, Log] = field(default_factory=dict)

    @property
    def holds(self) -> int:
        """Messages of which it has a copy."""
        return sum(length for _, length in self.logs.values())

    @property
    def is_member(self) -> bool:
        return self.cluster.members.get(self.name) is self

    def listed(self) -> frozenset[str]:
        if self.is_member:
            self.last_listed = frozenset(self.cluster.members)
        return self.last_listed


@dataclass(eq=False, slots=True)
class SimDisk:
    """One volume: broker data, our marker, the lock's record of who held it last."""

    node: str
    db: Db | None = None
    marker: Marker | None = None
    epoch: int = 0
    last_instance: str | None = None
    wiped: bool = False  # the environment destroyed a member's data that was here
    sole: tuple[str, ...] = ()  # queues whose only copy was on what was destroyed
    good_host: str | None = None  # where it was proven last


class SimBroker:
    """Port `BrokerProcess`, and the broker behind it."""

    def __init__(self, process: "SimProcess") -> None:
        self.process = process
        self.world = process.world
        self.name, self.disk = process.node, process.disk
        self.phase = BrokerPhase.DOWN
        self.paused_at = self.paused_until = 0.0
        self._since = process.clock.monotonic()
        self._boot: Boot | None = None
        self.run = 0  # rises with every start and every end
        self._asked = False
        self._exits: tuple[Exit, ...] = ()
        self._view: tuple[int, View] | None = None
        self._loaded = False  # far enough to count for its peers' majority
        self._started_at = 0.0
        self.ready_at = 0.0
        self.caught_up_at = 0.0
        self.drained = False
        self._act: Act | None = None  # the join or the stop that others have to wait for

    # ---- port ----
    def start(self, boot: Boot) -> None:
        self.process.step("broker.start")
        assert self.phase is BrokerPhase.DOWN, "started twice"
        self.world.checker.broker_starts(self.process, boot)
        self.run += 1
        self._boot, self._asked, self._loaded, self.drained = boot, False, False, False
        self._started_at = self.world.kernel.now
        self._enter(BrokerPhase.STARTING)
        quick = self.world.random.uniform(0.5, self.world.options.boot_seconds / 2)
        if self.disk.db is not None:
            self._later(quick, self._load)
        elif boot.purpose is Purpose.JOIN:
            if boot.cluster_id in self.world.checker.committed and self.process.agent.memory.seen_cluster_id:
                self._act = self.world.checker.acts.begin(self.process, "join", self.name)
            self._later(quick, self._discover)
        else:
            self._later(quick, self._create_alone)

    def terminate(self) -> None:
        self.process.step("broker.terminate")
        self.world.checker.broker_ends(self.process, "stop")
        if self.phase is BrokerPhase.DOWN:
            return
        if self.phase is BrokerPhase.READY and self.disk.db is not None and self.disk.db.is_member:
            self._end_act()
            self._act = self.world.checker.acts.stops(self.process)
        self._asked = True
        self._enter(BrokerPhase.STOPPING)
        run = self.run
        self.world.kernel.after(
            self.world.random.choice((0.3, 1.0, 4.0, 12.0)), lambda: self._gone() if run == self.run else None
        )

    def kill(self) -> None:
        self.process.step("broker.kill")
        self.world.checker.broker_ends(self.process, "kill")
        if self.phase is not BrokerPhase.DOWN:
            self._asked = True
            self._gone()

    def state(self) -> BrokerState:
        self.process.step("broker.state")
        now = self.process.clock.monotonic()
        if self.phase is BrokerPhase.READY and now - self._since >= HELD_SECONDS:
            self._exits = ()
        boot = self._boot
        return BrokerState(
            phase=self.phase,
            since=self._since,
            purpose=boot.purpose if boot else None,
            target=boot.target if boot else None,
            cluster_id=boot.cluster_id if boot else None,
            exits=self._exits,
            version=self.world.options.version,
        )

    # ---- what happens to it ----
    def crash(self, reason: str) -> None:
        """An end that nobody asked for; the supervisor learns it at once."""
        if self.phase is BrokerPhase.DOWN:
            return
        if not self._asked:
            self._exits = (*self._exits, Exit(137, reason, False, self.process.clock.monotonic()))[-20:]
        self._gone()

    def die_with_container(self) -> None:
        self._end_act()
        self.world.checker.acts.broker_ended(self.process)
        self.run += 1
        self.phase = BrokerPhase.DOWN
        self.world.changed()

    def _end_act(self) -> None:
        if self._act is not None:
            self.world.checker.acts.end(self._act)
            self._act = None

    @property
    def serves(self) -> bool:
        """Up, and not standing still."""
        up = self.phase is BrokerPhase.READY and self.disk.db is not None
        return up and self.paused_until <= self.world.kernel.now

    @property
    def is_leaving(self) -> bool:
        return self.phase is BrokerPhase.READY and self.process.agent.memory.stop_asked_at is not None

    @property
    def silent(self) -> bool:
        """Has it stood still for so long that the others take it for gone?"""
        return self.paused_until > self.world.kernel.now >= self.paused_at + SILENT_SECONDS

    def pause(self, until: float) -> None:
        """SIGSTOP of the broker."""
        now = self.world.kernel.now
        self.paused_at = self.paused_at if self.paused_until > now else now
        self.paused_until = max(self.paused_until, until)
        for at in (self.paused_at + SILENT_SECONDS, self.paused_until):
            if at >= now:
                self.world.kernel.at(at, self.world.changed)

    @property
    def loaded(self) -> bool:
        return self._loaded and self.phase in (BrokerPhase.STARTING, BrokerPhase.READY)

    def view(self) -> View:
        """Whom this broker lists, and which of them it sees running (facts T2: by name, whoever answers)."""
        if self._view is None or self._view[0] != self.world.version:
            assert self.disk.db is not None
            listed = self.disk.db.listed()
            running = (n for n in listed if self.world.ready_under(n, self.name))
            self._view = (self.world.version, View(listed, frozenset(running)))
        return self._view[1]

    # ---- booting ----
    def _create_alone(self) -> None:
        founding = self._boot.cluster_id if self._boot and self._boot.purpose is Purpose.FOUND else None
        cluster = self.world.new_cluster(founding)
        self.disk.db = cluster.members[self.name] = Db(self.name, cluster)
        self.process.volume.forget_cache()
        self._loaded = True
        self._later(self.world.random.uniform(0.3, self.world.options.boot_seconds / 2), self._ready)

    def _load(self) -> None:
        """A broker with data never runs discovery; it needs most of its members beside it."""
        db = self.disk.db
        assert db is not None
        if not db.is_member:
            self.crash("peers disagree: inconsistent_cluster")
            return
        if not self._loaded:
            self._loaded = True
            self.world.changed()
        if self.world.has_majority(db, self.name):
            self._later(self.world.random.uniform(0.2, 1.0), self._ready)
        elif self.world.kernel.now - self._started_at > BOOT_GIVE_UP_SECONDS:
            self.crash("timeout waiting for members")
        else:
            self._later(RETRY_SECONDS, self._load)

    def _discover(self) -> None:
        target = self._target()
        if target is None:
            self._later(RETRY_SECONDS, self._discover)
            return
        self.disk.db = None
        self._later(0.15, lambda: self._enlist(target))

    def _enlist(self, target: "SimBroker") -> None:
        """First the others list the joiner, then its own disk knows them; a kill in between leaves a ghost."""
        if self._target() is not target:
            self._later(RETRY_SECONDS, self._discover)
            return
        assert target.disk.db is not None
        cluster = target.disk.db.cluster
        self.world.checker.joins(self.process, cluster)
        cluster.members[self.name] = None
        self.world.changed()
        self._later(0.2, lambda: self._joined(target, cluster))

    def _joined(self, target: "SimBroker", cluster: Cluster) -> None:
        if target.phase is not BrokerPhase.READY or cluster.members.get(self.name, self) is not None:
            self._later(RETRY_SECONDS, self._discover)
            return
        db = Db(self.name, cluster)
        self.disk.db = cluster.members[self.name] = db
        self.process.volume.forget_cache()
        self._loaded = True
        self.world.changed()
        self._later(self.world.random.uniform(0.2, self.world.options.boot_seconds / 2), self._ready)

    def join_now(self, name: str) -> bool:
        """`join_cluster` against a running broker; resets this one first. False when the target is not there."""
        target = self.world.broker_named(name, self.name)
        if target is None or target.disk.db is None or self.phase is not BrokerPhase.READY:
            return False
        self.world.checker.destroys(self.process, "join_cluster")
        cluster = target.disk.db.cluster
        self.world.checker.joins(self.process, cluster)
        self.disk.db = cluster.members[self.name] = Db(self.name, cluster)
        self.process.volume.forget_cache()
        self.world.changed()
        return True

    def _target(self) -> "SimBroker | None":
        if self._boot is None or self._boot.target in (None, self.name):
            return None
        found = self.world.broker_named(self._boot.target or "", self.name)
        return found if found is not None and found.disk.db is not None else None

    def _ready(self) -> None:
        if self.disk.db is not None and not self.world.has_majority(self.disk.db, self.name):
            self._later(RETRY_SECONDS, self._load)
            return
        self.ready_at = self.world.kernel.now
        self.caught_up_at = self.ready_at + self.world.random.uniform(0.0, CATCH_UP_SECONDS)
        self._end_act()
        self._enter(BrokerPhase.READY)

    def _gone(self) -> None:
        self._end_act()
        self.world.checker.acts.broker_ended(self.process)
        self.run += 1
        self._loaded = False
        if self.disk.db is None and self._boot is not None and self._boot.purpose is Purpose.JOIN:
            self._leave_half_a_join()
        self._enter(BrokerPhase.DOWN)

    def _leave_half_a_join(self) -> None:
        """A joiner that was killed may have left a broker of its own on the disk."""
        if self.world.random.random() < 0.3:
            cluster = self.world.new_cluster(None)
            self.disk.db = cluster.members[self.name] = Db(self.name, cluster)
            self.process.volume.forget_cache()

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        run = self.run

        def do() -> None:
            if run != self.run or self.phase not in (BrokerPhase.STARTING, BrokerPhase.READY):
                return
            if self.paused_until > self.world.kernel.now:
                self.world.kernel.at(self.paused_until, do)
                return
            act()

        self.world.kernel.after(seconds, do)

    def _enter(self, phase: BrokerPhase) -> None:
        self.phase = phase
        self._since = self.process.clock.monotonic()
        self.world.changed()
        self.world.kernel.log(self.process.instance, f"broker {phase}")
        if not self.process.dead:
            self.process.loop.wake()
