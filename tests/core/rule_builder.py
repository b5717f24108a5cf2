"""Observations for the tests of the rules: three members a, b and c, seen from a, with one thing changed at a time."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from rmqcluster.core.model import (
    Announcement,
    BrokerPhase,
    BrokerState,
    Disk,
    DiskKind,
    Marker,
    Observation,
    Operation,
    OperationKind,
    Policy,
    Purpose,
    Record,
    Stage,
    StoreView,
    View,
)
from rmqcluster.core.operations import executor_of
from rmqcluster.core.queues import QueueFacts, QueueKind, QueueReport

A, B, C = "rabbit@a", "rabbit@b", "rabbit@c"
ID, OTHER_ID = "1" * 32, "2" * 32
ALL = frozenset({A, B, C})
NOW = 1000.0

BLANK = Disk(has_data=False)
DATA = Disk(True, Marker(ID, Stage.MEMBER, 1), 1)
AMNESIC = Disk(False, Marker(ID, Stage.MEMBER, 1), 1)
UNMARKED = Disk(True)
FOUNDING = Disk(True, Marker(ID, Stage.FOUNDING, 1), 1)
JOINING = Disk(True, Marker(ID, Stage.JOINING, 1), 1)
HALF_JOINED = Disk(False, Marker(ID, Stage.JOINING, 1), 1)


def says(node: str, **changes: Any) -> Announcement:
    """A blank member that waits."""
    return replace(Announcement(node, f"instance of {node}", DiskKind.BLANK, BrokerPhase.DOWN, host=node), **changes)


def member(node: str, listed: Iterable[str] = ALL, **changes: Any) -> Announcement:
    """A proven member of the cluster whose broker runs."""
    view = View(frozenset(listed), frozenset(listed))
    known = {"disk": DiskKind.DATA, "broker": BrokerPhase.READY, "cluster_id": ID, "mutual": True, "view": view}
    return says(node, **{**known, "listed": view.members, "epoch_high": 1, **changes})


def stored(*announced: Announcement, **changes: Any) -> StoreView:
    """A reading of Redis that holds these announcements."""
    return replace(StoreView(announcements={a.node: a for a in announced}, at=NOW), **changes)


def committed(*announced: Announcement, **changes: Any) -> StoreView:
    """A reading in which all three are registered members of the committed cluster."""
    known: dict[str, Any] = {
        "members": ALL,
        "master": B,
        "record": Record(ID, 1, B),
        "heartbeats": dict.fromkeys(ALL, 10.0),
        "epoch": 1,
    }
    return stored(*(announced or (member(B), member(C))), **{**known, **changes})


def operation(kind: OperationKind, subject: str = A, **changes: Any) -> Operation:
    """An operation under way, asked for by a person."""
    made = Operation("op-1", kind, subject, executor_of(kind, subject), "operator ann@host", 1, 0.0, 100.0)
    return replace(made, **changes)


def queue(name: str = "tasks", leader: str | None = A, members: Iterable[str] = ALL, **changes: Any) -> QueueFacts:
    """A quorum queue whose replicas are all there and caught up."""
    there = frozenset(members)
    made = QueueFacts("/fog", name, QueueKind.QUORUM, True, leader, there, there, there)
    return replace(made, **changes)


def report(*queues: QueueFacts, running: Iterable[str] = ALL, listed: Iterable[str] = ALL) -> QueueReport:
    """What one look found; nothing but a whole, balanced queue unless told otherwise."""
    return QueueReport(queues or (queue(),), frozenset(listed), frozenset(running))


def broker(phase: BrokerPhase, purpose: Purpose | None = None, **changes: Any) -> BrokerState:
    return replace(BrokerState(phase, NOW - 20.0, purpose, version="3.10.8"), **changes)


def observe(disk: Disk = BLANK, **changes: Any) -> Observation:
    """What a sees: a broker that is down and a readable, empty Redis, unless told otherwise."""
    base = Observation(
        now=NOW,
        policy=Policy(),
        me=A,
        instance="instance of a",
        started_at=NOW - 30.0,
        disk=disk,
        broker=broker(BrokerPhase.DOWN),
        store=stored(),
        store_since=NOW - 30.0,
        steady_since=NOW - 30.0,
        host=A,
        cookie="cookie",
    )
    return replace(base, **changes)


def serving(**changes: Any) -> Observation:
    """A proven, registered member whose broker sees everybody."""
    base = observe(
        DATA,
        broker=broker(BrokerPhase.READY, Purpose.DATA, stamp="as configured"),
        store=committed(),
        view=View(ALL, ALL),
        was_registered=True,
        wanted_stamp="as configured",
        queues=report(),
        queues_at=NOW - 1.0,
        members_changed_at=NOW - 100.0,
    )
    return replace(base, **changes)
