"""The kinds of operations: who may ask, who carries them out, and how long one may take at the worst.

A deadline is the sum of the worst cases of the broker commands behind it (facts T8: `--timeout` is ignored by many
of them), so when it has passed nothing of it runs any more.
"""

from dataclasses import dataclass
from uuid import NAMESPACE_OID, uuid5

from rmqcluster.core.model import Operation, OperationKind, Policy

STOPPING_TAKES_SECONDS = 6.5  # of the stop budget: RabbitMQ 3.10.8 with its management plugin needs 5 s when idle
CATCH_UP_SECONDS = 60.0  # how long a forget waits for replicas on running members before it is refused
FORGET_SECONDS = 310.0 + CATCH_UP_SECONDS  # its last try begins up to 10 s after them
GROW_SECONDS = 600.0
COMMAND_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Kind:
    """One row. `by_subject`: the subject's own supervisor acts; else whoever holds the monitor lease."""

    by_subject: bool
    joins: bool  # ends when the subject is a registered member and its replicas are there
    words: str


KINDS = {
    OperationKind.JOIN: Kind(True, True, "a blank node joins"),
    OperationKind.REPLACE: Kind(False, True, "a member whose disk is gone is replaced"),
    OperationKind.REJOIN: Kind(True, True, "a forgotten member joins anew"),
    OperationKind.FORGET: Kind(False, False, "a node is taken out of the cluster"),
    OperationKind.GROW: Kind(False, False, "replicas are added"),
    OperationKind.REBALANCE: Kind(False, False, "queue leaders are spread"),
    OperationKind.STOP: Kind(True, False, "a member stops"),
    OperationKind.DRAIN: Kind(True, False, "a member goes into maintenance"),
    OperationKind.REVIVE: Kind(True, False, "a member comes back from maintenance"),
    OperationKind.FAILOVER: Kind(False, False, "the master label moves"),
    OperationKind.RECOVER: Kind(True, False, "a member goes on alone after the majority was lost"),
}


def deadline_seconds(kind: OperationKind, policy: Policy) -> float:
    """How long an operation of this kind may take at the worst."""
    joining = policy.master_wait_seconds + 20.0
    return {
        OperationKind.JOIN: joining + COMMAND_SECONDS,
        OperationKind.REPLACE: FORGET_SECONDS + joining + COMMAND_SECONDS,
        OperationKind.REJOIN: joining + COMMAND_SECONDS,
        OperationKind.FORGET: FORGET_SECONDS,
        OperationKind.GROW: GROW_SECONDS,
        OperationKind.STOP: policy.stop_seconds + 12.0,
        OperationKind.RECOVER: 2 * GROW_SECONDS,
    }.get(kind, COMMAND_SECONDS)


def executor_of(kind: OperationKind, subject: str) -> str:
    """The `executor` that the record names."""
    return subject if KINDS[kind].by_subject else ""


def recovered_id(operation: Operation) -> str:
    """The id of the cluster that a member goes on with alone; the same for the same request."""
    return uuid5(NAMESPACE_OID, operation.id).hex


def step(operation: Operation, part: int) -> str:
    """What `Observation.handled` remembers of one step of an operation; the first step is the operation's id."""
    return operation.id if part == 1 else f"{operation.id}/{part}"


def in_words(operation: Operation) -> str:
    """`replace rabbit@b (by operator ann@host)`."""
    what = f"{operation.kind} {operation.subject}".strip()
    return f"{what} (by {operation.by})"
