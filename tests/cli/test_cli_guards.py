"""What an operator may ask, as a table: one reading of Redis in, one sentence of refusal or none out."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cli_bench import CLUSTER_ID

from rmqcluster.cli import guards
from rmqcluster.cli.losses import queues_only_on
from rmqcluster.cli.names import NodeUnknown, resolve
from rmqcluster.core.model import Announcement, BrokerPhase, DiskKind, Operation, OperationKind, StoreView, View
from rmqcluster.core.status import Verdict
from rmqcluster.errors import BrokerUnavailable

A, B, C, D, E = NODES = tuple(f"rabbit@{letter}" for letter in "abcde")
FORGOTTEN = "FORGOTTEN: rabbit@a no longer list rabbit@c"


def said(node: str, members: tuple[str, ...], **changes: Any) -> Announcement:
    """A healthy member of a cluster of these."""
    everybody = frozenset(members)
    healthy = Announcement(
        node=node,
        instance=f"i-{node}",
        disk=DiskKind.DATA,
        broker=BrokerPhase.READY,
        cluster_id=CLUSTER_ID,
        mutual=True,
        view=View(everybody, everybody),
        listed=everybody,
        state="running",
    )
    return replace(healthy, **changes)


def cluster(count: int = 3, **changes: dict[str, Any]) -> StoreView:
    """A healthy cluster; `c={...}` changes what rabbit@c says."""
    names = NODES[:count]
    announcements = {node: said(node, names, **changes.get(node[-1], {})) for node in names}
    return StoreView(
        members=frozenset(names),
        master=A,
        announcements=announcements,
        heartbeats=dict.fromkeys(names, 10.0),
    )


def without(view: StoreView, *gone: str, announced: bool = False) -> StoreView:
    """The same with these lost: no heartbeat, no registration, and no broker sees them run."""
    rest = {}
    for node, one in view.announcements.items():
        if node in gone and not announced:
            continue
        seen = replace(one.view, running=one.view.running - set(gone)) if one.view and node not in gone else None
        rest[node] = replace(one, view=seen)
    beating = {node: left for node, left in view.heartbeats.items() if node not in gone}
    return replace(view, members=view.members - set(gone), announcements=rest, heartbeats=beating)


def blank(kind: DiskKind = DiskKind.AMNESIC) -> StoreView:
    """rabbit@c came back with a disk of this kind while the others still list it."""
    return without(cluster(c={"disk": kind, "broker": BrokerPhase.DOWN, "mutual": None}), C, announced=True)


def forgotten() -> StoreView:
    """rabbit@c has data, and the others do not list it any more."""
    others = View(frozenset((A, B)), frozenset((A, B)))
    held = {"broker": BrokerPhase.DOWN, "mutual": None, "held": FORGOTTEN, "state": "held"}
    return without(cluster(a={"view": others}, b={"view": others}, c=held), C, announced=True)


def alone() -> StoreView:
    """Only rabbit@a is left of three."""
    return without(cluster(a={"mutual": False}), B, C)


ACCEPTED: list[tuple[str, Callable[[], str | None]]] = [
    ("a label may move to anybody who serves", lambda: guards.failover(cluster(), None)),
    ("or to the one who is named", lambda: guards.failover(cluster(), C)),
    ("leaders may be spread over a quiet cluster", lambda: guards.rebalance(cluster())),
    ("one of three may go into maintenance", lambda: guards.drain(cluster(), B)),
    ("one of five may, while another is lost", lambda: guards.drain(without(cluster(5), E), B)),
    ("a drained member may come back", lambda: guards.revive(cluster(b={"drained": True}), B)),
    ("so may one whose supervisor no longer knows that it is drained", lambda: guards.revive(cluster(), B)),
    ("a lost member may be forgotten", lambda: guards.forget(without(cluster(), C), C)),
    ("an amnesic disk may be given up", lambda: guards.replace(blank(), C)),
    ("a blank one, too", lambda: guards.replace(blank(DiskKind.BLANK), C)),
    ("a forgotten member may join anew", lambda: guards.rejoin(forgotten(), C)),
    ("the last one may go on alone", lambda: guards.recover(alone(), Verdict.UNAVAILABLE, A)),
    ("gone hosts cannot say that they are", lambda: guards.recover(alone(), Verdict.UNKNOWN, A)),
]

REFUSED: list[tuple[str, Callable[[], str | None]]] = [
    ("rabbit@a is the master already", lambda: guards.failover(cluster(), A)),
    ("rabbit@c is in maintenance", lambda: guards.failover(cluster(c={"drained": True}), C)),
    ("rabbit@c is not heard", lambda: guards.failover(without(cluster(), C), C)),
    ("rabbit@c is not proven a member", lambda: guards.failover(cluster(c={"mutual": None}), C)),
    ("nobody to fail over to: no other member", lambda: guards.failover(cluster(1), None)),
    (
        "nobody to fail over to: rabbit@b is held; rabbit@c is stopping",
        lambda: guards.failover(cluster(b={"held": "x"}, c={"broker": BrokerPhase.STOPPING}), None),
    ),
    (
        "an alarm lasts (disk rabbit@c)",
        lambda: guards.rebalance(cluster(b={"view": View(frozenset(NODES), frozenset(NODES), ("disk rabbit@c",))})),
    ),
    ("rabbit@c is on its way", lambda: guards.rebalance(cluster(c={"broker": BrokerPhase.STARTING, "mutual": None}))),
    ("rabbit@c is on its way", lambda: guards.rebalance(cluster(c={"mutual": False}))),
    ("no member serves", lambda: guards.rebalance(StoreView())),
    ("rabbit@c is in maintenance already, one member", lambda: guards.drain(cluster(c={"drained": True}), B)),
    ("rabbit@e is in maintenance already, one member", lambda: guards.drain(cluster(5, e={"drained": True}), B)),
    ("rabbit@c is stopping", lambda: guards.drain(cluster(c={"broker": BrokerPhase.STOPPING}), B)),
    ("rabbit@c is stopping", lambda: guards.drain(cluster(5, c={"state": "stopping"}), B)),
    (
        "only 1 of 3 members would serve, and 2 are needed: rabbit@c is held",
        lambda: guards.drain(cluster(c={"held": "foreign volume"}), B),
    ),
    ("and 2 are needed: rabbit@c is not proven", lambda: guards.drain(cluster(c={"mutual": None}), B)),
    ("and 2 are needed: rabbit@c is not heard", lambda: guards.drain(without(cluster(), C), B)),
    ("only 0 of 1 members would serve", lambda: guards.drain(cluster(1), A)),
    ("only 1 of 2 members would serve", lambda: guards.drain(cluster(2), B)),
    ("only a serving member", lambda: guards.drain(without(cluster(), C), C)),
    ("the supervisor of rabbit@c is not heard", lambda: guards.revive(without(cluster(), C), C)),
    ("the broker of rabbit@c is down", lambda: guards.revive(cluster(c={"broker": BrokerPhase.DOWN}), C)),
    ("rabbit@c is alive: it has a heartbeat", lambda: guards.forget(cluster(), C)),
    (
        "its supervisor says that its broker is starting",
        lambda: guards.forget(without(cluster(c={"broker": BrokerPhase.STARTING}), C, announced=True), C),
    ),
    (
        "rabbit@b sees its broker run",
        lambda: guards.forget(
            replace(
                without(cluster(), C),
                announcements={
                    A: said(A, (A, B, C), view=View(frozenset((A, B, C)), frozenset((A, B)))),
                    B: said(B, (A, B, C)),
                },
            ),
            C,
        ),
    ),
    ("no broker lists rabbit@d", lambda: guards.forget(cluster(), D)),
    ("no running broker tells whom it lists", lambda: guards.forget(StoreView(members=frozenset((C,))), C)),
    ("only 1 of 3 members would serve", lambda: guards.forget(without(cluster(b={"drained": True}), C), C)),
    ("rabbit@c is not heard: start it with an empty", lambda: guards.replace(without(cluster(), C), C)),
    ("a disk that is not blank (data)", lambda: guards.replace(blank(DiskKind.DATA), C)),
    ("a disk that is not blank (unmarked)", lambda: guards.replace(blank(DiskKind.UNMARKED), C)),
    ("a disk that is not blank (uncommitted)", lambda: guards.replace(blank(DiskKind.UNCOMMITTED), C)),
    ("rabbit@a, rabbit@b sees its broker", lambda: guards.replace(cluster(c={"disk": DiskKind.BLANK}), C)),
    (
        "no broker lists rabbit@d: it joins by itself",
        lambda: guards.replace(
            replace(cluster(), announcements=cluster().announcements | {D: said(D, (), disk=DiskKind.BLANK)}), D
        ),
    ),
    ("the supervisor of rabbit@c is not heard", lambda: guards.rejoin(without(cluster(), C), C)),
    ("was not forgotten by its peers (it is not held)", lambda: guards.rejoin(cluster(), C)),
    ("it is held for another reason: FOREIGN", lambda: guards.rejoin(cluster(c={"held": "FOREIGN volume"}), C)),
    (
        "announces no data (blank)",
        lambda: guards.rejoin(cluster(c={"held": FORGOTTEN, "disk": DiskKind.BLANK}), C),
    ),
    ("the cluster is healthy", lambda: guards.recover(cluster(), Verdict.HEALTHY, A)),
    ("the cluster is degraded", lambda: guards.recover(without(cluster(), C), Verdict.DEGRADED, A)),
    ("the supervisor of rabbit@b is not heard", lambda: guards.recover(alone(), Verdict.UNAVAILABLE, B)),
    (
        "rabbit@a has no data (amnesic)",
        lambda: guards.recover(without(cluster(a={"disk": DiskKind.AMNESIC}), B, C), Verdict.UNAVAILABLE, A),
    ),
    (
        "rabbit@a, rabbit@b are there with their disks, a majority",
        lambda: (
            guards.recover(without(cluster(), B, C, announced=True), Verdict.UNAVAILABLE, A)
            and guards.recover(
                replace(
                    alone(), announcements=alone().announcements | {B: said(B, (A, B, C), broker=BrokerPhase.DOWN)}
                ),
                Verdict.UNAVAILABLE,
                A,
            )
        ),
    ),
]


@pytest.mark.parametrize(("why", "guard"), ACCEPTED, ids=[why for why, _ in ACCEPTED])
def test_what_may_be_asked(why: str, guard: Callable[[], str | None]) -> None:
    """What is safe by everything that is known is not refused."""
    assert guard() is None, why


@pytest.mark.parametrize(("words", "guard"), REFUSED)
def test_what_may_not_be_asked(words: str, guard: Callable[[], str | None]) -> None:
    """Each refusal names who is in the way, and why."""
    found = guard()

    assert found is not None
    assert words in found


def test_busy_says_who_and_since_when() -> None:
    """The record in the way is told: kind, subject, asker, since, age, and how long it may last."""
    under_way = Operation("id", OperationKind.DRAIN, B, B, "operator ann@host", 3, 1_700_000_000.0, 120.0)
    words = guards.busy(replace(cluster(), operation=under_way, operation_left_seconds=98.0)) or ""

    assert words.startswith("busy: drain rabbit@b (by operator ann@host) since 2023-11-14 22:13:20Z (22s ago)")
    assert "its deadline is in 98 s" in words
    assert guards.busy(cluster()) is None


SWARM = ("rabbit@rabbitmq1.example.com", "rabbit@rabbitmq2.example.com", "rabbit@rabbitmq12")
DEMO = ("rmq1@localhost", "rmq2@localhost", "rmq3@localhost")


@pytest.mark.parametrize(
    ("text", "known", "node"),
    [
        ("rabbit@rabbitmq12", SWARM, SWARM[2]),
        ("rabbitmq2.example.com", SWARM, SWARM[1]),
        ("rabbitmq2", SWARM, SWARM[1]),
        ("2", SWARM, SWARM[1]),
        ("12", SWARM, SWARM[2]),
        ("rmq2", DEMO, DEMO[1]),
        ("2", DEMO, DEMO[1]),
    ],
)
def test_how_a_node_may_be_called(text: str, known: tuple[str, ...], node: str) -> None:
    """Full name, host, its first label, or the number at its end, as long as that is one node."""
    assert resolve(text, known) == node


@pytest.mark.parametrize(
    ("text", "known", "words"),
    [
        ("rabbitmq3", SWARM, f"is no known node; known: {', '.join(sorted(SWARM))}"),
        ("rabbit", SWARM, "means more than one node; these: "),
        ("localhost", DEMO, "means more than one node"),
        ("", DEMO, "is no known node"),
        ("rabbitmq", SWARM, "is no known node"),
        ("x\x1b[2J", (), "is no known node; known: none"),
    ],
)
def test_what_names_nobody(text: str, known: tuple[str, ...], words: str) -> None:
    """An unknown or ambiguous name is a usage error that lists whom it could have been."""
    with pytest.raises(NodeUnknown) as refusal:
        resolve(text, known)

    assert words in str(refusal.value)
    assert str(refusal.value).isprintable()
    assert refusal.value.exit_code == 64


QUEUES = [
    {"name": "audit", "vhost": "/fog", "type": "classic", "node": C, "exclusive": False},
    {"name": "mail", "vhost": "/fog", "type": "classic", "node": A},
    {"name": "mirrored", "vhost": "/", "type": "classic", "node": C, "slave_nodes": [A]},
    {"name": "reply", "vhost": "/", "type": "classic", "node": C, "exclusive": True},
    {"name": "safe", "vhost": "/", "type": "quorum", "node": C, "members": [A, B, C]},
    {"name": "single", "vhost": "/", "type": "quorum", "node": C, "members": [C]},
    {"name": "log", "vhost": "/", "type": "stream", "members": [B, C]},
]


def test_which_queues_go_with_a_node() -> None:
    """Classic queues and sole replicas there; not what has a copy elsewhere, nor what goes with its connection."""
    assert queues_only_on(QUEUES, frozenset({C})) == ("classic /fog audit", "quorum / single")
    assert "stream / log" in queues_only_on(QUEUES, frozenset({B, C}))
    assert queues_only_on([], frozenset({C})) == ()
    assert queues_only_on([{"name": "untold", "vhost": "/", "type": "stream"}], frozenset(NODES)) == ()


@pytest.mark.parametrize("nonsense", [None, {}, [1], [{"name": "x"}], [{"name": 1, "vhost": "/"}], 7])
def test_nonsense_is_no_list_of_queues(nonsense: object) -> None:
    """Another shape is unknown, never "nothing is lost"."""
    with pytest.raises(BrokerUnavailable):
        queues_only_on(nonsense, frozenset({C}))
