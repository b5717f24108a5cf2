"""Prometheus text, written by hand: a client library would cost the supervisor more memory than this page.

A value that is unknown has no sample; it is never reported as 0.
"""

from collections.abc import Callable, Iterator

from rmqcluster.agent.published import Published
from rmqcluster.core.model import BrokerPhase
from rmqcluster.core.queues import QueueReport, leaderless, short
from rmqcluster.core.status import MemberStatus, Status, Verdict

QUEUE_COUNTS: tuple[tuple[str, str, Callable[[QueueReport, int], int]], ...] = (
    (
        "rmqcluster_queues_short_of_replicas",
        "Queues with fewer running replicas than their target; told by the lease holder.",
        lambda report, target: len(short(report, target)),
    ),
    (
        "rmqcluster_queues_leaderless",
        "Queues and streams without a leader; told by the lease holder.",
        lambda report, _target: len(leaderless(report)),
    ),
)
Sample = tuple[str, float | bool | None]


def metrics_text(status: Status | None, published: Published | None, tick_age_seconds: float) -> str:
    """All metrics of one supervisor; before the first tick only the age of the loop."""
    lines: list[str] = []
    _add(lines, "rmqcluster_loop_tick_age_seconds", "Age of the loop's last tick.", [("", tick_age_seconds)])
    if status is not None and published is not None:
        for name, text, samples in _families(status, published):
            _add(lines, name, text, samples)
    return "\n".join(lines) + "\n"


def _families(status: Status, published: Published) -> Iterator[tuple[str, str, list[Sample]]]:
    seen, decision, rows = published.observation, published.decision, status.members
    yield (
        "rmqcluster_verdict",
        "1 for the present verdict on the cluster.",
        [(label("verdict", verdict.value), verdict is status.verdict) for verdict in Verdict],
    )
    yield "rmqcluster_size", "Expected members.", [("", float(status.size))]
    yield "rmqcluster_epoch", "Newest epoch.", [("", None if status.epoch is None else float(status.epoch))]
    yield "rmqcluster_redis_reachable", "Does Redis answer?", [("", status.redis_reachable)]
    yield (
        "rmqcluster_redis_last_contact_seconds",
        "Since Redis last answered.",
        [("", status.redis_last_contact_seconds)],
    )
    yield "rmqcluster_broker_ready", "Is my own broker up?", [("", seen.broker.phase is BrokerPhase.READY)]
    yield (
        "rmqcluster_broker_unexpected_exits",
        "Recent unexpected ends of my broker.",
        [("", float(len(seen.broker.exits)))],
    )
    yield "rmqcluster_mutual", "Is my membership proven?", [("", published.mutual)]
    yield "rmqcluster_registered", "Am I registered?", [("", published.registered)]
    yield "rmqcluster_held", "Do I wait for a person?", [("", decision.held is not None)]
    yield "rmqcluster_decision_rule", "Number of the rule that decided last.", [("", float(decision.rule))]
    operation = status.operation
    under_way: list[Sample] = [("", None if seen.store is None else operation is not None)]
    yield "rmqcluster_operation_in_progress", "Is a disruptive operation under way?", under_way
    yield (
        "rmqcluster_operation_seconds_left",
        "Until the deadline of the operation under way.",
        [(label("kind", operation.kind), operation.seconds_left)] if operation is not None else [],
    )
    yield "rmqcluster_paused", "Has a person paused automatic acts?", [("", _paused(status))]
    yield "rmqcluster_member_drained", "Is it in maintenance?", [_of(row, row.drained) for row in rows]
    yield "rmqcluster_member_held", "Does it wait for a person?", [_of(row, _held(row)) for row in rows]
    lease = seen.store.lease if seen.store is not None else None
    report = seen.queues if lease is not None and lease.instance == seen.instance else None
    for name, text, find in QUEUE_COUNTS:
        yield name, text, [("", None if report is None else float(find(report, seen.policy.replicas)))]
    yield "rmqcluster_member_running", "Does this member's broker run?", [_of(row, row.running) for row in rows]
    yield "rmqcluster_member_mutual", "Is this membership proven?", [_of(row, row.mutual) for row in rows]
    yield "rmqcluster_member_registered", "Is it registered?", [_of(row, row.registered) for row in rows]
    yield "rmqcluster_member_master", "Is it the master?", [_of(row, row.role == "master") for row in rows]
    yield (
        "rmqcluster_member_heartbeat_age_seconds",
        "Since its last heartbeat.",
        [_of(row, row.heartbeat_age_seconds) for row in rows],
    )


def _paused(status: Status) -> bool | None:
    return (status.paused is not None) if status.redis_reachable else None


def _held(row: MemberStatus) -> bool | None:
    """Only who speaks of itself is known not to be held."""
    return None if row.drained is None else row.held is not None


def label(name: str, value: str) -> str:
    """`{name="value"}`, escaped as the text format asks."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{{{name}="{escaped}"}}'


def _of(row: MemberStatus, value: float | bool | None) -> Sample:
    return label("node", row.node), value


def _add(lines: list[str], name: str, text: str, samples: list[Sample]) -> None:
    known = [(labels, value) for labels, value in samples if value is not None]
    if known:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
        lines += [f"{name}{labels} {float(value):g}" for labels, value in known]
