"""What each monitor rule asks for: the actions, and the sentence shown."""

from rmqcluster.core import evidence as e
from rmqcluster.core import monitor_conditions as c
from rmqcluster.core import upkeep as u
from rmqcluster.core.actions import (
    EndOperation,
    Inspect,
    Perform,
    Provision,
    RaiseEpoch,
    ReleaseLease,
    RemoveMember,
    Report,
    RestoreRecord,
    SetMaster,
    StartOperation,
    TakeLease,
)
from rmqcluster.core.engine import Outcome
from rmqcluster.core.model import Observation, Operation, OperationKind
from rmqcluster.core.operations import deadline_seconds, executor_of, in_words


def release(o: Observation) -> Outcome:
    stopping = o.stop_asked_at is not None
    why = "this member stops" if stopping else "my broker does not see a majority, or I am not a proven member"
    return Outcome((ReleaseLease(why),), why)


def idle(o: Observation) -> Outcome:
    return Outcome()


def wait_while_paused(o: Observation) -> Outcome:
    return Outcome(text=f"paused: {c.store(o).paused}", state="paused")


def take_lease(o: Observation) -> Outcome:
    seen = [o.disk.epoch_high, *(a.epoch_high for a in c.store(o).announcements.values())]
    return Outcome((TakeLease(max(seen)),))


def remember_epoch(o: Observation) -> Outcome:
    return Outcome((RaiseEpoch(_epoch(o)),))


def _epoch(o: Observation) -> int:
    lease = c.store(o).lease
    assert lease is not None, "guarded by lease_free and lease_of_another"
    return lease.epoch


def restore_record(o: Observation) -> Outcome:
    record = c.store(o).record
    assert o.disk.marker is not None, "a registered member has a marker"
    act = RestoreRecord(o.disk.marker.cluster_id, o.disk.marker.epoch, record.cluster_id if record else None)
    return Outcome((act,), f"the record of cluster {act.cluster_id[:8]} is rebuilt from the disks and brokers")


def suspect_store(o: Observation) -> Outcome:
    return Outcome(text="all heartbeats are gone at once: Redis is suspect, nobody is judged", state="suspect")


def remove_gone(o: Observation) -> Outcome:
    gone = [n for n in c.silent(o) if e.is_gone(o, n)]
    acts = tuple(RemoveMember(n, _epoch(o), "no heartbeat, and the brokers do not see it") for n in gone)
    return Outcome(acts, f"LOST {', '.join(gone)}: no heartbeat, and the brokers do not see it")


def mark(o: Observation) -> Outcome:
    found = [n for n in c.silent(o) if n not in o.marked and not e.is_gone(o, n)]
    text = "no heartbeat, but its broker is not known to be gone: only marked"
    return Outcome(tuple(Report(f"marked {n}", f"{n}: {text}") for n in found), f"{', '.join(found)}: {text}")


def elect(o: Observation) -> Outcome:
    chosen, old = c.candidates(o)[0], c.store(o).master
    reason = f"master {chosen} (was {old})" if old else f"master {chosen}"
    return Outcome((SetMaster(chosen, old, _epoch(o), reason),), reason)


def provision(o: Observation) -> Outcome:
    assert o.disk.marker is not None, "a registered member has a marker"
    return Outcome((Provision(_epoch(o), o.disk.marker.cluster_id),), "bringing accounts and topology up to date")


def tell_unlike(o: Observation) -> Outcome:
    return Outcome(
        text=f"provisioning waits: {', '.join(c.configured_unlike(o))} and I are configured with different accounts, "
        "passwords or definitions; give all members the same and restart them",
        state="waiting",
    )


def wait_for_joiners(o: Observation) -> Outcome:
    text = "provisioning waits for the members on their way, so that queues get all their replicas"
    return Outcome(text=text, state="waiting")


def _operation(o: Observation) -> Operation:
    found = e.operation(o)
    assert found is not None, "guarded by a condition on the operation"
    return found


def _begin(o: Observation, kind: OperationKind, subject: str, why: str) -> StartOperation:
    """By the lease holder under its epoch; a steward without the lease has the record alone to guard it."""
    epoch = _epoch(o) if u.holds_lease(o) else 0
    seconds = deadline_seconds(kind, o.policy)
    return StartOperation(kind, subject, seconds, f"monitor {o.me}", executor_of(kind, subject), epoch, why=why)


def fail_over(o: Observation) -> Outcome:
    """Move the label on a person's word; the record ends with it."""
    operation, old = _operation(o), c.store(o).master
    if operation.target is not None and operation.target == old:
        text = f"master {old}, asked by {operation.by}"
        return Outcome((EndOperation(operation, "done", text),), text)
    chosen = [n for n in c.candidates(o) if n == (operation.target or n) and n != old]
    if not chosen:
        wanted = operation.target or "another member"
        text = f"{wanted} is no registered, mutual, running member beside {old}: the label stays"
        return Outcome((EndOperation(operation, "refused", text),), text)
    text = f"master {chosen[0]} (was {old}), asked by {operation.by}"
    return Outcome((SetMaster(chosen[0], old, _epoch(o), text, operation),), text)


def perform(o: Observation) -> Outcome:
    operation = _operation(o)
    return Outcome((Perform(operation, _epoch(o)),), in_words(operation), "busy")


def end_undone(o: Observation) -> Outcome:
    text = f"{o.me} had begun it, and was restarted or lost the lease: what is unfinished is looked at anew"
    return Outcome((EndOperation(_operation(o), "failed", text),), text)


def end_for_the_gone(o: Observation) -> Outcome:
    operation = _operation(o)
    text = f"{operation.executor}, who carried it out, is gone with its broker: what is unfinished is looked at anew"
    return Outcome((EndOperation(operation, "failed", text),), text)


def refuse_join(o: Observation) -> Outcome:
    operation = _operation(o)
    text = f"{operation.subject} has a blank disk and is still a replica of queues: its old self goes first"
    return Outcome((EndOperation(operation, "refused", text),), text)


def admit(o: Observation) -> Outcome:
    operation = _operation(o)
    text = f"{operation.subject} may join when no queue lists a replica on it"
    return Outcome((Perform(operation, _epoch(o)),), text)


def grow_for_join(o: Observation) -> Outcome:
    operation = _operation(o)
    text = f"{operation.subject} has joined: {u.missing_replicas(o)} replicas are grown"
    return Outcome((Perform(operation, _epoch(o), part=2),), text)


def complete_join(o: Observation) -> Outcome:
    operation = _operation(o)
    text = f"{operation.subject} is a member and every queue has its replicas"
    return Outcome((EndOperation(operation, "done", text),), text)


def look(o: Observation) -> Outcome:
    return Outcome((Inspect(),), "looking at the queues and their replicas")


def replace(o: Observation) -> Outcome:
    node = next(n for n in u.wiped(o) if not u.obstacle(o, n))
    text = f"{node} lost its disk on the same host, and every queue keeps a majority without it: it is replaced"
    return Outcome((_begin(o, OperationKind.REPLACE, node, text),), text)


def grow(o: Observation) -> Outcome:
    text = f"{u.missing_replicas(o)} replicas are missing on running members"
    return Outcome((_begin(o, OperationKind.GROW, "", text),), text)


def rebalance(o: Observation) -> Outcome:
    text = "members are settled and caught up: queue leaders are spread over them"
    return Outcome((_begin(o, OperationKind.REBALANCE, "", text),), text)
