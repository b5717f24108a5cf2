"""Named questions of the one who looks after queues: are they whole, is everything quiet, may a wiped member go.

The steward does what needs a broker: the lease holder, or the master while a monitor without a broker holds the lease.
"""

from rmqcluster.core import evidence as e
from rmqcluster.core import queues as q
from rmqcluster.core.model import BrokerPhase, DiskKind, Observation, Operation
from rmqcluster.core.operations import KINDS

WAITS = "waits for"  # how a finding begins that needs no person
LOOK_SECONDS_MIN, LOOK_SECONDS_MAX = 2.0, 30.0
LOOK_AT_REST_SECONDS = 600.0  # what status shows of the queues is never older
FAILED_SECONDS, FAILED_SECONDS_MAX = 10.0, 300.0  # after a command that failed, and after many


def live_members(o: Observation) -> frozenset[str]:
    """Registered and beating."""
    return o.store.members & o.store.heartbeats.keys() if o.store is not None else frozenset()


def holds_lease(o: Observation) -> bool:
    return o.store is not None and o.store.lease is not None and o.store.lease.instance == o.instance


def is_steward(o: Observation) -> bool:
    """Am I the one who does what needs a broker?"""
    if o.store is None or o.store.lease is None or o.standalone:
        return False
    lent = o.view is not None and o.store.lease.node not in o.view.members and o.store.master == o.me
    return holds_lease(o) or lent


def usable(o: Observation) -> frozenset[str]:
    """Whose brokers take replicas and leaders: running as my broker sees it, and not in maintenance."""
    drained = {n for n, a in e.others(o).items() if a.drained} | ({o.me} if o.drained else set())
    drained |= o.queues.drained if o.queues is not None else frozenset()
    return o.view.running - drained if o.view is not None else frozenset()


def failed_lately(o: Observation) -> bool:
    """Did the last long act fail a short while ago? The more failed in a row, the longer the while."""
    pause = min(FAILED_SECONDS_MAX, FAILED_SECONDS * 2 ** max(0, min(o.failures, 10) - 1))
    return o.act_failed_at is not None and not e.waited(o, o.act_failed_at, pause)


def failed_just_now(o: Observation) -> bool:
    """What a person asked for is tried again after the shortest pause."""
    return o.act_failed_at is not None and not e.waited(o, o.act_failed_at, FAILED_SECONDS)


def is_current(o: Observation) -> bool:
    """Was the last look at the queues taken after the members last changed?"""
    return o.queues is not None and o.queues_at >= o.members_changed_at


def look_again_seconds(o: Observation) -> float:
    """How often to look while something is unfinished: soon after a change, and less and less."""
    return min(LOOK_SECONDS_MAX, max(LOOK_SECONDS_MIN, (o.now - o.members_changed_at) / 4))


def missing_replicas(o: Observation) -> int:
    return q.missing_count(o.queues, usable(o), o.policy.replicas) if o.queues is not None else 0


def caught_up(o: Observation) -> bool:
    return o.queues is not None and q.all_caught_up(o.queues, usable(o))


def is_whole(o: Observation) -> bool:
    """A current look found every queue with its replicas on the running members, and all of them caught up."""
    return is_current(o) and missing_replicas(o) == 0 and caught_up(o)


def rebalance_pending(o: Observation) -> bool:
    """The leaders are not spread, and were not spread since the members changed, or not for long.

    A restart that is over before anybody reads of it changes no member, but leaves its leaders elsewhere.
    """
    spread = o.queues is None or q.is_balanced(o.queues, usable(o))
    lately = not e.waited(o, o.rebalanced_at, LOOK_AT_REST_SECONDS)
    return not spread and (o.rebalanced_at < o.members_changed_at or not lately)


def is_unfinished(o: Observation) -> bool:
    """Is there anything that only another look can tell to be over? Leaders to be spread only wait for quiet."""
    joins = e.operation(o)
    joining = joins is not None and KINDS[joins.kind].joins
    return joining or not is_whole(o) or bool(wiped(o))


