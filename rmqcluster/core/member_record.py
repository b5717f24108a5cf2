"""The named conditions of the member rules that ask for the operation record: whose turn it is, and for what."""

from rmqcluster.core import evidence as e
from rmqcluster.core.member_conditions import cluster_is_committed, data_lost, was_a_member
from rmqcluster.core.model import Observation, OperationKind
from rmqcluster.core.operations import recovered_id, step

AGAIN_SECONDS = 1.0  # between two looks whether a queue still needs this member, or two tries of a step
JOINS = (OperationKind.JOIN, OperationKind.REPLACE, OperationKind.REJOIN)


def no_operation(o: Observation) -> bool:
    return o.store is not None and o.store.operation is None


def stop_is_granted(o: Observation) -> bool:
    """The operation record is mine, and it is time to look, or to look again."""
    again = o.act_failed_at is None or e.waited(o, o.act_failed_at, AGAIN_SECONDS)
    return e.operation_on_me(o, OperationKind.STOP) is not None and o.busy is None and again


def is_being_replaced(o: Observation) -> bool:
    return e.operation_on_me(o, OperationKind.REPLACE) is not None


def name_not_free(o: Observation) -> bool:
    """My return under this name is recorded, and the steward has not yet read that nothing lists my old self."""
    asked = is_being_replaced(o) or (data_lost(o) and e.operation_on_me(o, *JOINS) is not None)
    return asked and not join_is_granted(o)


def no_finding(o: Observation) -> bool:
    """The steward names nothing that is in the way of my return."""
    return not e.finding(o)


def may_rejoin(o: Observation) -> bool:
    found = e.operation_on_me(o, OperationKind.REJOIN)
    return found is not None and found.id not in o.handled


def join_is_granted(o: Observation) -> bool:
    """A join under my name is recorded, and the steward has read that nothing lists my old self any more."""
    found = e.operation_on_me(o, *JOINS)
    return found is not None and found.ready


def join_not_granted(o: Observation) -> bool:
    """Joins of a committed cluster are operations; those of a founding disturb nobody."""
    return cluster_is_committed(o) and not join_is_granted(o)


def recovering(o: Observation) -> bool:
    """A person gave up the disks of the others (consent), and asked this member to go on alone."""
    found = e.operation_on_me(o, OperationKind.RECOVER)
    return found is not None and found.consent and was_a_member(o)


def _step_is_due(o: Observation, part: int) -> bool:
    found = e.operation_on_me(o, OperationKind.RECOVER)
    again = o.act_failed_at is None or e.waited(o, o.act_failed_at, AGAIN_SECONDS)
    return found is not None and step(found, part) not in o.handled and again


def recovered_already(o: Observation) -> bool:
    """Redis may come back with an old copy of the record: my cluster has the id that it gave."""
    found = e.operation_on_me(o, OperationKind.RECOVER)
    return found is not None and o.disk.cluster_id == recovered_id(found)


def recover_unprepared(o: Observation) -> bool:
    return _step_is_due(o, 1)


def recover_unreleased(o: Observation) -> bool:
    return _step_is_due(o, 2)


def recover_unsettled(o: Observation) -> bool:
    return _step_is_due(o, 3)


def maintenance_asked(o: Observation) -> bool:
    found = e.operation_on_me(o, OperationKind.DRAIN, OperationKind.REVIVE)
    return found is not None and found.id not in o.handled and o.busy is None
