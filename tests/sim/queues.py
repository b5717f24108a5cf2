"""The truth about queues: who votes, whose log has what, who leads, and what a client was told is safe.

A replica's log is the term of its last entry and its length, as in Raft. A leader is elected by a majority of the
voters, each of which agrees to any log that is not behind its own. A voter without its disk agrees to every log:
that is how a member that comes back empty under a listed name loses what was confirmed.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rmqcluster.core.queues import QueueFacts, QueueKind, QueueReport

if TYPE_CHECKING:
    from .brokers import Cluster, SimBroker
    from .world import World

Log = tuple[int, int]
EMPTY: Log = (0, 0)
REPLICATES = 0.8  # how likely a replica has an entry with the first round


@dataclass(eq=False, slots=True)
class SimQueue:
    name: str
    kind: QueueKind
    declared_target: int | None = None
    voters: set[str] = field(default_factory=set)
    leader: str | None = None
    term: int = 0
    confirmed: Log = EMPTY
    confirmed_before: Log = EMPTY  # one round earlier: who has that is caught up
    destroyed: bool = False  # the environment took the disk of its only replica

    @property
    def is_replicated(self) -> bool:
        return self.kind is not QueueKind.CLASSIC

    @property
    def majority(self) -> int:
        return len(self.voters) // 2 + 1

    def target(self, default: int) -> int:
        return default if self.declared_target is None else self.declared_target


class Queues:
    """All queues of a world; `tick` is one round of elections, publishing and catching up."""

    def __init__(self, world: "World") -> None:
        self._world = world

    # ---- what there is ----
    def declare(self, cluster: "Cluster", here: str) -> None:
        """The definitions: queues with replicas on the members that run, some with one copy only."""
        r, options = self._world.random, self._world.options
        up = sorted(b.name for b in self._members_up(cluster))
        wanted: list[tuple[str, QueueKind, int | None]] = [(f"q{i}", QueueKind.QUORUM, None) for i in range(4)]
        wanted += [("wide", QueueKind.QUORUM, 5)] if options.size > 3 else []
        wanted += [("solo", QueueKind.QUORUM, 1)] if options.solo_queue else []
        wanted += [("plain", QueueKind.CLASSIC, None)] if options.classic_queue else []
        for name, kind, target in wanted:
            count = 1 if kind is QueueKind.CLASSIC else (target or self._world.policy.replicas)
            first = r.choice(up) if count == 1 else here
            rest = sorted(set(up) - {first})
            voters = {first, *r.sample(rest, min(count - 1, len(rest)))}
            cluster.queues[name] = SimQueue(name, kind, target, voters, first)

    def log_of(self, cluster: "Cluster", queue: SimQueue, node: str) -> Log:
        db = cluster.members.get(node)
        return db.logs.get(queue.name, EMPTY) if db is not None else EMPTY

    def online(self, cluster: "Cluster", queue: SimQueue, asked_by: str) -> list[str]:
        """Voters whose replica runs, as seen from a node."""
        up = {b.name for b in self._members_up(cluster) if not b.drained and self._world.reachable(b.name, asked_by)}
        return sorted(queue.voters & up)

    def caught_up(self, cluster: "Cluster", queue: SimQueue, asked_by: str) -> list[str]:
        online = self.online(cluster, queue, asked_by)
        if queue.leader not in online:
            return []
        return [n for n in online if self.log_of(cluster, queue, n) >= queue.confirmed_before]

    def report(self, broker: "SimBroker") -> QueueReport:
        """What one look from this broker finds."""
        assert broker.disk.db is not None
        cluster, view = broker.disk.db.cluster, broker.view()
        drained = frozenset(b.name for b in self._members_up(cluster) if b.drained)
        facts = [self._facts(cluster, queue, broker.name) for queue in cluster.queues.values()]
        return QueueReport(tuple(facts), view.members, view.running, drained & view.running)

    def _facts(self, cluster: "Cluster", queue: SimQueue, asked_by: str) -> QueueFacts:
        if not queue.is_replicated:
            return QueueFacts("/", queue.name, queue.kind, True, queue.leader)
        online = self.online(cluster, queue, asked_by)
        return QueueFacts(
            "/",
            queue.name,
            queue.kind,
            leader=queue.leader if queue.leader in online else None,
            members=frozenset(queue.voters),
            online=frozenset(online),
            caught_up=frozenset(self.caught_up(cluster, queue, asked_by)),
            declared_target=queue.declared_target,
        )

    def critical_without(self, cluster: "Cluster", node: str, asked_by: str) -> list[str]:
        """What has no majority on other members that run and are caught up; by the truth, not by a report."""
        found = []
        for queue in cluster.queues.values():
            if queue.is_replicated and node in queue.voters and len(queue.voters) > 1:
                others = [n for n in self.caught_up(cluster, queue, asked_by) if n != node]
                if len(others) < queue.majority:
                    found.append(queue.name)
        up = [n for n in sorted(cluster.members) if n != node and self._world.ready_under(n, asked_by)]
        if node in cluster.members and len(cluster.members) > 1 and len(up) <= len(cluster.members) // 2:
            found.append("metadata")
        return found

    def only_on(self, cluster: "Cluster", node: str) -> list[str]:
        """Queues whose only copy is there."""
        return [q.name for q in cluster.queues.values() if q.voters == {node} and not q.destroyed]

    # ---- what happens ----
    def tick(self, cluster: "Cluster") -> None:
        for queue in cluster.queues.values():
            self._keep_leader(cluster, queue)
            if queue.leader is not None:
                self._publish(cluster, queue)

    def add(self, cluster: "Cluster", queue: SimQueue, node: str) -> bool:
        """A new voter: agreed on by a majority, which has everything before it then."""
        if queue.leader is None or not self._sync(cluster, queue):
            return False
        queue.voters.add(node)
        return True

    def remove(self, cluster: "Cluster", queue: SimQueue, node: str) -> bool:
        """A voter less; False while the queue has nobody to agree to it."""
        if queue.voters == {node}:
            del cluster.queues[queue.name]
            return True
        if queue.leader is None or queue.leader == node or not self._sync(cluster, queue):
            return False
        queue.voters.discard(node)
        return True

    def lead(self, cluster: "Cluster", queue: SimQueue, node: str) -> bool:
        """The leader moves to a replica that runs and has everything."""
        leader = queue.leader
        if leader is None or node not in self.online(cluster, queue, leader):
            return False
        if self.log_of(cluster, queue, node) < self.log_of(cluster, queue, leader):
            return False
        self._leads(cluster, queue, node)
        return True

    def _sync(self, cluster: "Cluster", queue: SimQueue) -> bool:
        """The leader's log on all that run; False when they are no majority."""
        assert queue.leader is not None
        online = self.online(cluster, queue, queue.leader)
        if queue.leader not in online or len(online) < queue.majority:
            return False
        log = self.log_of(cluster, queue, queue.leader)
        for node in online:
            self._write(cluster, queue, node, log)
        queue.confirmed = queue.confirmed_before = log
        return True

    def _members_up(self, cluster: "Cluster") -> list["SimBroker"]:
        return [b for b in self._world.brokers() if b.serves and cluster.members.get(b.name) is b.disk.db]

    def _write(self, cluster: "Cluster", queue: SimQueue, node: str, log: Log) -> None:
        db = cluster.members[node]
        assert db is not None, "only replicas that run are written"
        db.logs[queue.name] = log

    def _keep_leader(self, cluster: "Cluster", queue: SimQueue) -> None:
        if not queue.is_replicated:
            return
        if queue.leader is not None:
            online = self.online(cluster, queue, queue.leader)
            if queue.leader in online and len(online) >= queue.majority:
                return
            queue.leader = None
        for side in sorted(queue.voters):
            online = self.online(cluster, queue, side)
            if side in online and len(online) >= queue.majority:
                self._elect(cluster, queue, online)
                return

    def _elect(self, cluster: "Cluster", queue: SimQueue, online: list[str]) -> None:
        logs = {n: self.log_of(cluster, queue, n) for n in online}
        able = [n for n in online if sum(1 for v in online if logs[v] <= logs[n]) >= queue.majority]
        if able:
            chosen = self._world.random.choice(able)
            self._world.checker.queues.elected(queue, chosen, logs[chosen])
            self._leads(cluster, queue, chosen)

    def _leads(self, cluster: "Cluster", queue: SimQueue, node: str) -> None:
        """A new leader writes an entry of its own term, after which no older log wins against those that have it."""
        queue.term += 1
        queue.leader = node
        self._world.kernel.log("queues", f"{queue.name} led by {node}")

    def _publish(self, cluster: "Cluster", queue: SimQueue) -> None:
        leader, r = queue.leader, self._world.random
        assert leader is not None
        if not queue.is_replicated:
            if any(b.name == leader for b in self._members_up(cluster)):
                queue.confirmed = (0, queue.confirmed[1] + 1)
                self._write(cluster, queue, leader, queue.confirmed)
            return
        queue.confirmed_before = queue.confirmed
        before = self.log_of(cluster, queue, leader)
        log, have = (queue.term, before[1] + 1), 0
        for node in self.online(cluster, queue, leader):
            quick = node == leader or r.random() < REPLICATES
            if node == leader or self._world.replicates(node):
                self._write(cluster, queue, node, log if quick else before)
                have += quick
        if have >= queue.majority:
            queue.confirmed = log
