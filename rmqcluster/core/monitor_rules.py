"""What the one lease holder does for the cluster: labels, record, provisioning. Nothing here touches a broker's life.

The lease is only taken and kept on the side where my own broker sees a majority (S7). Judging a member needs
steady Redis replies and the word of the brokers; electing for an empty label judges nobody.
"""

from rmqcluster.core import evidence as e
from rmqcluster.core.actions import (
    Provision,
    RaiseEpoch,
    ReleaseLease,
    RemoveMember,
    Report,
    RestoreRecord,
    SetMaster,
    TakeLease,
)
from rmqcluster.core.engine import Outcome, Rule
from rmqcluster.core.model import BrokerPhase, DiskKind, Observation, StoreView

JOINER_PATIENCE_SECONDS = 60.0  # how long provisioning waits for members that are visibly on their way


def _store(o: Observation) -> StoreView:
    assert o.store is not None, "guarded by cannot_act"
    return o.store


def cannot_act(o: Observation) -> bool:
    """Not proven, not registered, on a minority side, or too few re-registered to rule on anything."""
    if o.store is None or o.view is None or not e.registers(o) or o.me not in o.store.members:
        return True
    alive = sum(1 for node in o.store.members if node in o.store.heartbeats)
    return e.is_mutual(o) is not True or not o.view.sees_majority() or alive < o.policy.majority


def lease_is_mine(o: Observation) -> bool:
    return o.store is not None and o.store.lease is not None and o.store.lease.instance == o.instance


def lease_of_another(o: Observation) -> bool:
    return o.store is not None and o.store.lease is not None and not lease_is_mine(o)


def paused(o: Observation) -> bool:
    return o.store is not None and o.store.paused is not None


def lease_free(o: Observation) -> bool:
    return o.store is not None and o.store.lease is None


def record_contradicts(o: Observation) -> bool:
    """The record is gone, or names another cluster than the one whose majority I am mutual with."""
    record = _store(o).record
    return record is None or record.cluster_id != o.disk.cluster_id


def epoch_not_on_disk(o: Observation) -> bool:
    lease = _store(o).lease
    return lease is not None and lease.epoch > o.disk.epoch_high


def silent(o: Observation) -> list[str]:
    """Registered members without a heartbeat."""
    return sorted(n for n in _store(o).members if n not in _store(o).heartbeats and n != o.me)


def all_silent_at_once(o: Observation) -> bool:
    rest = [n for n in _store(o).members if n != o.me]
    return len(rest) > 1 and len(silent(o)) == len(rest)


def somebody_gone(o: Observation) -> bool:
    return e.store_is_steady(o) and any(e.is_gone(o, node) for node in silent(o))


def somebody_to_mark(o: Observation) -> bool:
    return e.store_is_steady(o) and any(n not in o.marked and not e.is_gone(o, n) for n in silent(o))


def candidates(o: Observation) -> list[str]:
    """Whom the others may join through: registered, beating, mutual, its broker running as my broker sees it."""
    store = _store(o)
    found = []
    for node in store.members & store.heartbeats.keys():
        a = store.announcements.get(node)
        proven = node == o.me or (a is not None and a.mutual is True and a.broker is BrokerPhase.READY)
        if proven and o.view is not None and node in o.view.running:
            found.append(node)
    return sorted(found)


def master_vacant(o: Observation) -> bool:
    """Nobody is named, or somebody who is no registered member or whose own supervisor says its broker is down."""
    store = _store(o)
    named = store.announcements.get(store.master or "")
    down = named is not None and named.broker is BrokerPhase.DOWN
    return (store.master is None or store.master not in store.members or down) and bool(candidates(o))


def must_provision(o: Observation) -> bool:
    """The broker carries another stamp than configured, or a member came that may need replicas."""
    if o.busy is not None or o.wanted_stamp is None or o.broker.stamp is None:
        return False
    if o.act_failed_at is not None and not e.waited(o, o.act_failed_at, 2 * o.policy.heartbeat_seconds):
        return False
    new_members = bool((_store(o).members & _store(o).heartbeats.keys()) - o.provisioned_for)
    return o.broker.stamp != o.wanted_stamp or new_members


def configured_unlike(o: Observation) -> list[str]:
    """Live members with other accounts, passwords or definitions than mine."""
    live = {n: a for n, a in e.others(o).items() if a.disk is DiskKind.DATA}
    return sorted(n for n, a in live.items() if a.wanted != o.wanted_stamp)


def somebody_unlike(o: Observation) -> bool:
    return bool(configured_unlike(o))


