"""Members, disks, brokers, one Redis and an orchestrator that starts again what ended."""

import random
from dataclasses import dataclass

from fakes.memory_store import MemoryState

from rmqcluster.core.actions import CommitFounding, RemoveMember, RestoreRecord, SetMaster, StoreAction, TakeLease
from rmqcluster.core.model import BrokerPhase, JoinMode, OperationKind, Policy, Stage
from rmqcluster.errors import ExitCode

from .brokers import Cluster, Db, SimBroker, SimDisk
from .checkers import Checker
from .faults import Fault, Options
from .kernel import Kernel
from .operator import Operator
from .plants import NOTHING, Plant
from .process import SimProcess
from .queues import Queues, SimQueue

RIGHTS = (CommitFounding, RemoveMember, SetMaster, RestoreRecord, TakeLease)
AT_COMMAND = ("forget", "replace", "grow", "rebalance", "drain", "join")
CLIENT_SECONDS = 1.5  # how often clients publish


@dataclass(slots=True)
class Redis:
    """How the shared store behaves towards its callers."""

    slow_seconds: float = 0.0
    loses_replies: float = 0.0


class World:
    def __init__(self, seed: int, options: Options, plant: Plant = NOTHING, tracing: bool = False) -> None:
        self.kernel = Kernel(seed, tracing)
        self.random: random.Random = self.kernel.random
        self.options, self.plant = options, plant
        mode = JoinMode.RABBITMQCTL if options.by_command else JoinMode.BOOT
        self.policy = Policy(size=options.size, join=mode)
        self.state = MemoryState(lambda: self.kernel.now, seed)
        self.redis = Redis()
        self.api_trouble = 0.0
        self.version = 0  # rises with every change that a broker could see
        self.names = [f"rabbit@n{i + 1}" for i in range(options.size)]
        self.disks = {name: SimDisk(name) for name in self.names}
        self.hosts = {name: f"host of {name}" for name in self.names}
        self.processes: dict[str, SimProcess] = {}
        self.twins: list[SimProcess] = []
        self.twinned: set[str] = set()  # names that two volumes bore
        self.clusters: list[Cluster] = []
        self.cut: frozenset[str] = frozenset()  # brokers on the small side of a partition
        self.cut_at = 0.0  # when that last changed
        self.healing = False
        self._at_act: Fault | None = None
        self._at_command: Fault | None = None
        self._runs = 0
        self.checker = Checker(self)
        self.queues = Queues(self)
        self.operator = Operator(self)
        self.kernel.after(CLIENT_SECONDS, self._publish)

    # ---- brokers ----
    def changed(self) -> None:
        self.version += 1

    def new_cluster(self, founding_id: str | None) -> Cluster:
        cluster = Cluster(f"uid{len(self.clusters)}", founding_id)
        self.clusters.append(cluster)
        self.changed()
        return cluster

    def running(self) -> list[SimProcess]:
        return [p for p in (*self.processes.values(), *self.twins) if not p.dead]

    def brokers(self) -> list[SimBroker]:
        return [p.broker for p in self.running()]

    def reachable(self, one: str, other: str) -> bool:
        return one == other or (one in self.cut) == (other in self.cut)

    def broker_named(self, name: str, asked_by: str) -> SimBroker | None:
        """The running broker that answers under a name."""
        for broker in self.brokers():
            if broker.name != name or broker.phase is not BrokerPhase.READY or broker.silent:
                continue
            if self.reachable(name, asked_by):
                return broker
        return None

    def ready_under(self, name: str, asked_by: str) -> bool:
        return self.broker_named(name, asked_by) is not None

    def has_majority(self, db: Db, asked_by: str) -> bool:
        """Are most members of this disk's cluster up, with the disks that the cluster knows?"""
        up = sum(
            1
            for broker in self.brokers()
            if broker.loaded
            and self.reachable(broker.name, asked_by)
            and db.cluster.members.get(broker.name) is broker.disk.db
        )
        return up > len(db.cluster.members) // 2

    # ---- clients ----
    def _publish(self) -> None:
        self.kernel.after(CLIENT_SECONDS, self._publish)
        for cluster in self.clusters:
            if cluster.stamp:
                self.queues.tick(cluster)
                served = any(q.confirmed[1] for q in cluster.queues.values())
                if served and not cluster.served:
                    cluster.served = True
                    self.checker.confirmed(cluster)

    def replicates(self, node: str) -> bool:
        """Has the replica there caught up since its start?"""
        process = self.processes.get(node)
        return process is not None and process.broker.caught_up_at <= self.kernel.now

    # ---- processes ----
    def start(self, node: str) -> SimProcess | None:
        """Start the supervisor of a node, unless it runs."""
        old = self.processes.get(node)
        if old is not None and not old.dead:
            return None
        self._runs += 1
        process = SimProcess(self, node, self.disks[node], f"{node[7:]}#{self._runs}")
        self.processes[node] = process
        self.kernel.log(process.instance, "starts")
        return process

    def start_later(self, node: str, seconds: float) -> None:
        self.kernel.after(seconds, lambda: self.start(node))

    def ended(self, process: SimProcess) -> None:
        """The orchestrator starts again what failed; a twin is left alone."""
        if process in self.twins:
            return
        if process.exit_code != ExitCode.OK or self.healing:
            self.start_later(process.node, self.random.uniform(1.0, 6.0))

    def start_twin(self, node: str) -> SimProcess:
        self._runs += 1
        twin = SimProcess(self, node, SimDisk(node), f"{node[7:]}#{self._runs}twin")
        self.twins.append(twin)
        self.twinned.add(node)
        return twin

    def _end_twin(self, twin: SimProcess) -> None:
        """A person stops one of the two: the one without data."""
        if twin not in self.twins:
            return
        self.twins.remove(twin)
        original = self.processes.get(twin.node)
        proven = twin.disk.marker is not None and twin.disk.marker.stage is Stage.MEMBER
        if twin.dead or not (proven or self.disks[twin.node].db is None):
            twin.kill()
            return
        if original is not None:
            original.kill()
        self.processes[twin.node], self.disks[twin.node] = twin, twin.disk
        self.hosts[twin.node] = twin.host

    def may_wipe(self, node: str) -> bool:
        """No schedule destroys what no design could survive: a majority of copies, or of witnesses."""
        db = self.disks[node].db
        if db is None:
            return True
        known = db.cluster
        intact = sum(1 for n, d in known.members.items() if d is not None and n != node and self.disks[n].db is d)
        bare = any(self._would_lose(known, queue, node) for queue in known.queues.values())
        return not bare and intact > len(known.members) // 2 and intact > self.options.size - self.policy.majority

    def _would_lose(self, cluster: Cluster, queue: SimQueue, node: str) -> bool:
        """Is the majority of its voters' disks not on others? Sole copies may be lost: they are held then."""
        if node not in queue.voters or len(queue.voters) == 1:
            return False
        disks = {n: self.disks[n].db for n in sorted(queue.voters - {node}) if n in self.disks}
        intact = [n for n, db in disks.items() if db and cluster.members.get(n) is db and queue.name in db.logs]
        return len(intact) < queue.majority

    def wipe(self, node: str, broker_only: bool) -> None:
        """The environment loses data; the process must not run."""
        disk = self.disks[node]
        if disk.db is not None and disk.db.holds and disk.marker is not None:
            broker_only = (
                broker_only and disk.marker.stage is Stage.MEMBER
            )  # a joiner's marker cannot witness this loss
        disk.wiped = disk.wiped or disk.db is not None or disk.marker is not None
        if disk.db is not None and disk.db.is_member:
            gone = self.queues.only_on(disk.db.cluster, node)
            disk.sole = (*disk.sole, *gone)
            for name in gone:
                disk.db.cluster.queues[name].destroyed = True
        disk.db = None
        if not broker_only:
            disk.marker, disk.epoch, disk.last_instance = None, 0, None

    # ---- faults ----
    def schedule(self) -> None:
        """Put the starts and the faults of the options into the heap."""
        if self.options.redis_from:
            self.state.available = False
            self.kernel.at(self.options.redis_from, lambda: self._redis_up(False))
        for node, at in zip(self.names, self.options.start_at, strict=True):
            self.kernel.at(at, lambda node=node: self.start(node))  # type: ignore[misc]
        for fault in self.options.faults:
            self.kernel.at(fault.at, lambda fault=fault: self.strike(fault))  # type: ignore[misc]

    def strike(self, fault: Fault) -> None:
        if self.healing:
            return
        node = self.names[fault.node]
        self.kernel.log("fault", str(fault))
        if fault.kind.startswith("redis"):
            self._strike_redis(fault)
        elif fault.kind == "all_down":
            for name in self.names:
                self._kill(name, self.random.uniform(0.0, fault.seconds))
        elif fault.kind.endswith("_at_act"):
            self._at_act = fault
        elif fault.kind.endswith("_at_command"):
            self._at_command = fault
        elif fault.kind.startswith("op_"):
            self._operate(fault, node)
        elif fault.kind == "partition":
            self._cut(frozenset({node}))
            self.kernel.after(fault.seconds, lambda: self._cut(frozenset()))
        elif fault.kind == "api_trouble":
            self.api_trouble = 0.5
            self.kernel.after(fault.seconds, lambda: setattr(self, "api_trouble", 0.0))
        elif fault.kind == "twin":
            if self.options.size == 1 or self.twinned:
                return  # a second disk for the only member: no roll call can tell which one to believe
            twin = self.start_twin(node)
            self.kernel.after(30.0 + fault.seconds, lambda: self._end_twin(twin))
        else:
            self._strike_member(fault, node)

    def _operate(self, fault: Fault, node: str) -> None:
        kind = fault.kind.removeprefix("op_")
        if kind == "pause":
            self.operator.pause(fault.seconds)
        elif kind in ("rebalance", "failover"):
            self.operator.ask(OperationKind(kind))
        else:
            self.operator.ask(OperationKind(kind), node)
            if kind == "drain":
                self.kernel.after(20.0 + fault.seconds, lambda: self.operator.ask(OperationKind.REVIVE, node))

    def _strike_redis(self, fault: Fault) -> None:
        if fault.kind == "redis_flushed":
            self.flush()
        elif fault.kind == "redis_slow":
            self.redis.slow_seconds = 2.5
            self.kernel.after(fault.seconds, lambda: setattr(self.redis, "slow_seconds", 0.0))
        elif fault.kind == "redis_loses_replies":
            self.redis.loses_replies = 0.3
            self.kernel.after(fault.seconds, lambda: setattr(self.redis, "loses_replies", 0.0))
        else:
            self.state.available = False
            empty = fault.kind == "redis_emptied"
            self.kernel.after(fault.seconds, lambda: self._redis_up(empty))

    def flush(self) -> None:
        self.state.flush()
        self.checker.flushed()

    def _redis_up(self, empty: bool) -> None:
        if empty:
            self.flush()
        self.state.available = True

    def _cut(self, apart: frozenset[str]) -> None:
        self.cut, self.cut_at = apart, self.kernel.now
        self.changed()

    def _kill(self, node: str, down_seconds: float) -> None:
        process = self.processes.get(node)
        if process is not None and not process.dead:
            process.kill()
        self.start_later(node, down_seconds)

    def _strike_member(self, fault: Fault, node: str) -> None:
        process = self.processes.get(node)
        if process is None or process.dead:
            return
        if fault.kind in ("kill", "kill_wiped", "kill_emptied", "kill_moved"):
            self._kill(node, fault.seconds)
            if fault.kind != "kill" and self.may_wipe(node):
                self.wipe(node, fault.kind == "kill_emptied")
                if fault.kind == "kill_moved":
                    self.hosts[node] = f"another host of {node}"
        elif fault.kind == "kill_and_forget":
            self._kill(node, 45.0 + fault.seconds)
            self._forget_later(node, 30.0)
        elif fault.kind == "pause_and_forget":
            process.stop_for(85.0 + fault.seconds, True)
            self._forget_later(node, 65.0)
        elif fault.kind == "kill_broker":
            process.broker.crash("killed (simulated)")
        elif fault.kind == "stop":
            process.agent.ask_stop()
            process.loop.wake()
            self.start_later(node, 12.0 + fault.seconds)
        elif fault.kind == "pause":
            process.stop_for(fault.seconds, fault.broker_too)
        elif fault.kind == "cut_from_redis":
            process.cut_from_redis = True
            self.kernel.after(fault.seconds, lambda: setattr(process, "cut_from_redis", False))
        elif fault.kind == "kill_at_call":
            self.start_later(node, 20.0)
            process.plan(process.calls + fault.calls, lambda: self._kill_here(process, fault.seconds))
        else:
            assert fault.kind == "pause_at_call", fault.kind
            process.plan(process.calls + fault.calls, lambda: process.stop_here(fault.seconds, fault.broker_too))

    def _forget_later(self, node: str, seconds: float) -> None:
        self.kernel.after(seconds, lambda: None if self.healing else self.operator.ask(OperationKind.FORGET, node))

    def before_long_act(self, process: SimProcess, name: str) -> None:
        """The same for what is done by a command."""
        fault = self._at_command
        if fault is None or self.healing or name not in AT_COMMAND:
            return
        self._at_command = None
        self.kernel.log(process.instance, f"{fault.kind} {name}")
        if fault.kind == "kill_at_command":
            self.kernel.after(self.random.uniform(0.1, 5.0), lambda: self._kill(process.node, fault.seconds))
        else:
            process.stop_for(fault.seconds + 10.0, fault.broker_too)

    def before_apply(self, process: SimProcess, action: StoreAction) -> None:
        """The place between decide and act: where a right may be gone by the time it is used."""
        fault = self._at_act
        if fault is None or self.healing or not isinstance(action, RIGHTS):
            return
        self._at_act = None
        self.kernel.log(process.instance, f"{fault.kind} {action}")
        if fault.kind == "kill_at_act":
            self._kill_here(process, fault.seconds)
        else:
            process.stop_here(fault.seconds + 10.0, fault.broker_too)

    def _kill_here(self, process: SimProcess, down_seconds: float) -> None:
        if not self.healing:
            self.start_later(process.node, down_seconds)
            process.kill_here()

    def heal(self) -> None:
        """The end of all faults; what is down comes up."""
        self.healing = True
        self.redis.slow_seconds = self.redis.loses_replies = self.api_trouble = 0.0
        self.state.available = True
        self._cut(frozenset())
        for twin in tuple(self.twins):
            self._end_twin(twin)
        for process in self.processes.values():
            process.go_on()
            process.cut_from_redis = False
        self._at_act = self._at_command = None
        self.operator.resume()
        self.operator.helps = self.random.random() < 0.5
        self.operator.attend()
        for node in self.names:
            self.start_later(node, self.random.uniform(0.0, 3.0))
