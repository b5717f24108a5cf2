"""The named conditions of the monitor rules: one question about an observation each."""

from rmqcluster.core import evidence as e
from rmqcluster.core import upkeep as u
from rmqcluster.core.model import BrokerPhase, DiskKind, Observation, OperationKind, StoreView
from rmqcluster.core.operations import KINDS

PROVISION_AGAIN_SECONDS = 20.0  # after one that failed
JOINER_PATIENCE_SECONDS = 60.0  # how long provisioning waits for members that are visibly on their way


def store(o: Observation) -> StoreView:
    assert o.store is not None, "guarded by cannot_act"
    return o.store


def cannot_act(o: Observation) -> bool:
    """Not proven, not registered, on a minority side, or too few re-registered to rule on anything."""
    if o.store is None or o.view is None or not o.view.sees_majority():
        return True
    if len(u.live_members(o)) < e.alive_needed(o):
        return True
    if o.standalone:
        return not _majority_answers(o) or o.store.record is None
    return not e.registers(o) or o.me not in o.store.members or e.is_mutual(o) is not True


def _majority_answers(o: Observation) -> bool:
    """A monitor without a broker stands where most members' brokers answer it, each of which sees a majority."""
    members = o.view.members if o.view is not None else frozenset()
    answered = {n for n, v in o.peer_views.items() if n in members and v.sees_majority()}
    return len(answered) >= e.majority_of(max(o.policy.size, len(members)))


def lease_is_mine(o: Observation) -> bool:
    return u.holds_lease(o)


def not_in_charge(o: Observation) -> bool:
    """Another holds the lease, and nothing of it is mine to do."""
    return o.store is not None and o.store.lease is not None and not u.holds_lease(o) and not u.is_steward(o)


def steward(o: Observation) -> bool:
    return u.is_steward(o)


def paused(o: Observation) -> bool:
    return o.store is not None and o.store.paused is not None


def lease_free(o: Observation) -> bool:
    return o.store is not None and o.store.lease is None


def failover_asked(o: Observation) -> bool:
    found = e.operation(o)
    return found is not None and found.kind is OperationKind.FAILOVER and found.id not in o.handled


def operation_to_perform(o: Observation) -> bool:
    """An operation of the cluster that nobody else has begun, nor I since I started."""
    found = e.operation(o)
    if found is None or KINDS[found.kind].by_subject or found.kind is OperationKind.FAILOVER or found.ready:
        return False
    idle = o.busy is None and not u.failed_just_now(o)
    return found.executor in ("", o.me) and found.id not in o.handled and idle


def left_undone(o: Observation) -> bool:
    """I began it for the cluster, before a restart or before the lease moved, and am not the one to go on with it."""
    found = e.operation(o)
    if found is None or KINDS[found.kind].by_subject or found.ready or found.executor != o.me:
        return False
    return o.busy is None and found.id not in o.handled and not u.is_steward(o)


def executor_is_gone(o: Observation) -> bool:
    """Somebody else began it for the cluster, and neither Redis nor the brokers see that member any more."""
    found = e.operation(o)
    if found is None or KINDS[found.kind].by_subject or found.ready or found.executor in ("", o.me):
        return False
    return e.store_is_steady(o) and found.executor not in u.live_members(o) and e.is_gone(o, found.executor)


def joiner_is_listed(o: Observation) -> bool:
    """Who joins is down with a blank disk, and the last look found replicas on it: it would vote for them."""
    found = e.operation(o)
    joins = found is not None and found.kind in (OperationKind.JOIN, OperationKind.REJOIN)
    due = joins and found is not None and not found.ready  # one that was let in boots by now, whatever is still read
    return found is not None and due and e.store_is_steady(o) and found.subject in u.wiped(o)


def joiner_to_admit(o: Observation) -> bool:
    """Somebody asks to join under a name of which nobody has read yet whether a queue still lists it."""
    found = e.operation(o)
    asks = found is not None and found.kind in (OperationKind.JOIN, OperationKind.REJOIN) and not found.ready
    idle = o.busy is None and not u.failed_just_now(o)
    return found is not None and asks and found.id not in o.handled and idle


def join_under_way(o: Observation) -> bool:
    found = e.operation(o)
    return found is not None and KINDS[found.kind].joins


def joiner_lacks_replicas(o: Observation) -> bool:
    """The subject of a join is a running member, and the last look found replicas that are due."""
    found = e.operation(o)
    subject = found.subject if found is not None and join_under_way(o) else None
    arrived = o.view is not None and subject in u.live_members(o) & o.view.running
    return arrived and o.busy is None and replicas_missing(o)


def join_is_complete(o: Observation) -> bool:
    return u.arrived_subject(o) is not None


def record_contradicts(o: Observation) -> bool:
    """The record is gone, or names another cluster than the one whose majority I am mutual with."""
    record = store(o).record
    return record is None or record.cluster_id != o.disk.cluster_id


