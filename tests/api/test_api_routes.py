"""The routes as a table: what each answers in each situation, and who may change something."""

import json
import re
from dataclasses import replace

import pytest
from scenes import ALL, COOKIE, ME, NOW, TOKEN, published, scene, store

from rmqcluster.agent.published import Published
from rmqcluster.api.routes import ROUTES, Answer, Request, answer
from rmqcluster.core.model import BrokerPhase, Decision, Disk, Lease, Marker, Operation, OperationKind, Stage, View
from rmqcluster.core.queues import QueueFacts, QueueKind, QueueReport

HELD = Decision(110, "held", state="held", held="foreign volume DO: mount the right one")
MUTATING = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW")
PATHS = (*ROUTES, "/nothing", "")


def get(path: str, shown: Published | None, age_seconds: float = 0.1) -> Answer:
    return answer(Request("GET", path), scene(shown, age_seconds=age_seconds))


@pytest.mark.parametrize(
    ("shown", "age_seconds", "status"),
    [
        (published(), 0.1, 200),
        (published(phase=BrokerPhase.STARTING, mutual=None, registered=False), 0.1, 200),
        (published(decision=HELD, mutual=False, registered=False), 0.1, 200),
        (published(store=None, registered=False), 0.1, 200),
        (published(), 10.5, 503),
        (None, 9.0, 200),
        (None, 10.5, 503),
    ],
)
def test_livez_is_green_while_the_loop_turns(shown: Published | None, age_seconds: float, status: int) -> None:
    """Waiting, booting, held, without Redis: alive. Only a loop that hangs is not."""
    assert get("/livez", shown, age_seconds).status == status


@pytest.mark.parametrize(
    ("shown", "age_seconds", "status", "reason"),
    [
        (published(), 0.1, 200, "ready"),
        (published(store=None, registered=False), 0.1, 200, "ready"),
        (published(registered=False), 0.1, 503, "not registered yet"),
        (published(mutual=None), 0.1, 503, "membership is unknown"),
        (published(mutual=False), 0.1, 503, "membership is not mutual"),
        (published(phase=BrokerPhase.STARTING), 0.1, 503, "the broker is starting"),
        (published(decision=HELD), 0.1, 503, "held: foreign volume"),
        (published(), 11.0, 503, "the loop does not turn"),
        (None, 0.1, 503, "starting"),
    ],
)
def test_readyz_only_for_a_proven_member(shown: Published | None, age_seconds: float, status: int, reason: str) -> None:
    """Clients may come when the broker is up, mutual, and registered unless Redis is lost; else the body says why."""
    found = get("/readyz", shown, age_seconds)

    assert found.status == status
    assert reason in found.body


def test_status_is_the_contract_document() -> None:
    """/status is the same document as `status --json`, from this supervisor's own observation."""
    found = json.loads(get("/status", published()).body)

    assert found["verdict"] == "healthy"
    assert found["redis"] == {"reachable": True, "last_contact_seconds": 0.1, "warnings": []}
    assert [row["node"] for row in found["members"]] == [ME, "rabbit@b", "rabbit@c"]


def test_status_without_redis_knows_the_brokers() -> None:
    """Without Redis the document still says who runs, and since when Redis is silent."""
    shown = published(store=None, store_since=NOW - 30.0, store_trouble="connection refused")
    found = json.loads(get("/status", shown).body)
    me = next(row for row in found["members"] if row["node"] == ME)

    assert found["verdict"] == "degraded"
    assert found["redis"]["reachable"] is False
    assert found["redis"]["last_contact_seconds"] == 30.1
    assert [row["running"] for row in found["members"]] == [True, True, True]
    assert (me["mutual"], me["registered"], me["http"]) == (True, None, "a:0")


def test_redis_that_was_never_there_has_no_last_contact() -> None:
    """Never heard is unknown, not zero."""
    found = json.loads(get("/status", published(store=None)).body)

    assert found["redis"]["last_contact_seconds"] is None


def test_metrics_are_well_formed_and_omit_the_unknown() -> None:
    """Every line is a comment or a sample; an unknown value has no sample."""
    text = get("/metrics", published(mutual=None)).body
    sample = re.compile(r'[a-z_]+(\{[a-z]+="([^"\\\n]|\\.)*"\})? -?[0-9.e+]+')

    assert all(line.startswith("# ") or sample.fullmatch(line) for line in text.splitlines())
    assert "\nrmqcluster_mutual" not in text
    assert 'rmqcluster_verdict{verdict="healthy"} 1' in text
    assert 'rmqcluster_member_running{node="rabbit@b"} 1' in text


