"""Situations, and the verdict, reasons, NEXT and DO that people must read."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from rmqcluster.core.model import (
    Announcement,
    BrokerPhase,
    Claim,
    DiskKind,
    Lease,
    Operation,
    OperationKind,
    Policy,
    Record,
    StoreView,
    View,
)
from rmqcluster.core.status import Sources, Status, Verdict
from rmqcluster.core.status_format import duration
from rmqcluster.core.status_words import summarise
from rmqcluster.errors import ExitCode

A, B, C = "rabbit@a", "rabbit@b", "rabbit@c"
ALL = frozenset({A, B, C})


def view(*running: str, members: frozenset[str] = ALL, alarms: tuple[str, ...] = ()) -> View:
    return View(members, frozenset(running), alarms)


def said(node: str, seen: View | None = None, **changes: Any) -> Announcement:
    """A healthy member's own words."""
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

REBALANCE = Operation("o-1", OperationKind.REBALANCE, "", "", "monitor rabbit@a", 14, 1_700_000_000.0, 120.0)
REPLACE = replace(REBALANCE, kind=OperationKind.REPLACE, subject=C)
SINGLE = "2 single-replica queues: / audit, mail"
BOOTING: dict[str, Any] = {
    "broker": BrokerPhase.STARTING,
    "view": None,
    "mutual": None,
    "listed": ALL,
    "state": "booting",
}
WIPED: dict[str, Any] = {
    "disk": DiskKind.AMNESIC,
    "broker": BrokerPhase.DOWN,
    "view": None,
    "mutual": None,
    "state": "waiting",
    "host": "manager3",
}


def steward(*notes: str, **changes: Any) -> StoreView:
    """A healthy cluster whose lease holder looked at the queues."""
    known = {A: said(A, notes=notes), B: said(B), C: said(C)}
    return store(known, lease=Lease(A, f"i-{A}", 14), **changes)


