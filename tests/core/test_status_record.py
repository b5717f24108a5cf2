"""The contract's JSON, the member rows, and the two texts made of them."""

import json
from dataclasses import replace

import pytest
from test_status_words import ALL, REPLACE, SITUATIONS, A, B, C, said, status, store, view, without_c

from rmqcluster.core.model import BrokerPhase, Lease, Policy, StoreView
from rmqcluster.core.status import Moved, Sources, Verdict
from rmqcluster.core.status_format import clock, shown, utc
from rmqcluster.core.status_members import is_mutual, is_running
from rmqcluster.core.status_text import health_text, status_text
from rmqcluster.core.status_words import summarise

KEYS = ["verdict", "reasons", "next", "do", "cluster_id", "size", "epoch", "master", "paused", "members", "redis"]
MEMBER_KEYS = [
    *("node", "role", "registered", "heartbeat_age_seconds", "running", "mutual", "state", "version", "http"),
    *("management", "held"),
]


@pytest.mark.parametrize("name", SITUATIONS)
def test_json_has_exactly_the_contract_keys(name: str) -> None:
    """Every status document has the contract's keys, in its order, and is valid JSON."""
    document = json.loads(json.dumps(SITUATIONS[name][0].as_json()))

    assert list(document) == [*KEYS, "operation"]
    assert list(document["redis"]) == ["reachable", "last_contact_seconds", "warnings"]
    assert all(list(row) == MEMBER_KEYS for row in document["members"])


def test_healthy_document() -> None:
    """A healthy cluster's document, whole."""
    found = status(store(), store_age_seconds=0.5).as_json()
    rows = found.pop("members")

    assert found == {
        "verdict": "healthy",
        "reasons": [],
        "next": [],
        "do": [],
        "cluster_id": "id-1",
        "size": 3,
        "epoch": 14,
        "master": A,
        "paused": None,
        "redis": {"reachable": True, "last_contact_seconds": 0.5, "warnings": []},
        "operation": None,
    }
    assert isinstance(rows, list)
    assert rows[0] == {
        "node": A,
        "role": "master",
        "registered": True,
        "heartbeat_age_seconds": 3.5,
        "running": True,
        "mutual": True,
        "state": "running",
        "version": "3.10.8",
        "http": "a:15680",
        "management": "a:15672",
        "held": None,
    }


RUNS = frozenset(f"i-{node}" for node in ALL)


def looked(whole: frozenset[str], **changes: object) -> StoreView:
    """The lease holder A has seen all replicas with these runs of the members."""
    known = {node: said(node, whole=whole if node == A else frozenset()) for node in ALL}
    return replace(store({**known}, lease=Lease(A, f"i-{A}", 14)), **changes)  # type: ignore[arg-type]


NOT_SEEN = "the monitor has not seen yet that all replicas have caught up"


@pytest.mark.parametrize(
    ("reading", "lacking"),
    [
        (looked(RUNS), ""),
        (looked(RUNS | {"i-of-before"}), ""),
        (looked(RUNS - {f"i-{C}"}), NOT_SEEN),
        (looked(frozenset()), NOT_SEEN),
        (looked(RUNS, lease=None), NOT_SEEN),
        (looked(RUNS, lease=Lease(B, f"i-{B}", 14)), NOT_SEEN),
        (looked(RUNS, lease=Lease("rabbit@monitor", "i-monitor", 14)), ""),
    ],
)
def test_whole_is_what_the_steward_saw_with_these_instances(reading: StoreView, lacking: str) -> None:
    """Every run that is announced must be among those of the steward's last look; nobody to say so is not whole."""
    assert status(reading).lacking == lacking


def test_lacking_says_the_worst_first() -> None:
    """What makes the cluster worse than healthy is told before the look that lacks."""
    assert status(without_c(lease=Lease(A, f"i-{A}", 14))).lacking.startswith("rabbit@c ")
    assert status(None).lacking != ""


def test_other_accounts_keep_no_cluster_from_being_whole() -> None:
    """Members that are restarted one after another with new accounts differ meanwhile; the next one may go."""
    known = {n: said(n, whole=RUNS if n == A else frozenset(), wanted="new" if n == C else "old") for n in ALL}
    found = status(store(known, lease=Lease(A, f"i-{A}", 14)))

    assert found.verdict is Verdict.DEGRADED
    assert found.lacking == ""


