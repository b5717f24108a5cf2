"""The promises, watched from outside of the code under test, with a history of their own."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmqcluster.agent.ports import Boot
from rmqcluster.agent.published import Published
from rmqcluster.core.actions import CommitFounding, RemoveMember, RestoreRecord, SetMaster, StoreAction, TakeLease
from rmqcluster.core.model import BrokerPhase, DiskKind, Lease, Marker, Purpose, Record, Stage

from .brokers import Cluster
from .kernel import Violation
from .operation_checks import ActChecker
from .queue_checks import QueueChecker

if TYPE_CHECKING:
    from .process import SimProcess
    from .world import World

START_PATIENCE_SECONDS = 75.0  # how long a node with data may be down: backoff, and a name that was in use
SEEN_RUNNING_SECONDS = 12.0  # a broker that was seen for so long is no news to anybody


@dataclass(slots=True)
class Before:
    record: Record | None
    lease: Lease | None


class Checker:
    def __init__(self, world: "World") -> None:
        self.world = world
        self.committed: list[str] = []  # ids, in the order of their commits
        self._down_since: dict[str, float] = {}
        self.acts = ActChecker(world)
        self.queues = QueueChecker(world)

    # ---- store ----
    def before_apply(self) -> Before:
        return Before(self.world.state.record, self.world.state.live_lease())

    def applied(self, process: "SimProcess", action: StoreAction, done: bool, before: Before) -> None:
        self.world.kernel.log(process.instance, f"store {action} -> {done}")
        if not done:
            return
        if isinstance(action, CommitFounding):
            self._commits(action.cluster_id, before)
        elif isinstance(action, RestoreRecord):
            self._restores(action.cluster_id, before)
        elif isinstance(action, TakeLease):
            self._takes_lease(process)
        elif isinstance(action, RemoveMember | SetMaster):
            self._fenced(process, action.epoch, before)
            if isinstance(action, RemoveMember):
                self._removes(process, action.node)

    def flushed(self) -> None:
        """Redis forgot; the checker does not."""
        self.acts.flushed()

    def _commits(self, cluster_id: str, before: Before) -> None:
        if before.record is not None and before.record.cluster_id != cluster_id:
            raise Violation("S1", f"{cluster_id[:8]} was committed over {before.record.cluster_id[:8]}")
        served = [c for c in self.world.clusters if c.stamp and c.founding_id != cluster_id]
        if served:
            raise Violation("S1", f"{cluster_id[:8]} was committed beside {served[0].founding_id}, which has clients")
        self.committed.append(cluster_id)

    def _restores(self, cluster_id: str, before: Before) -> None:
        if before.record is None or before.record.cluster_id == cluster_id:
            return
        carriers = sum(1 for d in self.world.disks.values() if d.marker and d.marker.cluster_id == cluster_id)
        if carriers < self.world.policy.majority:
            raise Violation(
                "S1", f"record {before.record.cluster_id[:8]} overwritten by {cluster_id[:8]} of {carriers} disks"
            )

    def _takes_lease(self, process: "SimProcess") -> None:
        lease = self.world.state.live_lease()
        assert lease is not None
        heard = self.world.state.live_announcements()
        known = max([a.epoch_high for a in heard.values()] + [self.world.disks[process.node].epoch], default=0)
        if lease.epoch <= known:
            raise Violation("S12", f"{process.instance} got epoch {lease.epoch}, members know {known}")
        if not self._sees_majority(process):
            self.world.kernel.log(process.instance, "took the lease on a minority side")

    def _fenced(self, process: "SimProcess", epoch: int, before: Before) -> None:
        if before.lease is None or (before.lease.instance, before.lease.epoch) != (process.instance, epoch):
            raise Violation("S12", f"{process.instance} wrote under epoch {epoch}, the lease is {before.lease}")
        if epoch > max(process.disk.epoch, process.disk.marker.epoch if process.disk.marker else 0):
            raise Violation("S12", f"{process.instance} wrote under epoch {epoch} without having it on its disk")

    def _removes(self, process: "SimProcess", node: str) -> None:
        broker = next((b for b in self.world.brokers() if b.name == node and b.phase is BrokerPhase.READY), None)
        if broker is None or broker.disk.db is None or not broker.disk.db.is_member:
            return
        now = self.world.kernel.now
        known_for = now - max(broker.ready_at, process.paused_last, self.world.cut_at)
        seers = [b for b in self.world.brokers() if b.phase is BrokerPhase.READY and node in b.view().running]
        seen = len(seers) > len(broker.disk.db.cluster.members) // 2
        if seen and known_for > SEEN_RUNNING_SECONDS:
            raise Violation("S7", f"{process.instance} removed {node}, whose broker a majority sees running")

    def _sees_majority(self, process: "SimProcess") -> bool:
        broker = process.broker
        return broker.phase is BrokerPhase.READY and broker.disk.db is not None and broker.view().sees_majority()

    # ---- disks and brokers ----
    def destroys(self, process: "SimProcess", how: str) -> None:
        disk = process.disk
        if disk.marker is not None and disk.marker.stage is Stage.MEMBER and disk.db is not None:
            raise Violation("S2", f"{how} on the member data of {process.instance}")
        if disk.db is not None and disk.db.holds:
            raise Violation("S2", f"{how} of {process.instance} destroys {disk.db.holds} confirmed messages")

    def marks(self, process: "SimProcess", marker: Marker) -> None:
        old = process.disk.marker
        if old is None or old.stage is not Stage.MEMBER:
            if marker.stage is Stage.MEMBER:
                self._becomes_member(process, marker)
            return
        lost = process.disk.db is None  # nothing is behind the old marker any more
        if (marker.cluster_id, marker.stage) != (old.cluster_id, old.stage) and not lost:
            raise Violation("S2", f"the member marker of {process.instance} was replaced by {marker}")
        if marker.epoch < old.epoch:
            raise Violation("S12", f"the epoch on the disk of {process.instance} sank to {marker.epoch}")

    def _becomes_member(self, process: "SimProcess", marker: Marker) -> None:
        db = process.disk.db
        process.disk.wiped, process.disk.sole = False, ()
        process.disk.good_host = process.host
        if db is None or db.cluster.founding_id != marker.cluster_id:
            raise Violation("S1", f"{process.instance} calls itself a member of {marker.cluster_id[:8]}, but is not")
        if marker.cluster_id not in self.committed:
            raise Violation("S1", f"{process.instance} is a member of {marker.cluster_id[:8]}, never committed")

    def broker_starts(self, process: "SimProcess", boot: Boot) -> None:
        disk = process.disk
        if boot.purpose is Purpose.DATA and disk.db is None:
            raise Violation("S11", f"{process.instance} boots a blank disk as if it had data: it would stand alone")
        if boot.purpose is not Purpose.DATA and disk.db is not None:
            raise Violation("S2", f"{process.instance} boots to {boot.purpose} over data")
        if boot.purpose is Purpose.JOIN and boot.target in (None, process.node):
            raise Violation("S1", f"{process.instance} joins {boot.target}")

    def broker_ends(self, process: "SimProcess", how: str) -> None:
        """A broker with member data ends only when asked, or at its boot when the others' disks say otherwise."""
        marker, db = process.disk.marker, process.disk.db
        asked = process.agent.memory.stop_asked_at is not None
        if marker is None or marker.stage is not Stage.MEMBER or db is None or asked:
            return
        said = [d.marker for d in self.world.disks.values() if d.marker and d.marker.stage is Stage.MEMBER]
        elsewhere = sum(1 for m in said if m.cluster_id != marker.cluster_id) >= self.world.policy.majority
        booting = process.broker.phase is BrokerPhase.STARTING
        if not (how == "stop" and (not db.is_member or (booting and elsewhere))):
            raise Violation("S3", f"{how} of the broker of {process.instance}, a member with data")

    def joins(self, process: "SimProcess", cluster: Cluster) -> None:
        """A name whose member data was lost must be forgotten before it may come back as a stranger."""
        old = cluster.members.get(process.node)
        lost = old is not None and old.holds and old is not process.disk.db
        if lost and self.world.plant.watches_joins:
            raise Violation("S4", f"{process.instance} joins under a name whose old disk held confirmed messages")

    def provisions(self, process: "SimProcess", cluster: Cluster, cluster_id: str) -> None:
        marker = process.disk.marker
        if marker is None or marker.stage is not Stage.MEMBER or marker.cluster_id != cluster_id:
            raise Violation("S11", f"{process.instance} provisions {cluster_id[:8]} without being its member")
        if cluster_id not in self.committed or cluster.founding_id != cluster_id:
            raise Violation("S11", f"{process.instance} provisions {cluster_id[:8]}, which is not committed")
        others = [c for c in self.world.clusters if c.stamp and c is not cluster]
        if others:
            raise Violation("S1", f"a second cluster gets accounts: {cluster_id[:8]} beside {others[0].founding_id}")

    def confirmed(self, cluster: Cluster) -> None:
        others = [c for c in self.world.clusters if c.served and c is not cluster]
        if others:
            raise Violation("S1", f"two clusters confirm messages: {cluster.founding_id} and {others[0].founding_id}")

    # ---- decisions ----
    def says(self, process: "SimProcess", text: str) -> None:
        if not text.strip():
            raise Violation("S10", f"{process.instance} said nothing")

    def decided(self, process: "SimProcess", published: Published) -> None:
        decision = published.decision
        if not decision.reason or not decision.state:
            raise Violation("S10", f"{process.instance}: rule {decision.rule} gives no reason or state")
        if decision.held is not None and "DO: " not in decision.held:
            raise Violation("S10", f"{process.instance}: held without one thing to do: {decision.held}")
        self._starts_in_time(process, published)

    def _starts_in_time(self, process: "SimProcess", published: Published) -> None:
        """A node with data starts, whatever Redis does."""
        o, decision = published.observation, published.decision
        down = o.broker.phase is BrokerPhase.DOWN and o.disk.kind is DiskKind.DATA
        if not down or decision.held or o.stop_asked_at is not None or o.broker.exits:
            self._down_since.pop(process.instance, None)
            return
        since = self._down_since.setdefault(process.instance, self.world.kernel.now)
        if self.world.kernel.now - max(since, process.paused_last) > START_PATIENCE_SECONDS:
            raise Violation("S3", f"{process.instance} has data and does not start its broker: {decision.reason}")

    # ---- the end ----
    def missing(self) -> str:
        """Why the world has not converged yet; empty when it has."""
        held = {n for n in self.world.names if self._justly_held(n)}
        clusters = [c for c in self.world.clusters if c.stamp]
        if len(clusters) != 1:
            return f"{len(clusters)} clusters have accounts"
        cluster, state = clusters[0], self.world.state
        wanted = {n for n in self.world.names if n not in held}
        for node in sorted(wanted):
            problem = self._unsettled(node, cluster)
            if problem:
                return f"{node}: {problem}"
        if state.members != wanted:
            return f"members are {sorted(state.members)}, not {sorted(wanted)}"
        beating = {n for n in state.heartbeats if state.has_heartbeat(n)}
        if beating != wanted:
            return f"heartbeats are {sorted(beating)}, not {sorted(wanted)}"
        if state.master not in wanted:
            return f"master is {state.master}"
        if state.record is None or state.record.cluster_id != cluster.founding_id:
            return f"the record is {state.record}, the cluster {cluster.founding_id}"
        if state.live_operation() is not None:
            return f"an operation is under way: {state.live_operation()}"
        return self.queues.unsettled(cluster, wanted)

    def _unsettled(self, node: str, cluster: Cluster) -> str:
        process = self.world.processes.get(node)
        if process is None or process.dead:
            return "its supervisor is not running"
        if process.broker.phase is not BrokerPhase.READY:
            said = process.agent.published
            return f"its broker is {process.broker.phase}: {said.decision.reason if said else 'no decision yet'}"
        db, marker = process.disk.db, process.disk.marker
        if db is None or db.cluster is not cluster or not db.is_member:
            return "its broker is not in the cluster"
        if marker is None or marker.stage is not Stage.MEMBER:
            return f"its marker says {marker}"
        return ""

    def _justly_held(self, node: str) -> bool:
        """Only who really lost a member's disk may stay held, and must say so.

        The volume of a name that another volume bore in the cluster waits for a cluster that is gone.
        """
        process = self.world.processes.get(node)
        said = process.agent.published if process is not None and not process.dead else None
        if said is None or process is None:
            return False
        rule, held, disk = said.decision.rule, said.decision.held, self.world.disks[node]
        if node in self.world.twinned and rule == 610:
            return said.observation.disk.kind is DiskKind.UNCOMMITTED
        if held is None or self.world.operator.helps:
            return held is not None and node in self.world.twinned
        if rule in (240, 250, 255):
            told = [dict(d.marker.hosts) for n, d in self.world.disks.items() if n != node and d.marker]
            moved = any(hosts.get(node) != self.world.hosts[node] for hosts in told)
            return node in self.world.twinned or (disk.wiped and (moved or bool(disk.sole)))
        forgotten = disk.db is not None and not disk.db.is_member
        return forgotten and rule in (270, 644) and process.broker.phase is BrokerPhase.DOWN