def wiped(*notes: str, finding: str = "", seen: View | None = None, **of_c: Any) -> StoreView:
    """C is there without its data; A holds the lease."""
    seen = seen or view(A, B)
    known = {
        A: said(A, seen, notes=notes, findings=(finding,) if finding else ()),
        B: said(B, seen),
        C: replace(said(C), **{**WIPED, **of_c}),
    }
    pair = frozenset({A, B})
    return store(known, lease=Lease(A, f"i-{A}", 14), members=pair, heartbeats=dict.fromkeys(pair, 12.0))


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
        "nothing is forgotten: rabbit@c rejoins by itself with its disk",
        (
            "nothing tonight. Its disk gone for good: start rabbit@c with a blank one and, if it is held then, "
            "rmqcluster replace rabbit@c. Never to return: rmqcluster forget rabbit@c"
        ),
    ),
    "heartbeat gone, label not moved yet": (
        status(without_c(members=ALL)),
        Verdict.DEGRADED,
        "rabbit@c LOST: no heartbeat",
        "rejoins by itself",
        "nothing tonight",
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
        "rabbit@a WAITING for any 1 of: rabbit@b, rabbit@c",
        "nothing, ever: it serves within seconds of one of them returning",
        (
            "power on rabbit@b OR rabbit@c, or mend the network there. All these disks gone for good: "
            "rmqcluster recover --from rabbit@a"
        ),
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
                {A: said(A), B: said(B), C: replace(BLANKS[C], state="joining", broker=BrokerPhase.STARTING)},
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
        "nothing tonight",
    ),
    "paused": (
        status(store(paused="upgrade, until 03:40:00Z")),
        Verdict.DEGRADED,
        "PAUSED: upgrade, until 03:40:00Z",
        "no automatic act",
        "rmqcluster resume",
    ),
    "record lost": (
        status(store(record=None)),
        Verdict.DEGRADED,
        "the cluster record is missing in Redis",
        "restored from a majority of the disks",
        "",
    ),
    "drained": (
        status(store({A: said(A), B: said(B), C: said(C, drained=True)})),
        Verdict.DEGRADED,
        "rabbit@c DRAINED: in maintenance",
        "stays drained until it is revived or restarted",
        "rmqcluster revive rabbit@c",
    ),
    "stopping": (
        status(
            store(
                {A: said(A), B: said(B), C: said(C, state="stopping", broker=BrokerPhase.STOPPING)},
                members=frozenset({A, B}),
                heartbeats={A: 9.0, B: 9.0},
            )
        ),
        Verdict.DEGRADED,
        "rabbit@c is STOPPING: it was asked to stop",
        "rejoins by itself with its disk",
        "",
    ),
    "stopped on request": (
        status(without_c(), stopped_seconds={C: 65.0}),
        Verdict.DEGRADED,
        "rabbit@c STOPPED 1m05s ago: it was asked to stop",
        "started again, rabbit@c rejoins by itself",
        "start rabbit@c when it is due",
    ),
    "one name, two instances": (
        status(
            store({A: said(A), B: said(B), C: said(C, state="twin")}, heartbeats={A: 9.0, B: 9.0}),
        ),
        Verdict.DEGRADED,
        "rabbit@c is not registered: another instance beats under its name",
        "the second one writes no heartbeat",
        "stop one of the two instances of rabbit@c",
    ),
    "rebalance under way": (
        status(store(operation=REBALANCE, operation_left_seconds=118.0)),
        Verdict.HEALTHY,
        "",
        "the rebalance ends by itself",
        "",
    ),
    "deliberate single replicas": (status(steward(SINGLE)), Verdict.HEALTHY, "", "", ""),
    "replicas missing": (
        status(steward("412 queues at 2/3 replicas, 0 leaderless")),
        Verdict.DEGRADED,
        "412 queues at 2/3 replicas",
        "missing replicas grow to each queue's target by themselves",
        "",
    ),
    "blank disk, to be replaced": (
        status(wiped(finding="rabbit@c waits for other replicas of / tasks to be there and caught up")),
        Verdict.DEGRADED,
        "rabbit@c BLANK DISK under a known name (host manager3); client ports CLOSED: waits for other replicas",
        "rabbit@c is replaced by itself as soon as",
        "DON'T restart the other members",
    ),
    "majority of the disks gone": (
        status(
            store(
                {A: said(A, view(A)), B: said(B, **WIPED), C: said(C, **WIPED)},
                members=frozenset({A}),
                heartbeats={A: 9.0},
            )
        ),
        Verdict.UNAVAILABLE,
        "2 of 3 disks are gone (rabbit@b, rabbit@c): no majority of the disks is left",
        "what is left is kept as it is",
        "mount the good disks of rabbit@b, rabbit@c. All these disks gone for good: rmqcluster recover --from rabbit@a",
    ),
    "all boot after a power cut": (
        status(store({node: said(node, **BOOTING) for node in ALL}, heartbeats={}, members=frozenset())),
        Verdict.UNAVAILABLE,
        "rabbit@a, rabbit@b, rabbit@c are not registered yet: booting",
        "each of them registers as soon as its membership is proven",
        "",
    ),
    "fewer than expected": (
        summarise(Sources(policy=Policy(size=5), store=store())),
        Verdict.DEGRADED,
        "3 of 5 members are mutual and registered, 3 are known",
        "a node with a blank disk joins by itself",
        "start 2 more nodes, or set RMQCLUSTER_SIZE=3",
    ),
    "more than expected": (
        summarise(Sources(policy=Policy(size=1), store=store())),
        Verdict.DEGRADED,
        "3 members are known, RMQCLUSTER_SIZE is 1",
        "",
        "to grow: set RMQCLUSTER_SIZE=3 on every node; to shrink: rmqcluster drain N",
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
    "host lost": "DEGRADED  2 of 3 members serve, clients OK via a b. One more loss stops all quorum queues.",
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
    ("changes", "told"),
    [
        ({"disk": DiskKind.BLANK, "cluster_id": None}, True),
        ({"disk": DiskKind.BLANK, "cluster_id": "id-1"}, False),
        ({"disk": DiskKind.AMNESIC}, True),
        ({"disk": DiskKind.UNCOMMITTED}, False),
    ],
)
def test_a_blank_disk_is_told_apart_from_a_join(changes: dict[str, Any], told: bool) -> None:
    """A disk without data under a listed name was wiped, unless it carries the intention to join this cluster."""
    found = status(wiped(**changes))

    assert any("BLANK DISK" in reason for reason in found.reasons) is told
    assert any("not registered yet" in reason for reason in found.reasons) is not told


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        ("", "nobody has looked at its queues yet"),
        ("rabbit@c ", "nothing is in the way of replacing it"),
        ("rabbit@cc waits for x", "nobody has looked"),
    ],
)
def test_what_keeps_a_wiped_member_from_being_replaced(finding: str, words: str) -> None:
    """The finding about exactly this member is told; without one, that nobody has looked."""
    assert any(words in reason for reason in status(wiped(finding=finding)).reasons)


