"""Rows F and H: what a person asks for, and queues that have one copy, under a load that counts every message (H1)."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pika
import pytest
from cluster import TTL_SECONDS, Cluster, never
from failover.ledger import Ledger
from scene import (
    SERVE_SECONDS,
    asked,
    forget,
    goes_on,
    identity,
    listed,
    queues,
    registered,
    under_load,
    whole,
    words,
)
from support import wait_until

BUSY, REFUSED = 75, 1
LONE = "one.copy"
CLASSIC = "classic.copy"


@pytest.fixture(autouse=True)
def load(formed: Cluster) -> Iterator[Ledger]:
    """Every test begins with three members, and ends as the very same cluster with every confirmed message."""
    formed.heal()
    before = identity(formed)
    wait_until(lambda: whole(formed, 1), 60, "every queue has its replicas")
    with under_load(formed) as ledger:
        yield ledger
    formed.assert_one()
    assert identity(formed) == before


def test_f1_clear_on_a_running_cluster(formed: Cluster, load: Ledger) -> None:
    """It says what will follow and asks; a no changes nothing; a yes leaves brokers alone, and all register again."""
    before, found = formed.broker_pids(), formed.redis_dump()
    done = formed.cli(1, "clear", answer="n\n")
    assert done.returncode != 0
    assert "Brokers are not touched" in words(done)
    assert formed.redis_dump()["members"] == found["members"]
    done = formed.cli(1, "clear", answer="y\n")
    assert done.returncode == 0, words(done)
    wait_until(lambda: registered(formed) == found["members"], 15, "everybody registers again")
    wait_until(lambda: formed.redis_dump()["master"], TTL_SECONDS + 10, "a master is named again")
    formed.await_members()
    goes_on(load)
    assert formed.broker_pids() == before


def test_f2_a_live_node_is_not_forgotten(formed: Cluster) -> None:
    """Refused while it has a heartbeat, while only its broker runs, and without its name typed; nothing is changed."""
    done = forget(formed, 3, 1)
    assert done.returncode == REFUSED, words(done)
    assert "alive" in words(done)
    assert formed.cli(1, "forget", formed.name(3), "--yes").returncode == 64
    pid = formed.supervisor_pid(3)
    formed.pause_process(pid)
    try:
        wait_until(lambda: formed.name(3) not in formed.redis_dump()["heartbeats"], 2 * TTL_SECONDS, "its beat ends")
        done = forget(formed, 3, 1)
        assert done.returncode == REFUSED, words(done)
        assert "alive" in words(done)
    finally:
        formed.resume_process(pid)
    assert len(formed.member_names(1)) == 3


def test_f6_the_node_that_queues_need_is_not_drained(formed: Cluster, load: Ledger) -> None:
    """One of three is down: `drain` of another is refused with the reason; `--wait` goes on when it is safe again."""
    formed.kill(3)
    wait_until(lambda: formed.name(3) not in registered(formed), TTL_SECONDS + 5, "its loss is seen")
    done = asked(formed, 1, "drain", formed.name(2), "--yes")
    assert done.returncode == REFUSED, words(done)
    assert "only 1 of 3 members would serve, and 2 are needed" in words(done)
    goes_on(load)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(asked, formed, 1, "drain", formed.name(2), "--yes", "--wait", "--timeout", "80")
        formed.start(3)
        formed.await_members(1, 3)
        done = waiting.result(90)
    assert done.returncode == 0, words(done)
    goes_on(load)
    done = asked(formed, 1, "revive", formed.name(2), "--yes")
    assert done.returncode == 0, words(done)


def test_f7_two_operators_at_once(formed: Cluster) -> None:
    """One of two operations is done; the other asker is told who is busy and since when, or comes after it."""
    with ThreadPoolExecutor(2) as pool:
        both = [
            pool.submit(formed.cli, 1, "drain", formed.name(2), "--yes"),
            pool.submit(formed.cli, 1, "drain", formed.name(3), "--yes"),
        ]
        done = [one.result(90) for one in both]
    try:
        codes = sorted(one.returncode for one in done)
        assert codes[0] == 0, [words(one) for one in done]
        assert codes[1] in (BUSY, REFUSED), [words(one) for one in done]
        loser = next(one for one in done if one.returncode)
        assert "busy: drain" in words(loser) or "maintenance" in words(loser), words(loser)
    finally:
        for number in (2, 3):
            asked(formed, 1, "revive", formed.name(number), "--yes")


def test_f10_without_redis_and_without_brokers(formed: Cluster) -> None:
    """Without Redis, and without brokers, `status` answers from what is there, and its exit code tells."""
    assert formed.cli(1, "status").returncode in (0, 1)
    formed.redis_kill()
    done = formed.cli(1, "status")
    assert done.returncode == 1, words(done)
    assert "COORDINATION LOST" in done.stdout
    assert all(formed.name(n) in done.stdout for n in formed.numbers)
    done = formed.cli(1, "failover", "--yes")
    assert done.returncode == 69, words(done)
    formed.redis_start()
    formed.await_members()
    formed.kill()
    wait_until(lambda: not formed.redis_dump()["heartbeats"], 2 * TTL_SECONDS, "the last heartbeats end")
    done = formed.cli(1, "status")
    assert done.returncode == 2, words(done)
    formed.redis_kill()
    done = formed.cli(1, "status")
    assert done.returncode == 2, words(done)


def test_h2_a_queue_with_one_copy(formed: Cluster, load: Ledger) -> None:
    """It is named beforehand; its node away, it is unavailable and not lost; its node blank, that one is held."""
    try:
        home = _declare(formed, LONE, {"x-queue-type": "quorum", "x-quorum-initial-group-size": 1})
        _publish(formed, home, LONE)
        other = next(n for n in formed.numbers if n != home)
        done = asked(formed, other, "rebalance", "--yes")  # after it the queues are looked at, as every ten minutes
        assert done.returncode == 0, words(done)
        wait_until(lambda: LONE in formed.cli(other, "status").stdout, SERVE_SECONDS, "the status names the queue")
        formed.kill(home)
        wait_until(lambda: formed.name(home) not in registered(formed), TTL_SECONDS + 5, "its loss is seen")
        goes_on(load)
        formed.lose_disk(home)
        formed.start(home)
        wait_until(lambda: formed.row(home).get("held"), 60, "the blank one is held")
        never(lambda: formed.name(home) not in listed(formed, other), 2 * TTL_SECONDS, "it was forgotten")
        formed.heal()
        assert wait_until(lambda: _get(formed, home, LONE), SERVE_SECONDS, "the message is still there") == b"sole"
    finally:
        formed.heal()
        _delete(formed, LONE)


def test_h3_a_classic_queue_on_a_lost_node(formed: Cluster, load: Ledger) -> None:
    """`forget` names it and wants consent; a blank disk in its node's place is held; the good disk has its messages."""
    try:
        home = _declare(formed, CLASSIC, {"x-queue-type": "classic"})
        _publish(formed, home, CLASSIC)
        other = next(n for n in formed.numbers if n != home)
        formed.kill(home)
        wait_until(lambda: formed.name(home) not in registered(formed), TTL_SECONDS + 5, "its loss is seen")
        done = forget(formed, home, other)
        assert done.returncode == REFUSED, words(done)
        assert CLASSIC in words(done)
        assert "--accept-data-loss" in words(done)
        goes_on(load)
        formed.lose_disk(home)
        formed.start(home)
        wait_until(lambda: formed.row(home).get("held"), 60, "the blank one is held")
        never(lambda: formed.name(home) not in listed(formed, other), 2 * TTL_SECONDS, "it was forgotten")
        formed.heal()
        assert wait_until(lambda: _get(formed, home, CLASSIC), SERVE_SECONDS, "the message is still there") == b"sole"
    finally:
        formed.heal()
        _delete(formed, CLASSIC)


def _declare(cluster: Cluster, queue: str, arguments: dict[str, object]) -> int:
    """Declare it; the number of the node that has its only copy."""
    with cluster.channel(3) as channel:
        channel.queue_declare(queue, durable=True, arguments=arguments)
    home = wait_until(lambda: queues(cluster, 1).get(queue, {}).get("node"), SERVE_SECONDS, f"{queue} is told of")
    return next(n for n in cluster.numbers if cluster.name(n) == home)


def _publish(cluster: Cluster, number: int, queue: str) -> None:
    with cluster.channel(number) as channel:
        channel.basic_publish("", queue, b"sole", pika.BasicProperties(delivery_mode=2), mandatory=True)


def _get(cluster: Cluster, number: int, queue: str) -> bytes | None:
    try:
        with cluster.channel(number) as channel:
            return channel.basic_get(queue, auto_ack=True)[2]
    except (pika.exceptions.AMQPError, OSError):
        return None


def _delete(cluster: Cluster, queue: str) -> None:
    with cluster.channel(1) as channel:
        channel.queue_delete(queue)