@pytest.mark.parametrize(
    ("stamp", "reason"),
    [("", "there are none yet"), ("old", "others are there than are configured"), ("new", ""), (None, "")],
)
def test_accounts_that_are_not_there_are_no_health(stamp: str | None, reason: str) -> None:
    """Clients could not log in: it is said, and not whole, until the broker carries what all are configured for."""
    known = {n: said(n, whole=RUNS if n == A else frozenset(), wanted="new", stamp=stamp) for n in ALL}
    found = status(store(known, lease=Lease(A, f"i-{A}", 14)))

    assert found.verdict is (Verdict.DEGRADED if reason else Verdict.HEALTHY)
    assert reason in found.lacking
    assert bool(found.lacking) is bool(reason)


def test_unknown_is_null_never_false() -> None:
    """Without Redis, what only Redis knows is null."""
    found = status(None, views={A: view(*ALL)}).as_json()
    rows = found["members"]

    assert isinstance(rows, list)
    assert found["epoch"] is None
    assert found["master"] is None
    assert [row["registered"] for row in rows] == [None, None, None]
    assert [row["mutual"] for row in rows] == [None, None, None]
    assert [row["running"] for row in rows] == [True, True, True]


def test_members_are_the_union_of_all_sources() -> None:
    """Registered, announced and listed nodes all get a row."""
    reading = StoreView(members=frozenset({"rabbit@1"}), announcements={"rabbit@2": said("rabbit@2")})
    found = summarise(Sources(policy=Policy(), store=reading, views={"rabbit@3": view("rabbit@4")}))

    assert {row.node for row in found.members} == {"rabbit@1", "rabbit@2", "rabbit@3", *ALL}


@pytest.mark.parametrize(
    ("own", "others", "expected"),
    [
        (None, {}, None),
        (view(*ALL), {B: view(*ALL)}, True),
        (view(*ALL), {}, None),
        (view(*ALL), {B: view(B, members=frozenset({B, C})), C: view(C, members=frozenset({B, C}))}, False),
        (view(A, members=frozenset({A})), {B: view(*ALL), C: view(*ALL)}, False),
        (view(B, members=frozenset({B, C})), {B: view(*ALL), C: view(*ALL)}, False),
    ],
)
def test_mutual_needs_a_majority_that_lists_back(own: object, others: dict[str, object], expected: bool | None) -> None:
    """Local health proves nothing; too few readings prove nothing either way."""
    views = {**others, **({A: own} if own else {})}

    assert is_mutual(A, Policy(), views) is expected  # type: ignore[arg-type]


def test_single_member_is_mutual_with_itself() -> None:
    """A cluster of size 1 needs nobody else."""
    assert is_mutual(A, Policy(size=1), {A: view(A, members=frozenset({A}))}) is True


def test_own_word_on_running_comes_first() -> None:
    """A supervisor that says its broker is down is believed over peers that have not noticed."""
    down = said(C, broker=BrokerPhase.DOWN)

    assert is_running(C, down, {A: view(*ALL)}) is False
    assert is_running(C, None, {A: view(A, B)}) is False
    assert is_running(C, None, {}) is None


def test_heartbeat_that_ran_out_since_the_reading_is_gone() -> None:
    """Ages go on while a reading grows old."""
    reading = store(heartbeats={A: 12.0, B: 12.0, C: 2.0})
    found = status(reading, store_age_seconds=3.0)

    assert [row.heartbeat_age_seconds for row in found.members] == [6.0, 6.0, None]


def test_text_from_redis_cannot_move_the_cursor() -> None:
    """Control, escape and bidirectional characters from Redis are shown as escapes, in text and JSON alike."""
    evil = "x\x1b[2J\r\n\u202egnp"
    reading = store({A: said(A, state=evil, version=evil, held=evil), B: said(B), C: said(C)}, paused=evil, master=evil)
    found = status(reading)

    assert all(line.isprintable() for line in status_text(found, 0.0).split("\n"))
    assert all(line.isprintable() for line in health_text(found, "healthy").split("\n"))
    assert "\\u001b" not in json.dumps(found.as_json())


def test_shown_limits_length() -> None:
    """A huge value is cut."""
    assert len(shown("x" * 10_000)) == 400