PAIR = frozenset({A, B})
STEPS = [
    (wiped(), 1, "its old self is being forgotten; client ports CLOSED"),
    (wiped(seen=view(A, B, members=PAIR)), 2, "old self forgotten, it boots next"),
    (wiped(seen=view(A, B, members=PAIR), broker=BrokerPhase.STARTING), 3, "it boots and joins"),
    (steward("292 queues at 2/3 replicas"), 4, "old self forgotten, joined, its replicas grow"),
    (steward(SINGLE), 5, "replicas are there"),
]


@pytest.mark.parametrize(("reading", "step", "words"), STEPS)
def test_replacing_shows_its_step(reading: StoreView, step: int, words: str) -> None:
    """How far a wiped member has come is read from what the brokers list, with what must not be done meanwhile."""
    found = status(replace(reading, operation=REPLACE, operation_left_seconds=60.0))
    shown = next(reason for reason in found.reasons if "REPLACING" in reason)

    assert shown.startswith(f"rabbit@c REPLACING {step}/5: majority ok, ")
    assert words in shown
    assert found.verdict is Verdict.DEGRADED
    assert any(item.startswith("DON'T restart rabbit@a or rabbit@b") for item in found.do)
    assert not any("BLANK DISK" in reason for reason in found.reasons)


def test_notes_of_others_than_the_lease_holder_do_not_count() -> None:
    """What a former lease holder still announces is old; without a lease nobody's look counts."""
    notes = ("9 queues at 1/3 replicas, 9 leaderless",)
    known = {A: said(A), B: said(B, notes=notes), C: said(C)}

    assert status(store(known, lease=Lease(A, "i", 14))).verdict is Verdict.HEALTHY
    assert status(store(known)).verdict is Verdict.HEALTHY
    assert status(store(known, lease=Lease(B, "i", 14))).verdict is Verdict.DEGRADED


def test_notes_are_told_by_the_master_while_a_monitor_without_a_broker_holds_the_lease() -> None:
    """A monitor that is no member cannot look at queues itself; the master does it."""
    known = {A: said(A, notes=("9 queues at 1/3 replicas",)), B: said(B), C: said(C)}

    assert status(store(known, lease=Lease("monitor@x", "i", 14))).reasons[0] == "9 queues at 1/3 replicas"


def test_recover_is_not_offered_while_anything_is_unknown() -> None:
    """A majority that may serve unseen is no lost majority: no word of recover."""
    found = status(None, named=ALL, reports={A: said(A, view=None)})

    assert found.verdict is Verdict.UNKNOWN
    assert not any("recover" in item for item in found.do)


def test_recover_is_not_offered_to_one_who_hears_nobody() -> None:
    """Without Redis a lone broker may be the one that is cut off: it is not told to go on alone."""
    found = status(None, views={A: view(A)})

    assert found.verdict is Verdict.UNAVAILABLE
    assert any("rabbit@a WAITING for any 1 of" in reason for reason in found.reasons)
    assert not any("recover" in item for item in found.do)


def test_a_member_that_stops_is_not_named_for_clients() -> None:
    """Its broker still runs, and clients are better sent to the others."""
    going = said(C, state="stopping", broker=BrokerPhase.STOPPING)

    assert "clients OK via a b." in status(store({A: said(A), B: said(B), C: going})).headline


def test_majority_of_an_old_mnesia_that_boots_may_need_all() -> None:
    """Before 4.3 the survivors of a common death may wait for all of them, and the screen says so."""
    old, new = (
        status(store({A: said(A, **BOOTING, version=version)}, members=frozenset(), heartbeats={}))
        for version in ("3.10.8", "4.3.0")
    )

    assert any("may all be needed" in item for item in old.next)
    assert not any("may all be needed" in item for item in new.next)


def test_even_size_is_told_and_harmless() -> None:
    """Four members bear no more losses than three; that is worth a line, not a verdict."""
    four = {node: said(node, view(*ALL, "rabbit@d", members=ALL | {"rabbit@d"})) for node in (*ALL, "rabbit@d")}
    found = summarise(Sources(policy=Policy(size=4), store=store(four)))

    assert found.verdict is Verdict.HEALTHY
    assert found.notes == ("RMQCLUSTER_SIZE is 4: an even size bears no more losses than 3",)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0s"), (41.9, "41s"), (252, "4m12s"), (11100, "3h05m"), (187200, "2d04h")]
)
def test_durations_are_read_at_a_glance(seconds: float, words: str) -> None:
    """Two units at most."""
    assert duration(seconds) == words
