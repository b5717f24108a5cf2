"""Queues and their replicas as one look found them, and the questions that decisions ask of them. Pure.

A *replica* is a voter of a quorum queue or a replica of a stream; a classic queue lives on one node alone. The
*target* of a queue is how many replicas it should have: its own declared number, else the default. A queue that
RabbitMQ reconciles itself (its own target for continuous membership reconciliation) is never due here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

METADATA_STORE = "the metadata store"


class QueueKind(StrEnum):
    QUORUM = "quorum"
    STREAM = "stream"
    CLASSIC = "classic"


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """One queue. `online` and `caught_up` are members as well; a node that could not be asked is in neither."""

    vhost: str
    name: str
    kind: QueueKind
    durable: bool = True
    leader: str | None = None  # of a classic queue: the node it lives on, up or down
    members: frozenset[str] = frozenset()
    online: frozenset[str] = frozenset()  # members whose replica runs
    caught_up: frozenset[str] = frozenset()  # members that have reached what the leader had committed before
    declared_target: int | None = None  # x-quorum-initial-group-size, x-initial-cluster-size
    reconciled: bool = False  # RabbitMQ grows it itself

    @property
    def label(self) -> str:
        """`/fog tasks`."""
        return f"{self.vhost} {self.name}"

    @property
    def is_replicated(self) -> bool:
        return self.kind is not QueueKind.CLASSIC


@dataclass(frozen=True, slots=True)
class QueueReport:
    """All queues but exclusive ones, and whom the broker that was asked lists and sees running."""

    queues: tuple[QueueFacts, ...] = ()
    members: frozenset[str] = frozenset()
    running: frozenset[str] = frozenset()
    drained: frozenset[str] = frozenset()  # in maintenance: they take no leader and no new replica


@dataclass(frozen=True, slots=True)
class Growth:
    """Replicas that are due on one node, in one virtual host."""

    kind: QueueKind
    node: str
    vhost: str
    names: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Move:
    """A leader that is to move."""

    vhost: str
    name: str
    source: str
    to: str


def target(queue: QueueFacts, default: int = 3) -> int:
    """How many replicas it should have; a queue without replicas has none to get."""
    if not queue.is_replicated:
        return 1
    if queue.reconciled:
        return max(1, len(queue.members))
    return queue.declared_target if queue.declared_target is not None else default


def missing(report: QueueReport, running: frozenset[str], default: int = 3) -> tuple[Growth, ...]:
    """Replicas that are due on `running` nodes and can be added now, spread over the nodes; always in one order.

    A queue without a leader can take none. A replica on a node that is no member of the cluster counts for nothing.
    """
    candidates = running & report.members
    load = Counter(node for queue in report.queues for node in queue.members)
    due: dict[tuple[QueueKind, str, str], set[str]] = {}
    for queue in sorted(report.queues, key=_order):
        if not queue.is_replicated or queue.reconciled or queue.leader is None:
            continue
        lacking = target(queue, default) - len(queue.members & report.members)
        for node in sorted(candidates - queue.members, key=lambda n: (load[n], n))[: max(0, lacking)]:
            due.setdefault((queue.kind, node, queue.vhost), set()).add(queue.name)
            load[node] += 1
    return tuple(Growth(kind, node, vhost, frozenset(names)) for (kind, node, vhost), names in sorted(due.items()))


def strays(report: QueueReport) -> tuple[tuple[QueueFacts, str], ...]:
    """Replicas on nodes that are no members of the cluster any more: what an interrupted forget leaves.

    Without a leader a queue can let none go.
    """
    able = (q for q in sorted(report.queues, key=_order) if q.is_replicated and q.leader is not None)
    return tuple((q, node) for q in able for node in sorted(q.members - report.members))


def missing_count(report: QueueReport, running: frozenset[str], default: int = 3) -> int:
    """How many replicas are to be added, or to be taken from nodes that are no members."""
    return sum(len(growth.names) for growth in missing(report, running, default)) + len(strays(report))


def replicas_on(report: QueueReport, node: str) -> tuple[str, ...]:
    """The queues and streams that list a replica on `node`, a member or not."""
    return tuple(q.label for q in sorted(report.queues, key=_order) if q.is_replicated and node in q.members)


def leaders(report: QueueReport) -> Mapping[str, int]:
    """Running node -> how many quorum queues it leads."""
    counts = Counter(q.leader for q in report.queues if q.kind is QueueKind.QUORUM and q.leader in report.running)
    return {node: counts[node] for node in sorted(report.running)}


def rebalance_moves(report: QueueReport, running: frozenset[str]) -> tuple[Move, ...]:
    """Moves of quorum queues' leaders that make their numbers on `running` nodes more even; () when none does.

    A leader moves only to a caught-up replica on a running node, so a queue with one replica stays where it is and
    does not make its node's load look movable.
    """
    counts = Counter(q.leader for q in report.queues if q.kind is QueueKind.QUORUM)
    at = {q: q.leader for q in sorted(report.queues, key=_order) if q.kind is QueueKind.QUORUM and q.leader}
    changed = True
    while changed:  # each move makes the sum of squares smaller, so this ends
        changed = False
        for queue, source in at.items():
            choice = min(queue.caught_up & running - {source}, key=lambda n: (counts[n], n), default=None)
            if choice is not None and (source not in running or counts[choice] + 1 < counts[source]):
                counts[source] -= 1
                counts[choice] += 1
                at[queue] = choice
                changed = True
    return tuple(Move(q.vhost, q.name, str(q.leader), to) for q, to in at.items() if to != q.leader)


def is_balanced(report: QueueReport, running: frozenset[str]) -> bool:
    """Would no move of a leader make their numbers more even?"""
    return not rebalance_moves(report, running)


def departing_moves(report: QueueReport, node: str) -> tuple[Move, ...]:
    """Moves that take every quorum queue's leader off `node` that has somewhere to go, spread over the others."""
    counts = Counter(q.leader for q in report.queues if q.kind is QueueKind.QUORUM)
    moves = []
    for queue in sorted(report.queues, key=_order):
        heirs = queue.caught_up & report.running - {node}
        if queue.kind is QueueKind.QUORUM and queue.leader == node and heirs:
            to = min(heirs, key=lambda n: (counts[n], n))
            counts[to] += 1
            moves.append(Move(queue.vhost, queue.name, node, to))
    return tuple(moves)


