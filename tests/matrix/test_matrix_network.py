"""Rows D: cuts of the network between members, and between members and Redis, under a load that counts (H1)."""

import time
from collections.abc import Iterator

import pytest
from cluster import TTL_SECONDS, never
from failover.ledger import Ledger
from netcluster import REDIS, TICK_SECONDS, NetCluster, machine
from scene import (
    epoch,
    events,
    goes_on,
    holder_number,
    identity,
    last_event,
    lease_holder,
    listed,
    reasons,
    registered,
    under_load,
)
from support import wait_until

SEEN_SECONDS = 3 * TICK_SECONDS + TTL_SECONDS + 5  # a silent cut is seen after the tick, then judged


@pytest.fixture(autouse=True)
def load(networked: NetCluster) -> Iterator[Ledger]:
    """Every test begins with three members on a whole network, and ends as the very same cluster on the same disks,
    with every confirmed message."""
    networked.heal()
    holder_number(networked)
    before = identity(networked)
    with under_load(networked) as ledger:
        yield ledger
    networked.assert_one()
    assert identity(networked) == before


def test_d1_a_minority_cut_off_from_peers_and_redis(networked: NetCluster, load: Ledger) -> None:
    """The majority serves and moves the labels; the minority serves nobody, and returns by itself with its disk."""
    networked.isolate(3)
    lost = networked.name(3)
    wait_until(lambda: lost not in registered(networked), SEEN_SECONDS, "the labels move off the cut")
    wait_until(lambda: networked.redis_dump()["master"] not in (lost, None), TTL_SECONDS + 5, "a live master is named")
    wait_until(lambda: not networked.amqp_is_open(3), SEEN_SECONDS, "the minority lets nobody in")
    wait_until(lambda: _verdict(networked, 3) in ("unavailable", "unknown"), SEEN_SECONDS, "the minority says so")
    wait_until(lambda: _verdict(networked, 1) == "degraded", SEEN_SECONDS, "the majority says so")
    assert len(networked.member_names(1)) == 3
    goes_on(load)


def test_d2_a_minority_cut_off_from_its_peers_alone(networked: NetCluster, load: Ledger) -> None:
    """It still reaches Redis, but does nothing there: no lease, nobody is taken out by it, no broker forgets it."""
    other = next(n for n in networked.numbers if networked.name(n) != lease_holder(networked))
    networked.isolate(other, redis=False)
    away = [n for n in networked.numbers if n != other]
    wait_until(lambda: not networked.amqp_is_open(other), SEEN_SECONDS, "the minority lets nobody in")
    never(lambda: lease_holder(networked) == networked.name(other), 2 * TTL_SECONDS, "the minority took the lease")
    assert {networked.name(n) for n in away} <= registered(networked)
    cut = networked.name(other)
    wait_until(lambda: networked.redis_dump()["master"] not in (cut, None), TTL_SECONDS + 5, "a master that serves")
    assert all(len(networked.member_names(n)) == 3 for n in away)
    goes_on(load)


@pytest.mark.parametrize("peers", [True, False], ids=["cut_off_from_peers_too", "peers_reachable"])
def test_d3_only_the_minority_reaches_redis(networked: NetCluster, load: Ledger, peers: bool) -> None:
    """The majority's heartbeats end in Redis: nobody is taken out for it, and the majority serves on."""
    before = networked.broker_pids()
    networked.network.cut([machine(1), machine(2)], [REDIS, *([machine(3)] if peers else [])])
    names = {networked.name(n) for n in (1, 2)}
    wait_until(lambda: not networked.redis_dump()["heartbeats"] & names, 2 * TTL_SECONDS, "the heartbeats end")
    never(lambda: not names <= registered(networked), SEEN_SECONDS, "a running member was taken out")
    assert lease_holder(networked) in (None, networked.name(3)) if not peers else lease_holder(networked) is None
    assert networked.broker_pids() == before
    goes_on(load)


def test_d4_a_one_way_drop(networked: NetCluster) -> None:
    """What one member sends to another vanishes: no broker forgets anybody, and all are back when it heals."""
    networked.network.drop(machine(1), [machine(2)])
    wait_until(lambda: _asymmetry(networked), SEEN_SECONDS, "somebody tells that two members do not see each other")
    never(lambda: any(len(listed(networked, n)) < 3 for n in networked.numbers), TICK_SECONDS, "somebody was forgotten")


def test_d6_one_member_without_redis(networked: NetCluster, load: Ledger) -> None:
    """It stays a member and serves; the others mark it, and say where to look."""
    before = networked.broker_pids()
    networked.isolate(3, peers=False)
    name = networked.name(3)
    wait_until(lambda: name not in networked.redis_dump()["heartbeats"], 2 * TTL_SECONDS, "its heartbeat ends")
    never(lambda: name not in registered(networked), SEEN_SECONDS, "it was taken out")
    told = wait_until(lambda: reasons(networked, 1, name), 5, "the others tell of it")
    assert "its broker runs" in told[0]
    goes_on(load)
    assert networked.broker_pids() == before


def test_d7_flapping(networked: NetCluster) -> None:
    """A link that goes and comes all the time, below the TTL and the tick, changes no membership and boots nothing."""
    before, found, first = networked.broker_pids(), networked.redis_dump(), epoch(networked)
    began = last_event(networked)
    for _ in range(30):
        networked.isolate(3)
        time.sleep(TICK_SECONDS / 12)  # the fault itself
        networked.network.heal()
        never(lambda: registered(networked) != found["members"], TICK_SECONDS / 12, "membership changed")
    networked.await_members()
    assert networked.redis_dump()["master"] == found["master"]
    assert networked.broker_pids() == before
    assert epoch(networked) <= first + 1
    assert sum("rebalance" in one["kind"] for one in events(networked, began)) <= 1


def test_e3_the_lease_holder_is_on_the_minority_side(networked: NetCluster, load: Ledger) -> None:
    """Cut off from its peers, but not from Redis, it gives its lease back; one of the majority takes it and acts."""
    old = holder_number(networked)
    others = {networked.name(n) for n in networked.numbers if n != old}
    high, began = epoch(networked), last_event(networked)
    networked.isolate(old, redis=False)
    wait_until(lambda: lease_holder(networked) in others, SEEN_SECONDS, "one of the majority holds the lease")
    goes_on(load)
    never(lambda: lease_holder(networked) == networked.name(old), 2 * TTL_SECONDS, "the minority took it back")
    acts = [one for one in events(networked, began) if int(one["epoch"] or 0) > high]
    assert {one["actor"] for one in acts} <= others, acts


def _verdict(cluster: NetCluster, number: int) -> object:
    return (cluster.status(number) or {}).get("verdict")


def _asymmetry(cluster: NetCluster) -> bool:
    return any(
        "does not see" in reason or "paused" in reason for n in cluster.numbers for reason in reasons(cluster, n)
    )
