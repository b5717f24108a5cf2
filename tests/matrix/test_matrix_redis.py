"""Rows C and G: Redis that goes, lies, hangs or comes back empty, and alarms, under a load that counts (H1)."""

from collections.abc import Iterator

import pytest
from cluster import TTL_SECONDS, Cluster, never
from failover.ledger import Ledger
from scene import (
    events,
    goes_on,
    identity,
    last_event,
    lease_holder,
    listed,
    master_number,
    reasons,
    registered,
    under_load,
)
from support import wait_until

LONG_SECONDS = 5 * TTL_SECONDS
SCAN_SECONDS = 2.0


@pytest.fixture(autouse=True)
def load(formed: Cluster) -> Iterator[Ledger]:
    """Every test begins with three members, and ends as the very same cluster with every confirmed message."""
    formed.heal()
    before = identity(formed)
    with under_load(formed) as ledger:
        yield ledger
    formed.assert_one()
    assert identity(formed) == before


def test_c1_redis_is_down_for_long(formed: Cluster, load: Ledger) -> None:
    """Brokers serve on, nobody acts, everybody says since when coordination is lost."""
    before = formed.broker_pids()
    formed.redis_kill()
    never(lambda: formed.broker_pids() != before, LONG_SECONDS, "a broker was touched")
    goes_on(load)
    for number in formed.numbers:
        assert (formed.status(number) or {})["redis"]["reachable"] is False
        assert any("Redis" in reason for reason in reasons(formed, number))
    formed.redis_start()
    formed.await_members()
    assert formed.broker_pids() == before


def test_c2_redis_is_flushed(formed: Cluster, load: Ledger) -> None:
    """FLUSHALL: everybody registers again, the record is rebuilt with the same id, no broker is touched."""
    before, found = formed.broker_pids(), identity(formed)
    with formed.redis() as client:
        client.flushall()
    wait_until(lambda: len(registered(formed)) == 3, 15, "everybody registers again")
    wait_until(lambda: formed.redis_dump()["master"], TTL_SECONDS + 10, "a master is named again")
    formed.await_members()
    goes_on(load)
    assert formed.broker_pids() == before
    assert identity(formed) == found


def test_c3_redis_is_restarted_empty(formed: Cluster, load: Ledger) -> None:
    """Back at once and empty: no second founding while brokers run, the same id, keys rebuilt."""
    before = formed.broker_pids()
    formed.redis_kill()
    formed.redis_start()
    wait_until(lambda: len(registered(formed)) == 3, 15, "everybody registers again")
    wait_until(lambda: formed.redis_dump()["master"], TTL_SECONDS + 10, "a master is named again")
    with formed.redis() as client:
        assert not client.exists("rabbitmq:cluster:founding")
    goes_on(load)
    assert formed.broker_pids() == before


def test_c7_redis_hangs_for_longer_than_the_ttl(formed: Cluster, load: Ledger) -> None:
    """Every heartbeat expires while Redis hangs: nobody is taken out when it wakes."""
    before, began = formed.broker_pids(), last_event(formed)
    formed.redis_pause()
    never(lambda: formed.broker_pids() != before, 2 * TTL_SECONDS, "a broker was touched")
    goes_on(load)
    formed.redis_resume()
    formed.await_members()
    never(lambda: len(registered(formed)) != 3, TTL_SECONDS, "somebody was taken out")
    assert not [one for one in events(formed, began) if one["kind"] == "RemoveMember"]
    assert formed.broker_pids() == before


def test_c11_no_notifications_and_no_subscribers(formed: Cluster, load: Ledger) -> None:
    """Redis sends no hints and drops who listens: a loss is still seen within the TTL and a scan."""
    with formed.redis() as client:
        client.config_set("notify-keyspace-events", "")
        client.client_kill_filter(_type="pubsub", skipme=True)
    lost = master_number(formed)
    other = next(n for n in formed.numbers if n != lost)
    try:
        formed.kill(lost)
        name = formed.name(lost)
        wait_until(
            lambda: name not in registered(formed) and formed.redis_dump()["master"] not in (name, None),
            TTL_SECONDS + 2 * SCAN_SECONDS,
            "the labels move",
        )
        goes_on(load)
        assert len(listed(formed, other)) == 3
    finally:
        with formed.redis() as client:
            client.config_set("notify-keyspace-events", "Ex")


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_g1_an_alarm_is_not_a_death(formed: Cluster, load: Ledger, kind: str) -> None:
    """Publishers are blocked by design: nobody is taken out, no leader is moved, and the status tells the alarm."""
    began, before = last_event(formed), formed.broker_pids()
    raise_it = ("set_disk_free_limit", "900000GB") if kind == "disk" else ("set_vm_memory_high_watermark", "0.00001")
    end_it = ("set_disk_free_limit", "50MB") if kind == "disk" else ("set_vm_memory_high_watermark", "0.6")
    formed.ctl(2, *raise_it)
    try:
        wait_until(lambda: any("alarm" in one for one in reasons(formed, 1, formed.name(2))), 20, "the alarm is told")
        never(lambda: len(registered(formed)) != 3, 2 * TTL_SECONDS, "somebody was taken out")
        moves = [one for one in events(formed, began) if one["kind"] in ("RemoveMember", "SetMaster", "rebalance")]
        assert not moves
        assert formed.row(2, by=1)["running"] is True
    finally:
        formed.ctl(2, *end_it)
    goes_on(load, 60)
    assert formed.broker_pids() == before
    assert lease_holder(formed) is not None