def all_caught_up(report: QueueReport, running: frozenset[str]) -> bool:
    """Has every queue a leader, and has every replica on a running member caught up with it?

    A queue with no majority of its replicas on running members waits for nobody who is here, so it is left out.
    """
    able = [q for q in report.queues if q.is_replicated and len(q.members & running) > len(q.members) // 2]
    return all(q.leader is not None and q.members & running <= q.caught_up for q in able)


def critical_without(report: QueueReport, node: str, *, in_the_end: bool = False) -> tuple[str, ...]:
    """What would have no majority of its voters on other, caught-up members if `node` went away.

    `in_the_end`: what would have none even when every replica on a running member had caught up.
    A queue whose only replica is on `node` is not among them: waiting helps it nothing (`dies_with` names it).
    """
    found = [q.label for q in sorted(report.queues, key=_order) if _needs(q, report, node, in_the_end)]
    left = report.running & report.members - {node}
    if len(report.members) > 1 and node in report.members and len(left) <= len(report.members) // 2:
        found.append(METADATA_STORE)
    return tuple(found)


def dies_with(report: QueueReport, node: str) -> tuple[str, ...]:
    """What is lost if the disk of `node` is: durable classic queues on it, and sole replicas."""
    return tuple(
        queue.label
        for queue in sorted(report.queues, key=_order)
        if (queue.members == {node} if queue.is_replicated else queue.durable and queue.leader == node)
    )


def short(report: QueueReport, default: int = 3) -> tuple[QueueFacts, ...]:
    """Queues with fewer running replicas than they should have on the members that there are."""
    return tuple(q for q in report.queues if q.is_replicated and len(q.online) < _wanted(q, report, default))


def leaderless(report: QueueReport) -> tuple[QueueFacts, ...]:
    return tuple(q for q in report.queues if q.is_replicated and q.leader is None)


def facts_in_words(report: QueueReport, default: int = 3) -> tuple[str, ...]:
    """What an operator has to know of the queues, the worst first; () when there is nothing to tell."""
    lost = len(leaderless(report))
    by_state = Counter((len(q.online), _wanted(q, report, default)) for q in short(report, default))
    words = [f"{_many(n, 'queue')} at {have}/{want} replicas" for (have, want), n in sorted(by_state.items())]
    if words or lost:
        words[:1] = [f"{words[0] if words else 'all replicas are there'}, {lost} leaderless"]
    stuck = [q.label for q in leaderless(report) if len(q.members & report.running) > len(q.members) // 2]
    if stuck:
        words.append(f"no leader though a majority of their members runs: {_listed(stuck)}")
    for node in sorted({q.leader for q in _down(report) if q.leader is not None}):
        labels = [q.label for q in _down(report) if q.leader == node]
        words.append(f"{_many(len(labels), 'classic queue')} DOWN with {node}: {_listed(labels)}")
    gone = strays(report)
    if gone:
        nodes = ", ".join(sorted({node for _, node in gone}))
        words.append(f"{_many(len(gone), 'replica')} still listed on {nodes}, no member any more")
    single = [
        q.label
        for q in sorted(report.queues, key=_order)
        if q.is_replicated and max(target(q, default), len(q.members)) == 1
    ]
    if single:
        words.append(f"{_many(len(single), 'single-replica queue')}: {_listed(single)}")
    return tuple(words)


def _order(queue: QueueFacts) -> tuple[str, str]:
    return queue.vhost, queue.name


def _needs(queue: QueueFacts, report: QueueReport, node: str, in_the_end: bool) -> bool:
    if not queue.is_replicated or node not in queue.members or len(queue.members) == 1:
        return False
    there = queue.members - report.drained if in_the_end else queue.online & queue.caught_up
    return len(there & report.running - {node}) <= len(queue.members) // 2


def _wanted(queue: QueueFacts, report: QueueReport, default: int) -> int:
    """Its target, as far as there are members to carry replicas; what it has already is never too much."""
    return max(min(target(queue, default), len(report.members)), len(queue.members))


def _down(report: QueueReport) -> list[QueueFacts]:
    """Durable classic queues on nodes that do not run."""
    classic = [q for q in report.queues if not q.is_replicated and q.durable and q.leader not in report.running]
    return sorted(classic, key=_order)


def _many(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")


def _listed(labels: Iterable[str], limit: int = 4) -> str:
    """`/fog audit, mail, tmp`: a virtual host is named where it changes."""
    words, before, all_labels = [], None, list(labels)
    for label in all_labels[:limit]:
        vhost, _, name = label.partition(" ")
        words.append(name if vhost == before else label)
        before = vhost
    rest = f" and {len(all_labels) - limit} more" if len(all_labels) > limit else ""
    return ", ".join(words) + rest