def epoch_not_on_disk(o: Observation) -> bool:
    lease = store(o).lease
    return lease is not None and u.holds_lease(o) and lease.epoch > o.disk.epoch_high


def silent(o: Observation) -> list[str]:
    """Registered members without a heartbeat."""
    return sorted(n for n in store(o).members if n not in store(o).heartbeats and n != o.me)


def all_silent_at_once(o: Observation) -> bool:
    rest = [n for n in store(o).members if n != o.me]
    return len(rest) > 1 and len(silent(o)) == len(rest) and not e.stands_alone_by_right(o)


def somebody_gone(o: Observation) -> bool:
    return e.store_is_steady(o) and any(e.is_gone(o, node) for node in silent(o))


def somebody_to_mark(o: Observation) -> bool:
    return e.store_is_steady(o) and any(n not in o.marked and not e.is_gone(o, n) for n in silent(o))


def candidates(o: Observation) -> list[str]:
    """Whom the others may join through: registered, beating, mutual, its broker running as my broker sees it."""
    seen = store(o)
    found = []
    for node in seen.members & seen.heartbeats.keys():
        a = seen.announcements.get(node)
        proven = node == o.me or (a is not None and a.mutual is True and a.broker is BrokerPhase.READY)
        if proven and o.view is not None and node in u.usable(o):
            found.append(node)
    return sorted(found)


def missed_by_all(o: Observation, node: str) -> bool:
    """Have all peers' brokers missed `node` for a beat? Then nobody can join through it, heartbeat or not."""
    since = o.missed_since.get(node)
    if since is None or node == o.me or not e.waited(o, since, o.policy.heartbeat_seconds):
        return False
    said = e.running_by(o, node)
    heard = u.live_members(o) - {node}
    return len(heard) >= e.alive_needed(o) and heard <= said.keys() and not any(said[n] for n in heard)


def master_vacant(o: Observation) -> bool:
    """Nobody is named, or somebody who is no registered member, is in maintenance, or whose broker is not there."""
    seen, named = store(o), store(o).master
    said = seen.announcements.get(named or "")
    down = said is not None and (said.broker is BrokerPhase.DOWN or said.drained)
    vacant = named is None or named not in seen.members or down or missed_by_all(o, named)
    return vacant and bool(candidates(o))


def must_provision(o: Observation) -> bool:
    """The broker carries another stamp than configured."""
    if o.busy is not None or o.wanted_stamp is None or o.broker.stamp is None:
        return False
    if o.provision_failed_at is not None and not e.waited(o, o.provision_failed_at, PROVISION_AGAIN_SECONDS):
        return False
    return o.broker.stamp != o.wanted_stamp


def look_due(o: Observation) -> bool:
    """The queues were not looked at since the members changed, or something was unfinished then."""
    empty = o.wanted_stamp is not None and not o.broker.stamp
    return not empty and look_at_joiner_due(o)


def look_at_joiner_due(o: Observation) -> bool:
    """A join is looked at also before anything was provisioned: provisioning may wait for its end."""
    if o.busy is not None or u.failed_lately(o):
        return False
    again = u.look_again_seconds(o) if u.is_unfinished(o) else u.LOOK_AT_REST_SECONDS
    return not u.is_current(o) or e.waited(o, o.queues_at, again)


def no_operation(o: Observation) -> bool:
    return o.store is not None and o.store.operation is None and o.busy is None


def somebody_to_replace(o: Observation) -> bool:
    """A wiped member, and nothing in the way; Redis has been heard long enough to be believed."""
    return e.store_is_steady(o) and not u.failed_lately(o) and any(not u.obstacle(o, n) for n in u.wiped(o))


def replicas_missing(o: Observation) -> bool:
    alarms = o.view.alarms if o.view is not None else ()
    due = u.is_current(o) and u.missing_replicas(o) > 0
    return due and not alarms and not u.failed_lately(o)


def leaders_to_spread(o: Observation) -> bool:
    return u.is_whole(o) and u.rebalance_pending(o) and u.is_quiet(o) and not u.failed_lately(o)


def configured_unlike(o: Observation) -> list[str]:
    """Live members with other accounts, passwords or definitions than mine."""
    live = {n: a for n, a in e.others(o).items() if a.disk is DiskKind.DATA}
    return sorted(n for n, a in live.items() if a.wanted != o.wanted_stamp)


def somebody_unlike(o: Observation) -> bool:
    return bool(configured_unlike(o))


def all_alike(o: Observation) -> bool:
    return not configured_unlike(o)


def all_are_here(o: Observation) -> bool:
    """All expected members are registered, or those that are missing are not on their way."""
    count = len(store(o).members)
    if count >= o.policy.size or o.lease_since is None:
        return count >= o.policy.size
    unfinished = (DiskKind.BLANK, DiskKind.UNCOMMITTED)
    coming = any(a.disk in unfinished and a.held is None for a in e.others(o).values())
    patience = JOINER_PATIENCE_SECONDS if coming else o.policy.settle_seconds
    return e.waited(o, o.lease_since, patience)
