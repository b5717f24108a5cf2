"""What the member rules ask for around operations: turns to wait for, steps to carry out, and the sentence shown."""

from rmqcluster.core import evidence as e
from rmqcluster.core.actions import EndOperation, KillBroker, Perform, SetAside, StartOperation
from rmqcluster.core.engine import Outcome
from rmqcluster.core.model import Observation, Operation, OperationKind
from rmqcluster.core.operations import deadline_seconds, executor_of, in_words


def ask(o: Observation, kind: OperationKind) -> StartOperation:
    """My own request for the operation record, about myself."""
    return StartOperation(kind, o.me, deadline_seconds(kind, o.policy), o.me, executor_of(kind, o.me))


def _operation(o: Observation) -> Operation:
    found = e.operation(o)
    assert found is not None, "guarded by a condition on the operation"
    return found


def ask_stop(o: Observation) -> Outcome:
    return Outcome((ask(o, OperationKind.STOP),), state="stopping")


def perform(o: Observation) -> Outcome:
    operation = _operation(o)
    stopping = operation.kind is OperationKind.STOP
    return Outcome((Perform(operation),), in_words(operation), "stopping" if stopping else "member")


def refuse_recover(o: Observation) -> Outcome:
    text = "a majority of the members serves: nothing has to go on alone"
    return Outcome((EndOperation(_operation(o), "refused", text),), text, "refused")


def end_recover(o: Observation) -> Outcome:
    text = f"{o.me} went on alone already"
    return Outcome((EndOperation(_operation(o), "done", text),), text, "recovering")


def kill_to_recover(o: Observation) -> Outcome:
    text = "booted again to go on alone: a person gave up the disks of the others"
    return Outcome((KillBroker(text),), text, "recovering")


def recover_prepare(o: Observation) -> Outcome:
    return Outcome((Perform(_operation(o), part=1),), state="recovering")


def wait_to_recover(o: Observation) -> Outcome:
    return Outcome(state="recovering")


def recover_release(o: Observation) -> Outcome:
    return Outcome((Perform(_operation(o), part=2),), state="recovering")


def recover_settle(o: Observation) -> Outcome:
    return Outcome((Perform(_operation(o), part=3),), state="recovering")


def wait_to_stop(o: Observation) -> Outcome:
    under_way = e.operation(o)
    other = under_way is not None and under_way.subject != o.me
    text = f"waits for {in_words(_operation(o))}" if other else "moves the leaders of its queues away"
    return Outcome(text=text, state="stopping")


def wait_for_forget(o: Observation) -> Outcome:
    if _operation(o).kind is not OperationKind.REPLACE:
        return wait_for_operation(o)
    text = f"REPLACING {o.me}: its old self is being forgotten, it joins as a new member then; client ports CLOSED"
    return Outcome(text=text, state="replacing")


def set_aside(o: Observation) -> Outcome:
    text = "its old data is put aside, a copy is kept; then it joins as a new member"
    return Outcome((SetAside(_operation(o)),), text, "rejoining")


def ask_join(o: Observation) -> Outcome:
    return Outcome((ask(o, OperationKind.JOIN),), "asks for its turn to join", "waiting")


def wait_for_operation(o: Observation) -> Outcome:
    operation = _operation(o)
    text = f"its turn to join comes after {in_words(operation)}"
    if operation.subject == o.me:
        text = "the monitor looks whether any queue still lists it; then it joins"
    return Outcome(text=text, state="waiting")
