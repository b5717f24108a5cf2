"""Nodes that start one by one: the tests share a cluster that grows from one to three, in this order."""

from collections.abc import Iterator

import pytest
from cluster import Cluster, never
from support import wait_until


@pytest.fixture(scope="module")
def growing() -> Iterator[Cluster]:
    made = Cluster()
    try:
        yield made
    finally:
        made.close()


def test_a4_without_redis_a_blank_node_waits_and_says_so(growing: Cluster) -> None:
    """Redis is late: a blank node boots nothing and says what it waits for."""
    growing.start(1)
    wait_until(lambda: growing.logged(1, "blank disk: waiting for Redis"), 10, "it says so")
    never(lambda: growing.has_broker(1), 2, "it booted without Redis")


def test_a_lone_blank_node_waits_and_says_for_whom(growing: Cluster) -> None:
    """One of three is no majority: it boots nothing and says how many it misses."""
    growing.redis_start()
    wait_until(lambda: growing.logged(1, "a founding needs 1 more"), 10, "it says what it waits for")
    never(lambda: growing.has_broker(1), 2, "it booted alone")


def test_a3_two_of_three_found_the_cluster(growing: Cluster) -> None:
    """The second node makes the majority: two members serve, and the verdict says that one is missing."""
    growing.start(2)
    growing.await_members(1, 2)
    assert (growing.status(1) or {})["verdict"] == "degraded"


def test_a7_a_differing_cookie_is_held(growing: Cluster) -> None:
    """A joiner with another Erlang cookie is held with words that never show the cookie; the others are unharmed."""
    other = growing.write_secret("other-cookie", "OTHERCOOKIEVALUE")
    growing.start(3, extra={"RABBITMQ_ERLANG_COOKIE_FILE": str(other)})
    wait_until(lambda: "cookie" in str(growing.row(3).get("held")), 20, "it is held")
    assert not any("OTHERCOOKIEVALUE" in line for line in growing.log(3))
    assert growing.row(1)["mutual"] is True
    growing.terminate(3)
    assert growing.exit_code(3) == 0
    (growing.demo.node_directory(3) / ".erlang.cookie").unlink()


def test_a2_a_late_third_joins_and_queues_grow(growing: Cluster) -> None:
    """The third node joins the founded cluster, and every queue gets a replica on it."""
    growing.start(3)
    growing.await_members()
    growing.assert_one()
    wait_until(
        lambda: {len(one["members"]) for one in growing.api(1, "/api/queues/%2Ffog")[1]} == {3},
        40,
        "every queue has three replicas",
    )
