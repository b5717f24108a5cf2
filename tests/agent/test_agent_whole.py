"""What a supervisor announces of the cluster's replicas: with which runs of the members a look found them whole."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from rmqcluster.agent.agent import Agent
from rmqcluster.agent.memory import Identity
from rmqcluster.core.model import (
    Announcement,
    BrokerPhase,
    BrokerState,
    Decision,
    Disk,
    DiskKind,
    Lease,
    Marker,
    Observation,
    Policy,
    Stage,
    StoreView,
    View,
)
from rmqcluster.core.queues import QueueFacts, QueueKind, QueueReport

A, B, C = "rabbit@a", "rabbit@b", "rabbit@c"
ALL = frozenset({A, B, C})
MINE = Lease(A, "run of a", 3)
RUNS = frozenset({"run of a", "run of b", "run of c"})


def report(members: frozenset[str] = ALL, there: frozenset[str] = ALL) -> QueueReport:
    queue = QueueFacts("/fog", "tasks", QueueKind.QUORUM, True, A, members, there, there)
    return QueueReport((queue,), ALL, ALL)


def store(**changes: Any) -> StoreView:
    """All three registered and beating; the lease is mine."""
    said = {
        node: Announcement(node, f"run of {node[-1]}", DiskKind.DATA, BrokerPhase.READY, mutual=True) for node in ALL
    }
    beating = dict.fromkeys(ALL, 10.0)
    made = StoreView(members=ALL, heartbeats=beating, announcements=said, lease=MINE, master=A, at=100.0)
    return replace(made, **changes)


def observed(**changes: Any) -> Observation:
    """A look ten seconds ago, after the last change of the members, found everything where it belongs."""
    known: dict[str, Any] = {
        "store": store(),
        "view": View(ALL, ALL),
        "queues": report(),
        "queues_at": 90.0,
        "members_changed_at": 80.0,
        **changes,
    }
    disk = Disk(True, Marker("1" * 32, Stage.MEMBER, 1), 1)
    broker = BrokerState(BrokerPhase.READY, 50.0)
    return Observation(100.0, Policy(), A, "run of a", 0.0, disk, broker, **known)


def agent(policy: Policy, **parts: Any) -> Agent:
    """One whose rooms are empty, but for `parts`."""
    names = ("store", "worker", "prober", "volume", "broker", "commands", "long_acts", "journal")
    empty = {name: SimpleNamespace(submit=None) for name in names}
    rooms: Any = SimpleNamespace(**(empty | parts), clock=SimpleNamespace(monotonic=lambda: 0.0))
    return Agent(Identity(A, "run of a"), policy, rooms)


def announced(o: Observation) -> frozenset[str]:
    """What the supervisor says after it has read the store of this observation."""
    made = agent(o.policy)
    if o.store is not None:
        made.memory.learn(Identity(A, "run of a"), 80.0, o.store)
    return made._whole(o)


def test_the_steward_names_the_runs_that_it_found_whole() -> None:
    """All members run, the look is newer than the last change: everybody's run is named."""
    assert announced(observed()) == RUNS


@pytest.mark.parametrize(
    "changes",
    [
        {"store": store(lease=Lease(B, "run of b", 3))},
        {"store": store(lease=None)},
        {"store": None},
        {"view": View(ALL, ALL - {C})},
        {"view": None},
        {"queues": None},
        {"queues_at": 79.0},
        {"queues": report(there=ALL - {C})},
        {"queues": report(members=ALL - {C}, there=ALL - {C})},
    ],
    ids=[
        *("another holds the lease", "nobody holds it", "no store", "a member is missed", "no view", "never looked"),
        *("the look is old", "a replica lags", "a replica is missing"),
    ],
)
def test_otherwise_nobody_is_named(changes: dict[str, Any]) -> None:
    """Whoever is not the steward, misses a member, or has no fresh look that found all replicas, says nothing."""
    assert announced(observed(**changes)) == frozenset()


def test_a_monitor_without_a_broker_lends_it_to_the_master() -> None:
    """While the lease is held by no member, the master is the one who looks and says."""
    lent = store(lease=Lease("rabbit@monitor", "run of the monitor", 3))

    assert announced(observed(store=lent)) == RUNS
    assert announced(observed(store=replace(lent, master=B))) == frozenset()


def test_another_rule_that_says_the_same_is_no_news() -> None:
    """Looks at a broker that waits for hours come and go; a new state, and a new rule with other words, are told."""
    said: list[str] = []
    made = agent(Policy(), journal=SimpleNamespace(say=lambda text, rule, **_kind: said.append(f"{rule} {text}")))
    for rule, state, text in (
        (610, "booting", "it boots"),
        (609, "booting", "it boots"),
        (610, "booting", "it boots"),
        (610, "booting", "it boots; 1 not heard"),
        (605, "booting", "it is restarted"),
        (610, "booting", "it boots"),
        (610, "joining", "it boots"),
    ):
        made._say_change("member", Decision(rule, text, state=state))
    assert said == ["610 it boots", "605 it is restarted", "610 it boots", "610 it boots"]