def is_quiet(o: Observation) -> bool:
    """The settle time has passed since members last changed, nobody is missed or on the way, and no alarm lasts."""
    alarms = o.view.alarms if o.view is not None else ()
    stopping = any(a.broker is BrokerPhase.STOPPING for a in e.others(o).values())
    drained = any(a.drained for a in e.others(o).values()) or o.drained
    settled = e.waited(o, o.members_changed_at, o.policy.settle_seconds)
    missed = o.view is not None and not live_members(o) <= o.view.running
    return not (alarms or stopping or drained or missed or not settled or e.somebody_on_the_way(o))


def arrived_subject(o: Observation) -> Operation | None:
    """The operation under way, if it is a join whose subject is a registered member and every queue is whole."""
    found = e.operation(o)
    if found is None or not KINDS[found.kind].joins or found.subject not in live_members(o):
        return None
    seen = o.view is not None and found.subject in o.view.running
    return found if seen and is_whole(o) else None


def wiped(o: Observation) -> list[str]:
    """Who announces a disk without its data, broker down and missed, while the cluster lists it or a replica on it.

    A blank disk that carries the intention to join this very cluster is a join that was cut short: without replicas
    it goes on by itself.
    """
    if o.view is None or o.store is None:
        return []
    found = []
    for node, a in e.others(o).items():
        if a.broker is not BrokerPhase.DOWN or not e.is_gone(o, node):
            continue
        named = o.queues is not None and bool(q.replicas_on(o.queues, node))
        lost = a.disk is DiskKind.AMNESIC or (a.disk is DiskKind.BLANK and a.cluster_id != o.disk.cluster_id)
        if (lost and node in o.view.members) or (named and a.disk in (DiskKind.AMNESIC, DiskKind.BLANK)):
            found.append(node)
    return sorted(found)


def obstacle(o: Observation, node: str) -> str:
    """Why a wiped member is not replaced now, in words; "" when nothing is in the way.

    What begins with `WAITS` passes by itself; everything else is for a person.
    """
    if o.queues is None or not is_current(o):
        return f"{WAITS} the monitor to look at its queues"
    if o.view is not None and node not in o.view.members:
        return _stray(o.queues, node)
    announced = e.others(o).get(node)
    here = announced.host if announced is not None else None
    before = dict(o.disk.marker.hosts).get(node) if o.disk.marker is not None else None
    if here is None or before is None:
        return "nobody knows on which host its good disk was (RMQCLUSTER_HOST_ID), it may return"
    if here != before:
        return f"its disk was last on {before} and may return; this is {here}"
    dying = q.dies_with(o.queues, node)
    if dying:
        return f"the empty directory may be a missing mount, and only its old disk holds {listed(dying)}"
    return endangered(o, node)


def _stray(report: q.QueueReport, node: str) -> str:
    """What keeps replicas of a forgotten node listed: growth takes them off where the queue has a leader."""
    listing = set(q.replicas_on(report, node))
    able = {queue.label for queue, stray in q.strays(report) if stray == node}
    if listing <= able:
        return f"{WAITS} its old replicas to be taken off"
    stuck = listed(tuple(sorted(listing - able)))
    return f"it was forgotten, but {stuck} still list it and have no leader: bring their members back, or delete them"


def endangered(o: Observation, node: str) -> str:
    """Which queues would lose their majority with `node`, or are not whole yet; "" when it can be forgotten."""
    if o.queues is None:
        return f"{WAITS} the monitor to look at its queues"
    hopeless = tuple(
        queue.label
        for queue in o.queues.queues
        if node in queue.members
        and len(queue.members) > 1
        and len((queue.members - {node}) & o.queues.running) <= len(queue.members) // 2
        and queue.members - {node} <= o.queues.running
    )
    if hopeless:
        return f"its old disk is needed for a majority of {listed(hopeless)}; mount it, or delete them first"
    critical = q.critical_without(o.queues, node)
    if critical:
        return f"{WAITS} other replicas of {listed(critical)} to be there and caught up"
    missing = missing_replicas(o)
    return f"{WAITS} {missing} replicas of other members to be grown" if missing else ""


def listed(names: tuple[str, ...], limit: int = 4) -> str:
    """The first few names, and how many more there are."""
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest
