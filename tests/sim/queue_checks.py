"""Promises about queues: nothing confirmed is lost (S8), targets are kept, and at the end all is whole (L2)."""

from collections import Counter
from typing import TYPE_CHECKING

from .kernel import Violation
from .queues import Log, SimQueue

if TYPE_CHECKING:
    from .brokers import Cluster
    from .world import World


class QueueChecker:
    def __init__(self, world: "World") -> None:
        self.world = world

    def elected(self, queue: SimQueue, node: str, log: Log) -> None:
        if log < queue.confirmed and not queue.destroyed:
            lost = queue.confirmed[1] - log[1]
            raise Violation("S8", f"{node} leads {queue.name} without {lost} messages that were confirmed")

    def grown(self, queue: SimQueue, node: str) -> None:
        target = queue.target(self.world.policy.replicas)
        if len(queue.voters) > max(target, 1):
            raise Violation("S4", f"{queue.name} got a replica on {node}: {len(queue.voters)}, its target is {target}")

    def unsettled(self, cluster: "Cluster", running: set[str]) -> str:
        """Which queue is not at its target, or where leaders are not spread; empty when all is well."""
        for queue in cluster.queues.values():
            problem = self._unsettled(cluster, queue, running)
            if problem:
                return f"{queue.name}: {problem}"
        return self._unbalanced(cluster, running)

    def _unsettled(self, cluster: "Cluster", queue: SimQueue, running: set[str]) -> str:
        here = queue.voters & running
        if not here:
            gone = queue.destroyed or not queue.voters & cluster.members.keys() or queue.voters.isdisjoint(running)
            return "" if gone else "its only replica is nowhere"
        if not queue.is_replicated:
            return ""
        strays = queue.voters - cluster.members.keys()
        if strays:
            return f"replicas are listed on {sorted(strays)}, no members any more"
        wanted = min(queue.target(self.world.policy.replicas), len(running))
        held = len(queue.voters - running)  # on members that wait for a person
        if len(here) + held < wanted:
            return f"replicas on {sorted(here)}, {wanted} are wanted"
        if queue.leader is None:
            return "" if len(here) < queue.majority else "no leader"
        if self.world.queues.log_of(cluster, queue, queue.leader) < queue.confirmed and not queue.destroyed:
            raise Violation("S8", f"{queue.name}: the leader lacks confirmed messages")
        return ""

    def _unbalanced(self, cluster: "Cluster", running: set[str]) -> str:
        """Is there one move of a leader that makes the numbers more even?"""
        quorum = [q for q in cluster.queues.values() if q.is_replicated]
        counts = Counter(q.leader for q in quorum)
        for queue in quorum:
            for node in sorted(queue.voters & running):
                if queue.leader is not None and counts[node] + 1 < counts[queue.leader]:
                    return f"{queue.name}: leaders are {dict(sorted(counts.items(), key=str))}"
        return ""
