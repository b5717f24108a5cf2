"""Cold starts: in any order, with delays and losses, there is exactly one cluster in the end."""

import random
import time
from collections.abc import Callable

import pytest
from cluster import Cluster
from support import wait_until


@pytest.mark.parametrize("seed", range(10))
def test_a1_cold_start_race(cluster: Cluster, seed: int) -> None:
    """Three blank nodes and Redis start in a random order with random delays: exactly one cluster."""
    chooser = random.Random(seed)
    starts: list[Callable[[], None]] = [
        cluster.redis_start,
        *(lambda number=number: cluster.start(number) for number in cluster.numbers),
    ]
    chooser.shuffle(starts)
    for start in starts:
        start()
        time.sleep(chooser.choice((0, 0, 0.05, 0.2, 0.7)))  # the schedule under test, not a wait for something
    cluster.await_members(provisioned=False)
    cluster.assert_one()


def test_a5_a_blank_node_gives_up_on_redis_with_the_reason(make_cluster: Callable[..., Cluster]) -> None:
    """The wait of a blank node for Redis is bounded: exit 69, with the address that did not answer."""
    cluster = make_cluster(1, {"RMQCLUSTER_REDIS_WAIT_SECONDS": "2"})
    cluster.start(1)
    assert cluster.exit_code(1, seconds=15) == 69
    assert cluster.logged(1, "Redis did not answer")


@pytest.mark.parametrize("size", [1, 5])
def test_other_sizes(make_cluster: Callable[..., Cluster], size: int) -> None:
    """One node is a cluster of one; five nodes are one cluster."""
    cluster = make_cluster(size)
    cluster.form()
    cluster.assert_one()


def test_joining_by_rabbitmqctl(make_cluster: Callable[..., Cluster]) -> None:
    """RMQCLUSTER_JOIN=rabbitmqctl forms the same cluster by stop_app, join_cluster, start_app."""
    cluster = make_cluster(3, {"RMQCLUSTER_JOIN": "rabbitmqctl"})
    cluster.form()
    cluster.assert_one()


def test_a11_the_founder_dies_while_founding(cluster: Cluster) -> None:
    """The founder is killed when others may join it, and returns: the others take over, one cluster in the end."""
    cluster.redis_start()
    cluster.start()
    founder = wait_until(lambda: _founder(cluster), 20, "somebody claims the founding")
    wait_until(lambda: cluster.redis_dump()["master"] == cluster.name(founder), 20, "it offers itself")
    cluster.kill(founder)
    cluster.await_members(*(n for n in cluster.numbers if n != founder))
    cluster.start(founder)
    cluster.await_members()
    cluster.assert_one()


def test_a11_the_founder_hangs_while_founding_and_wakes_later(cluster: Cluster) -> None:
    """A founder that is paused beyond its claim founds nothing on waking: one cluster in the end."""
    cluster.redis_start()
    cluster.start()
    founder = wait_until(lambda: _founder(cluster), 20, "somebody claims the founding")
    cluster.pause(founder)
    try:
        cluster.await_members(*(n for n in cluster.numbers if n != founder))
    finally:
        cluster.resume(founder)
    cluster.await_members()
    cluster.assert_one()


def test_the_master_dies_while_another_joins(cluster: Cluster) -> None:
    """Two members, the third joins through the master, which is killed meanwhile and returns: three members."""
    cluster.redis_start()
    cluster.start(1, 2)
    cluster.await_members(1, 2)
    master = next(n for n in (1, 2) if cluster.name(n) == cluster.redis_dump()["master"])
    cluster.start(3)
    wait_until(lambda: cluster.has_broker(3), 20, "the third node boots to join")
    cluster.kill(master)
    cluster.start(master)
    cluster.await_members()
    cluster.assert_one()


def _founder(cluster: Cluster) -> int | None:
    """Who has written the intent to found on its disk."""
    for number in cluster.numbers:
        marker = cluster.marker(number)
        if marker is not None and marker["stage"] == "founding":
            return number
    return None
