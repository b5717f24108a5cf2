"""Redis is a coordinator that may go, lie or come back empty: brokers are never touched for it."""

import pytest
from cluster import TTL_SECONDS, Cluster, never
from support import wait_until


@pytest.fixture(autouse=True)
def whole(formed: Cluster) -> None:
    """Every test begins and ends with three members and a Redis."""
    formed.heal()


def test_c3_redis_killed_and_returned_empty(formed: Cluster) -> None:
    """Redis dies for longer than the TTL and returns empty: same brokers, same id, keys rebuilt."""
    before, found = formed.broker_pids(), formed.redis_dump()
    formed.redis_kill()
    never(lambda: formed.broker_pids() != before, TTL_SECONDS + 2, "a broker was touched")
    with formed.channel(1) as channel:
        channel.basic_publish("tasks.direct", "normal", b"without redis", mandatory=True)
    formed.redis_start()
    formed.await_members()
    wait_until(lambda: formed.redis_dump()["members"] == found["members"], 10, "everyone registers again")
    wait_until(lambda: formed.redis_dump()["master"] is not None, TTL_SECONDS + 5, "a master is named again")
    assert formed.broker_pids() == before
    with formed.channel(2) as channel:
        assert channel.basic_get("tasks.normal", auto_ack=True)[2] == b"without redis"


def test_c2_redis_flushed(formed: Cluster) -> None:
    """FLUSHALL: everyone registers again, the record is rebuilt with the same id, no broker is touched."""
    before, marker = formed.broker_pids(), formed.marker(1)
    with formed.redis() as client:
        client.flushall()
    wait_until(lambda: len(formed.redis_dump()["members"]) == 3, 15, "everyone registers again")
    wait_until(lambda: formed.redis_dump()["master"] is not None, 15, "a master is named again")
    formed.await_members()
    assert (formed.status(1) or {})["cluster_id"] == (marker or {})["cluster_id"]
    assert formed.broker_pids() == before


def test_c7_redis_paused_beyond_the_ttl(formed: Cluster) -> None:
    """Redis hangs until every heartbeat has expired: nobody is judged when it wakes."""
    before, found = formed.broker_pids(), formed.redis_dump()
    formed.redis_pause()
    never(lambda: formed.broker_pids() != before, TTL_SECONDS + 1, "a broker was touched")
    formed.redis_resume()
    formed.await_members()
    assert formed.redis_dump()["members"] == found["members"]
    assert not any(formed.logged(number, "LOST") for number in formed.numbers)
    assert formed.broker_pids() == before


def test_e5_a_paused_supervisor_is_only_marked(formed: Cluster) -> None:
    """A supervisor that hangs loses its heartbeat, but its broker is seen: it stays registered."""
    pid = formed.supervisor_pid(2)
    formed.pause_process(pid)
    try:
        wait_until(lambda: formed.name(2) not in formed.redis_dump()["heartbeats"], 10, "its heartbeat ends")
        never(lambda: formed.name(2) not in formed.redis_dump()["members"], TTL_SECONDS, "it was taken out")
    finally:
        formed.resume_process(pid)
    formed.await_members()


def test_b3_all_down_in_order_and_up_without_redis(formed: Cluster) -> None:
    """All are stopped in order, Redis goes, all start: they serve without it, and register when it returns."""
    marker = formed.marker(1)
    formed.terminate()
    assert [formed.exit_code(number) for number in formed.numbers] == [0, 0, 0]
    formed.redis_kill()
    formed.start()
    wait_until(lambda: all(formed.amqp_is_open(number) for number in formed.numbers), 60, "all serve")
    wait_until(lambda: len(formed.member_names(1)) == 3, 10, "they are one cluster")
    with formed.channel(3) as channel:
        channel.basic_publish("tasks.direct", "normal", b"no redis at all", mandatory=True)
    formed.redis_start()
    formed.await_members()
    assert {(formed.marker(n) or {})["cluster_id"] for n in formed.numbers} == {(marker or {})["cluster_id"]}
    with formed.channel(1) as channel:
        assert channel.basic_get("tasks.normal", auto_ack=True)[2] == b"no redis at all"


def test_b4_power_loss_of_everything(formed: Cluster) -> None:
    """All members and Redis are killed at once; started in any order they are the same cluster, with its messages."""
    marker = formed.marker(1)
    with formed.channel(1) as channel:
        channel.basic_publish("tasks.direct", "normal", b"kept", mandatory=True)
    formed.redis_kill()
    formed.kill()
    formed.start(3)
    formed.redis_start()
    formed.start(1)
    formed.start(2)
    formed.await_members()
    assert {(formed.marker(n) or {})["cluster_id"] for n in formed.numbers} == {(marker or {})["cluster_id"]}
    with formed.channel(2) as channel:
        assert channel.basic_get("tasks.normal", auto_ack=True)[2] == b"kept"


def test_b5_two_of_three_return_and_serve(formed: Cluster) -> None:
    """The two that went last are enough; the verdict is degraded, and the third completes it."""
    for number in (1, 2, 3):  # one after another: a broker waits for those that it saw outlive it
        formed.kill(number)
        wait_until(lambda number=number: number == 3 or not formed.row(number, by=3).get("running"), 10, "seen")
    formed.start(2, 3)
    formed.await_members(2, 3)
    assert (formed.status(2) or {})["verdict"] == "degraded"
    formed.start(1)
    formed.await_members()
    wait_until(lambda: (formed.status(2) or {}).get("verdict") == "healthy", 15, "the verdict is healthy again")