def test_operation_under_way_is_in_every_answer() -> None:
    """/status, the page and the metrics tell the one operation; it makes nothing less healthy."""
    operation = Operation("o", OperationKind.REBALANCE, "", "", "monitor rabbit@a", 3, 1_700_000_000.0, 120.0)
    shown = published(store=replace(store(), operation=operation, operation_left_seconds=60.1))
    found = json.loads(get("/status", shown).body)
    text = get("/metrics", shown).body

    assert found["verdict"] == "healthy"
    assert (found["operation"]["kind"], found["operation"]["seconds_left"]) == ("rebalance", 60.0)
    assert "OPERATION rebalance (by monitor rabbit@a) since 22:13:20Z" in get("/", shown).body
    assert "\nrmqcluster_operation_in_progress 1\n" in text
    assert 'rmqcluster_operation_seconds_left{kind="rebalance"} 60' in text
    assert "\nrmqcluster_operation_in_progress 0\n" in get("/metrics", published()).body
    assert "rmqcluster_operation_in_progress" not in get("/metrics", published(store=None)).body


def test_page_keeps_apart_what_must_not_be_typed() -> None:
    """With a lost majority the page has a line of its own for what would destroy the data."""
    alone = View(ALL, frozenset({ME}))
    mine = {ME: replace(store().announcements[ME], view=alone)}
    shown = published(view=alone, store=replace(store(), announcements=mine, heartbeats={ME: 14.0}))
    body = get("/", shown).body

    assert "UNAVAILABLE  1 of 3 up" in body
    assert "<dt>DON&#x27;T</dt><dd>docker volume rm, make clean, forget</dd>" in body


def test_lost_members_are_told_since_when_my_broker_misses_them() -> None:
    """A supervisor has no history at hand, but its broker's word: age and last host of what is missing."""
    seen = published(store=replace(store(), announcements={}, heartbeats={}), view=View(ALL, frozenset({ME})))
    marker = Marker("id-1", Stage.MEMBER, 1, hosts=(("rabbit@b", "manager2"),))
    missing = replace(
        seen.observation, missed_since={"rabbit@b": NOW - 40.0, "rabbit@c": NOW - 20.0}, disk=Disk(True, marker)
    )
    reasons = json.loads(get("/status", replace(seen, observation=missing)).body)["reasons"]

    assert any(reason.startswith("rabbit@b LOST 40s (host manager2)") for reason in reasons)


def test_only_the_lease_holder_counts_queues() -> None:
    """Its look is the newest; what another member saw when it held the lease is no sample."""
    queue = QueueFacts("/", "tasks", QueueKind.QUORUM, members=ALL, online=frozenset({ME}))
    seen = published()
    looked = replace(seen.observation, queues=QueueReport((queue,), ALL, ALL))
    texts = [
        get("/metrics", replace(seen, observation=replace(looked, store=replace(store(), lease=lease)))).body
        for lease in (Lease(ME, "i", 3), Lease("rabbit@b", "other", 3), None)
    ]

    assert "\nrmqcluster_queues_short_of_replicas 1\n" in texts[0]
    assert "\nrmqcluster_queues_leaderless 1\n" in texts[0]
    assert ["rmqcluster_queues" in text for text in texts] == [True, False, False]


def test_page_escapes_what_comes_from_outside() -> None:
    """Markup in a value from Redis is text on the page."""
    evil = "<script>alert(1)</script>\"'&"
    found = get("/", published(store=replace(store(), paused=evil, master=evil)))

    assert "<script" not in found.body
    assert "&lt;script&gt;" in found.body
    assert "default-src 'none'" in dict(found.headers)["Content-Security-Policy"]


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("shown", [published(), published(decision=HELD), published(store=None), None])
def test_no_route_tells_a_secret(path: str, shown: Published | None) -> None:
    """Neither the token nor the cookie is in any answer."""
    found = get(path, shown)

    assert TOKEN not in repr(found)
    assert COOKIE not in repr(found)


@pytest.mark.parametrize("method", MUTATING)
@pytest.mark.parametrize("path", PATHS)
def test_every_route_refuses_a_change_without_the_token(path: str, method: str) -> None:
    """401 without or with a wrong token, 403 when no token is configured: on every route, also on none."""
    for given in (None, "", "Bearer", "Bearer wrong", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN} ", "Bearer \udce9é"):
        assert answer(Request(method, path, given), scene(published())).status == 401

    for given in (None, "Bearer ", f"Bearer {TOKEN}"):
        assert answer(Request(method, path, given), scene(published(), token=False)).status == 403


@pytest.mark.parametrize("path", ROUTES)
def test_reading_routes_take_no_other_method_even_with_the_token(path: str) -> None:
    """With the token a method that the route does not have is 405 and names those that it has."""
    found = answer(Request("POST", path, f"Bearer {TOKEN}"), scene(published()))

    assert found.status == 405
    assert ("Allow", "GET, HEAD") in found.headers


def test_unknown_paths_are_404() -> None:
    """No redirect, no guess."""
    for path in ("/status/", "/STATUS", "//", "/nothing", "/..", ""):
        assert get(path, published()).status == 404