def all_are_here(o: Observation) -> bool:
    """All expected members are registered, or those that are missing are not on their way."""
    store = _store(o)
    if len(store.members) >= o.policy.size or o.lease_since is None:
        return len(store.members) >= o.policy.size
    unfinished = (DiskKind.BLANK, DiskKind.UNCOMMITTED)
    coming = any(a.disk in unfinished and a.held is None for a in e.others(o).values())
    patience = JOINER_PATIENCE_SECONDS if coming else o.policy.settle_seconds
    return e.waited(o, o.lease_since, patience)


def release(o: Observation) -> Outcome:
    return Outcome((ReleaseLease("my broker does not see a majority, or I am not a proven member"),))


def idle(o: Observation) -> Outcome:
    return Outcome()


def wait_while_paused(o: Observation) -> Outcome:
    return Outcome(text=f"paused: {_store(o).paused}", state="paused")


def take_lease(o: Observation) -> Outcome:
    seen = [o.disk.epoch_high, *(a.epoch_high for a in _store(o).announcements.values())]
    return Outcome((TakeLease(max(seen)),))


def remember_epoch(o: Observation) -> Outcome:
    return Outcome((RaiseEpoch(_epoch(o)),))


def _epoch(o: Observation) -> int:
    lease = _store(o).lease
    assert lease is not None, "guarded by lease_free and lease_of_another"
    return lease.epoch


def restore_record(o: Observation) -> Outcome:
    record = _store(o).record
    assert o.disk.marker is not None, "a registered member has a marker"
    act = RestoreRecord(o.disk.marker.cluster_id, o.disk.marker.epoch, record.cluster_id if record else None)
    return Outcome((act,), f"the record of cluster {act.cluster_id[:8]} is rebuilt from the disks and brokers")


def suspect_store(o: Observation) -> Outcome:
    return Outcome(text="all heartbeats are gone at once: Redis is suspect, nobody is judged", state="suspect")


def remove_gone(o: Observation) -> Outcome:
    gone = [n for n in silent(o) if e.is_gone(o, n)]
    acts = tuple(RemoveMember(n, _epoch(o), "no heartbeat, and the brokers do not see it") for n in gone)
    return Outcome(acts, f"LOST {', '.join(gone)}: no heartbeat, and the brokers do not see it")


def mark(o: Observation) -> Outcome:
    found = [n for n in silent(o) if n not in o.marked and not e.is_gone(o, n)]
    text = "no heartbeat, but its broker is not known to be gone: only marked"
    return Outcome(tuple(Report(f"marked {n}", f"{n}: {text}") for n in found), f"{', '.join(found)}: {text}")


def elect(o: Observation) -> Outcome:
    chosen, old = candidates(o)[0], _store(o).master
    reason = f"master {chosen} (was {old})" if old else f"master {chosen}"
    return Outcome((SetMaster(chosen, old, _epoch(o), reason),), reason)


def provision(o: Observation) -> Outcome:
    assert o.disk.marker is not None, "a registered member has a marker"
    return Outcome((Provision(_epoch(o), o.disk.marker.cluster_id),), "bringing accounts and topology up to date")


def tell_unlike(o: Observation) -> Outcome:
    return Outcome(
        text=f"provisioning waits: {', '.join(configured_unlike(o))} and I are configured with different accounts, "
        "passwords or definitions; give all members the same and restart them",
        state="waiting",
    )


def wait_for_joiners(o: Observation) -> Outcome:
    text = "provisioning waits for the members on their way, so that queues get all their replicas"
    return Outcome(text=text, state="waiting")


MONITOR_RULES: tuple[Rule, ...] = (
    Rule(710, (cannot_act, lease_is_mine), release, "leases are held only where my broker sees a majority"),
    Rule(720, (cannot_act,), idle, "not in a position to act for the cluster"),
    Rule(730, (lease_of_another,), idle, "another member holds the lease"),
    Rule(740, (lease_free,), take_lease, "somebody on the majority side has to act"),
    Rule(745, (epoch_not_on_disk,), remember_epoch, "an epoch that was used must outlive an emptied Redis"),
    Rule(750, (paused,), wait_while_paused, "a person asked for no automatic act"),
    Rule(810, (record_contradicts,), restore_record, "a majority of the disks outranks Redis"),
    Rule(820, (all_silent_at_once,), suspect_store, "everyone's heartbeat gone at once is a sick Redis"),
    Rule(830, (somebody_gone,), remove_gone, "no heartbeat, and the brokers miss it too"),
    Rule(840, (somebody_to_mark,), mark, "a member whose broker runs is only marked"),
    Rule(850, (master_vacant,), elect, "joiners need a live, proven member"),
    Rule(855, (must_provision, somebody_unlike), tell_unlike, "members would undo each other's provisioning"),
    Rule(860, (must_provision, all_are_here), provision, "accounts exist only in the committed cluster"),
    Rule(870, (must_provision,), wait_for_joiners, "queues are declared with their replicas"),
    Rule(990, (), idle, "nothing to do"),
)
