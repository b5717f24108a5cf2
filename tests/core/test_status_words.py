"""Situations, and the verdict, reasons, NEXT and DO that people must read."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from rmqcluster.core.model import Announcement, BrokerPhase, Claim, DiskKind, Policy, Record, StoreView, View
from rmqcluster.core.status import Sources, Status, Verdict
from rmqcluster.core.status_words import duration, summarise
from rmqcluster.errors import ExitCode

A, B, C = "rabbit@a", "rabbit@b", "rabbit@c"
ALL = frozenset({A, B, C})


def view(*running: str, members: frozenset[str] = ALL, alarms: tuple[str, ...] = ()) -> View:
    return View(members, frozenset(running), alarms)


def said(node: str, seen: View | None = None, **changes: Any) -> Announcement:
    known = Announcement(
        node=node,
        instance=f"i-{node}",
        disk=DiskKind.DATA,
        broker=BrokerPhase.READY,
        cluster_id="id-1",
        version="3.10.8",
        mutual=True,
        view=seen or view(*ALL),
        management=f"{node[-1]}:15672",
        http=f"{node[-1]}:15680",
        state="running",
    )
    return replace(known, **changes)


def store(announcements: Mapping[str, Announcement] | None = None, **changes: Any) -> StoreView:
    known = announcements if announcements is not None else {node: said(node) for node in ALL}
    healthy = StoreView(
        members=frozenset(known),
        master=A,
        record=Record("id-1", 1, A),
        announcements=known,
        heartbeats=dict.fromkeys(known, 12.0),
        epoch=14,
    )
    return replace(healthy, **changes)


def status(reading: StoreView | None, **more: Any) -> Status:
    return summarise(Sources(policy=Policy(), store=reading, store_address="redis:6379", **more))


def without_c(**changes: Any) -> StoreView:
    """C's host is lost: no heartbeat, no announcement, A and B do not see it."""
    return store({node: said(node, view(A, B)) for node in (A, B)}, **changes)


BLANK = {"disk": DiskKind.BLANK, "broker": BrokerPhase.DOWN, "view": None, "mutual": None, "cluster_id": None}
BLANKS = {node: replace(said(node), **BLANK, state="waiting") for node in ALL}
ONLY_A = store({A: said(A, view(A))}, members=frozenset({A}))
SPLIT = store({A: said(A, view(A, B)), B: said(B, view(A, B)), C: said(C, view(B, C))})
HELD = "rabbit@c is forgotten by the cluster DO: rmqcluster rejoin c"