@pytest.mark.parametrize("name", SITUATIONS)
def test_text_is_short(name: str) -> None:
    """Under ten lines before the member table, with NEXT, DO and what not to do at their end."""
    lines = status_text(SITUATIONS[name][0], 1_700_000_000.0).split("\n\n")[0].split("\n")
    ends = [line[:5] for line in lines if line.startswith(("NEXT ", "DO   ", "DON'T"))]

    assert len(lines) < 10
    assert ends in (["NEXT ", "DO   "], ["NEXT ", "DO   ", "DON'T"])
    assert lines[-len(ends) :] == [line for line in lines if line[:5] in ends]


def test_status_text_of_a_lost_host() -> None:
    """The whole text, as an operator reads it."""
    moved = Moved(was=C, to=A, at=1_699_999_880.0, epoch=14)
    text = status_text(status(without_c(), lost_seconds={C: 161.0}, moved=moved), 1_700_000_000.0)

    assert text.split("\n\n")[0] == (
        "DEGRADED  2 of 3 members serve, clients OK via a b. One more loss stops all quorum queues.\n"
        "rabbit@c LOST 2m41s: no heartbeat, 2 of 2 peers do not see it\n"
        "2 of 3 members are mutual and registered\n"
        "master rabbit@a (was rabbit@c, moved 22:11:20Z, epoch 14), cluster id-1, epoch 14, 2023-11-14 22:13:20Z\n"
        "NEXT nothing is forgotten: rabbit@c rejoins by itself with its disk\n"
        "DO   nothing tonight. Its disk gone for good: start rabbit@c with a blank one and, if it is held then, "
        "rmqcluster replace rabbit@c. Never to return: rmqcluster forget rabbit@c"
    )


def test_operation_is_told_with_who_since_when_and_how_long() -> None:
    """The record is in the JSON as it stands, its remaining time counted down since the reading; and in the text."""
    found = status(store(operation=REPLACE, operation_left_seconds=100.0), store_age_seconds=10.0)
    line = next(one for one in status_text(found, 0.0).split("\n") if one.startswith("OPERATION"))

    assert found.as_json()["operation"] == {
        "kind": "replace",
        "subject": C,
        "by": "monitor rabbit@a",
        "since": 1_700_000_000.0,
        "seconds_left": 90.0,
        "epoch": 14,
    }
    assert line == (
        "OPERATION replace rabbit@c (by monitor rabbit@a) since 22:13:20Z: "
        "a member whose disk is gone is replaced; at most 1m30s left"
    )


def test_old_moves_of_the_master_are_history() -> None:
    """A move of last week, or of a label that has moved on since, is no news."""
    now = 1_700_000_000.0
    old = status(store(), moved=Moved(B, A, now - 7 * 86400, 9))
    other = status(store(), moved=Moved(A, B, now - 60, 9))

    assert "(was" not in status_text(old, now)
    assert "(was" not in status_text(other, now)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1e30, 1e30])
def test_a_time_that_is_none_is_unknown(seconds: float) -> None:
    """Times come from Redis; one that no calendar knows breaks nothing."""
    assert utc(seconds) == clock(seconds) == "unknown"


def test_health_report_lines() -> None:
    """The health report has the contract's lines, word for word."""
    names = [f"rabbit@rabbitmq{number}" for number in (1, 2, 3)]
    seen = view(*names, members=frozenset(names))
    found = status(store({name: replace(said(A, seen), node=name) for name in names}, master=names[0]))

    assert health_text(found, "healthy") == (
        "Service Health\n"
        "rabbitmq1: healthy\n"
        "rabbitmq2: healthy\n"
        "rabbitmq3: healthy\n"
        "redis: healthy\n"
        "Redis Coordinator\n"
        "Members: rabbit@rabbitmq1 rabbit@rabbitmq2 rabbit@rabbitmq3\n"
        "Master:  rabbit@rabbitmq1\n"
        "postgres: healthy"
    )


def test_health_report_says_what_is_wrong() -> None:
    """Other words than healthy say what is wrong; unknown is said as unknown."""
    lost, silent = health_text(status(without_c()), "not configured"), health_text(status(None), "not configured")

    assert "c: lost" in lost.split("\n")
    assert "redis: unreachable" in silent.split("\n")
    assert "Members: unknown" in silent.split("\n")
    assert "Master:  unknown" in silent.split("\n")
