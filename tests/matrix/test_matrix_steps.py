"""Rows A and B: nodes that are late, stopped or killed at each step of their first start."""

import time
from collections.abc import Callable, Iterator

import pytest
from cluster import Cluster, never
from support import wait_until

STOP_SECONDS = 9.0  # the budget, and a process's end
PREFIX = "rabbitmq"
LISTED = -1.0  # the moment when the others' brokers list the joiner, before it is registered


@pytest.fixture
def make_cluster() -> Iterator[Callable[[int], Cluster]]:
    made: list[Cluster] = []

    def make(size: int) -> Cluster:
        made.append(Cluster(size))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a1_five_blank_nodes_start_together(make_cluster: Callable[[int], Cluster]) -> None:
    """Five blank nodes and an empty Redis, all at once: one id, all mutual, within 90 seconds."""
    cluster = make_cluster(5)
    cluster.redis_start()
    cluster.start()
    cluster.await_members(seconds=90, provisioned=False)
    cluster.assert_one()


def test_a2_nodes_that_come_late(make_cluster: Callable[[int], Cluster]) -> None:
    """One node alone founds nothing; the second makes the majority; the third joins long after."""
    cluster = make_cluster(3)
    cluster.redis_start()
    cluster.start(1)
    never(lambda: cluster.has_broker(1) or cluster.marker(1) is not None, 5, "one of three founded a cluster")
    cluster.start(2)
    cluster.await_members(1, 2)
    cluster.start(3)
    cluster.await_members()
    cluster.assert_one()


def test_a5_without_redis_only_a_disk_with_data_starts(make_cluster: Callable[[int], Cluster]) -> None:
    """Redis never comes: members start from their disks and serve; a blank node boots nothing and says why."""
    cluster = make_cluster(3)
    cluster.redis_start()
    cluster.start(1, 2)
    cluster.await_members(1, 2)
    cluster.terminate(1, 2)
    assert [cluster.exit_code(number) for number in (1, 2)] == [0, 0]
    cluster.redis_kill()
    cluster.start()
    wait_until(lambda: all(cluster.amqp_is_open(number) for number in (1, 2)), 60, "the members serve")
    assert cluster.logged(3, "blank disk: waiting for Redis")
    assert not cluster.has_broker(3)
    assert not cluster.amqp_is_open(3)


def test_a11_the_founder_dies_before_it_is_up_and_stays_away(make_cluster: Callable[[int], Cluster]) -> None:
    """Killed right after its claim: the claim ends, another takes over, and they are one cluster without it."""
    cluster = make_cluster(3)
    cluster.redis_start()
    cluster.start()
    first = wait_until(lambda: _claimant(cluster), 20, "somebody claims the founding")
    cluster.kill(first)
    others = [number for number in cluster.numbers if number != first]
    cluster.await_members(*others)
    assert len({(cluster.marker(number) or {})["cluster_id"] for number in others}) == 1
    cluster.start(first)
    cluster.await_members()
    cluster.assert_one()


def test_b10_a_stop_at_each_step(make_cluster: Callable[[int], Cluster]) -> None:
    """SIGTERM while waiting, founding and joining: exit 0 within the budget, no broker left; then all form one."""
    cluster = make_cluster(3)
    cluster.start(1)
    wait_until(lambda: cluster.logged(1, "blank disk: waiting for Redis"), 10, "it waits")
    _stop(cluster, 1)
    cluster.redis_start()
    cluster.start(1, 2)
    founder = wait_until(lambda: next((n for n in (1, 2) if cluster.has_broker(n)), None), 20, "the founder boots")
    _stop(cluster, founder)
    cluster.start(founder)
    cluster.await_members(1, 2)
    cluster.start(3)
    wait_until(lambda: cluster.has_broker(3), 20, "the third boots to join")
    _stop(cluster, 3)
    cluster.start(3)
    cluster.await_members()
    cluster.assert_one()


def test_b11_killed_at_each_step_of_a_founding(make_cluster: Callable[[int], Cluster]) -> None:
    """Killed before the claim, after it, and when up as the founder, each time started again: one cluster."""
    cluster = make_cluster(3)
    cluster.redis_start()
    cluster.start()
    steps: dict[str, Callable[[], int | None]] = {
        "announced": lambda: next((n for n in cluster.numbers if _has(cluster, f"node:{cluster.name(n)}:owner")), None),
        "claimed": lambda: _claimant(cluster),
        "offered": lambda: next(
            (n for n in cluster.numbers if cluster.redis_dump()["master"] == cluster.name(n)), None
        ),
    }
    for name, step in steps.items():
        number = wait_until(step, 40, f"somebody has {name}")
        cluster.kill(number)
        cluster.start(number)
    cluster.await_members()
    cluster.assert_one()


@pytest.mark.parametrize("moments", [(0.0, 0.9), (1.2, 1.5), (1.9, LISTED)], ids=str)
def test_b11_killed_at_each_step_of_a_join(
    make_cluster: Callable[[int], Cluster], moments: tuple[float, float]
) -> None:
    """Killed so many seconds after its broker was born to join, and started again: a member once, and no ghost."""
    cluster = make_cluster(5)
    cluster.redis_start()
    cluster.start(1, 2, 3)
    cluster.await_members(1, 2, 3)
    cluster.start(4, 5)
    left, born = dict(zip((4, 5), moments, strict=True)), {}

    def all_killed() -> bool:
        for number in list(left):
            if number not in born and cluster.has_broker(number):
                born[number] = time.monotonic()
            if number in born and _is_time(cluster, number, left[number], time.monotonic() - born[number]):
                cluster.kill(number)
                del left[number]
                cluster.start(number)
        return not left

    wait_until(all_killed, 60, "both were killed in their joins")
    cluster.await_members(seconds=120)
    cluster.assert_one()


def _is_time(cluster: Cluster, number: int, moment: float, seconds: float) -> bool:
    if moment == LISTED:
        return cluster.name(number) in cluster.member_names(1)
    return seconds >= moment


def _claimant(cluster: Cluster) -> int | None:
    """Who has written the intent to found on its disk."""
    return next((n for n in cluster.numbers if (cluster.marker(n) or {}).get("stage") == "founding"), None)


def _has(cluster: Cluster, key: str) -> bool:
    with cluster.redis() as client:
        return bool(client.exists(f"{PREFIX}:{key}"))


def _stop(cluster: Cluster, number: int) -> None:
    cluster.terminate(number)
    assert cluster.exit_code(number, STOP_SECONDS) == 0
    assert not cluster.has_broker(number)