SITUATIONS: dict[str, tuple[Status, Verdict, str, str, str]] = {
    "all is well": (status(store()), Verdict.HEALTHY, "", "", ""),
    "configured differently": (
        status(store({A: said(A, wanted="x"), B: said(B, wanted="x"), C: said(C, wanted="y")})),
        Verdict.DEGRADED,
        "the members are configured with different accounts",
        "provisioning goes on when all live members are configured alike",
        "give all members the same MQ_* settings",
    ),
    "host lost": (
        status(without_c(), lost_seconds={C: 161.0}),
        Verdict.DEGRADED,
        "rabbit@c LOST 2m41s: no heartbeat, 2 of 2 peers do not see it",
        "rabbit@c rejoins by itself with its disk",
        "start the host or container of rabbit@c again",
    ),
    "heartbeat gone, label not moved yet": (
        status(without_c(members=ALL)),
        Verdict.DEGRADED,
        "rabbit@c LOST: no heartbeat",
        "rejoins by itself",
        "start the host",
    ),
    "broker runs without its supervisor": (
        status(store({node: said(node) for node in (A, B)})),
        Verdict.DEGRADED,
        "rabbit@c has no heartbeat, but its broker runs: only marked",
        "registered again",
        "look at the supervisor of rabbit@c",
    ),
    "disk alarm": (
        status(store({node: said(node, view(*ALL, alarms=("disk rabbit@c",))) for node in ALL})),
        Verdict.DEGRADED,
        "disk alarm on rabbit@c",
        "an alarm is not a death",
        "start the consumers",
    ),
    "Redis gone, brokers asked directly": (
        status(None, store_trouble="connection refused", views={node: view(*ALL) for node in ALL}),
        Verdict.DEGRADED,
        "Redis at redis:6379: connection refused",
        "when Redis answers all re-register",
        "bring Redis back",
    ),
    "Redis gone, nobody answers": (
        status(None, store_trouble="connection refused"),
        Verdict.UNKNOWN,
        "Redis at redis:6379: connection refused",
        "when Redis answers",
        "bring Redis back",
    ),
    "majority lost": (
        status(ONLY_A),
        Verdict.UNAVAILABLE,
        "rabbit@b LOST",
        "rabbit@b rejoins by itself with its disk",
        "start the host or container of rabbit@b",
    ),
    "registered names, no supervisor anywhere": (
        status(store({}, members=ALL)),
        Verdict.UNKNOWN,
        "rabbit@a LOST",
        "rejoins",
        "start the host",
    ),
    "member held": (
        status(
            store({A: said(A), B: said(B), C: said(C, held=HELD, mutual=False, broker=BrokerPhase.DOWN, view=None)})
        ),
        Verdict.DEGRADED,
        "rabbit@c HELD: rabbit@c is forgotten by the cluster",
        "stays held until a person decides",
        "rabbit@c: rmqcluster rejoin c",
    ),
    "empty Redis, nobody there": (
        status(StoreView()),
        Verdict.UNAVAILABLE,
        "no committed cluster: 0 of 3 nodes",
        "a founding begins when 2 nodes",
        "start at least 2 more nodes",
    ),
    "two blank nodes, one founds": (
        status(StoreView(announcements={A: BLANKS[A], B: BLANKS[B]}, claim=Claim("id-1", A, "i", 1))),
        Verdict.UNAVAILABLE,
        "no committed cluster: 2 of 3 nodes",
        "rabbit@a is founding",
        "",
    ),
    "joining": (
        status(
            store(
                {A: said(A), B: said(B), C: replace(BLANKS[C], state="joining")},
                members=frozenset({A, B}),
                heartbeats={A: 9.0, B: 9.0},
            )
        ),
        Verdict.DEGRADED,
        "rabbit@c is not registered yet: joining",
        "registers as soon as its membership is proven",
        "",
    ),
    "beats, but stands alone": (
        status(store({A: said(A), B: said(B), C: said(C, view(C, members=frozenset({C})), mutual=False)})),
        Verdict.DEGRADED,
        "rabbit@c beats, but is not a mutual member",
        "repairs its membership",
        "",
    ),
    "one-way cut": (
        status(SPLIT),
        Verdict.DEGRADED,
        "rabbit@a does not see rabbit@c, which runs",
        "find each other again",
        "check the network between rabbit@a and rabbit@c",
    ),
    "foreign id": (
        status(store({A: said(A), B: said(B), C: said(C, cluster_id="id-2")})),
        Verdict.DEGRADED,
        "rabbit@c carries cluster id id-2, Redis says id-1",
        "majority of the disks",
        "",
    ),
    "cookies differ": (
        status(store({A: said(A, cookie="aaaaaaaaaaaa"), B: said(B, cookie="bbbbbbbbbbbb"), C: said(C)})),
        Verdict.DEGRADED,
        "the Erlang cookies differ (fingerprints: rabbit@a aaaaaaa…",
        "cannot join",
        "same RABBITMQ_ERLANG_COOKIE",
    ),
    "no master": (status(store(master=None)), Verdict.DEGRADED, "no master is named", "the monitor names", ""),
    "dead master": (
        status(without_c(master=C)),
        Verdict.DEGRADED,
        "the master rabbit@c is not a live member",
        "the monitor moves the label",
        "start the host or container of rabbit@c",
    ),
    "paused": (status(store(paused="upgrade")), Verdict.DEGRADED, "paused: upgrade", "no automatic act", ""),
    "record lost": (
        status(store(record=None)),
        Verdict.DEGRADED,
        "the cluster record is missing in Redis",
        "restored from a majority of the disks",
        "",
    ),
    "more than expected": (
        summarise(Sources(policy=Policy(size=1), store=store())),
        Verdict.DEGRADED,
        "3 members are known, RMQCLUSTER_SIZE is 1",
        "",
        "set RMQCLUSTER_SIZE",
    ),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_each_situation_has_its_verdict_and_words(name: str) -> None:
    """Each situation is told with its verdict, its reason, what happens by itself and what to type."""
    found, verdict, reason, following, do = SITUATIONS[name]

    assert found.verdict is verdict, found
    assert any(reason in one for one in found.reasons) if reason else found.reasons == (), found.reasons
    assert any(following in one for one in found.next) if following else True, found.next
    assert any(do in one for one in found.do) if do else not found.do, found.do


@pytest.mark.parametrize("name", SITUATIONS)
def test_healthy_means_size_proven_members_and_no_reason(name: str) -> None:
    """The verdict is healthy exactly when all expected members are proven and nothing is to be said."""
    found = SITUATIONS[name][0]

    assert (found.verdict is Verdict.HEALTHY) == (len(found.proven) == found.size and not found.reasons)


def test_exit_codes_follow_the_verdict() -> None:
    """0 healthy, 1 degraded, 2 unavailable or unknown."""
    codes = {verdict: verdict.exit_code for verdict in Verdict}

    assert codes == {
        Verdict.HEALTHY: ExitCode.OK,
        Verdict.DEGRADED: ExitCode.DEGRADED,
        Verdict.UNAVAILABLE: ExitCode.UNAVAILABLE,
        Verdict.UNKNOWN: ExitCode.UNAVAILABLE,
    }


HEADLINES = {
    "all is well": "HEALTHY  3 of 3 members serve.",
    "host lost": "DEGRADED  2 of 3 members serve. One more loss stops all quorum queues.",
    "disk alarm": "BLOCKED  publishers blocked on ALL nodes; consumers work. 3 of 3 members serve.",
    "Redis gone, brokers asked directly": "COORDINATION LOST. Brokers 3 of 3 serve, clients unaffected.",
    "majority lost": "UNAVAILABLE  1 of 3 up; metadata and quorum queues have no majority. Data on the disks is kept.",
    "empty Redis, nobody there": (
        "UNAVAILABLE  no cluster yet: 0 of 3 nodes have announced themselves, a founding needs 2."
    ),
}


@pytest.mark.parametrize("name", HEADLINES)
def test_headline(name: str) -> None:
    """The first line says how bad it is and what still works."""
    assert SITUATIONS[name][0].headline == HEADLINES[name]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0s"), (41.9, "41s"), (252, "4m12s"), (11100, "3h05m"), (187200, "2d04h")]
)
def test_durations_are_read_at_a_glance(seconds: float, words: str) -> None:
    """Two units at most."""
    assert duration(seconds) == words
