"""Rows E: the monitor, under a load that counts every message (H1)."""

import subprocess
import sys
from collections import Counter
from collections.abc import ItemsView, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cluster import TTL_SECONDS, Cluster, never
from failover.ledger import Ledger
from scene import (
    asked,
    broker_pid,
    epoch,
    events,
    goes_on,
    holder_number,
    identity,
    last_event,
    leaders,
    lease_holder,
    listed,
    master_number,
    operation,
    registered,
    under_load,
    whole,
)
from support import wait_until

from rmqcluster.demo.ports import free_ports

ENDS = ("done", "failed", "refused")  # what becomes of an operation that was begun before is told
TAKEOVER_SECONDS = TTL_SECONDS + 3  # the lease ends, and the next beat of another takes it


@pytest.fixture(autouse=True)
def load(formed: Cluster) -> Iterator[Ledger]:
    """Every test begins with three members and a lease holder, and ends as the same cluster with all messages."""
    formed.heal()
    holder_number(formed)
    before = identity(formed)
    with under_load(formed) as ledger:
        yield ledger
    formed.assert_one()
    assert identity(formed) == before


def test_e1_one_of_all_monitors_acts(formed: Cluster) -> None:
    """The holder dies: one other takes the lease, with a higher epoch, and each act for the lost is told once."""
    lost, high, began = holder_number(formed), epoch(formed), last_event(formed)
    with _lone_monitor(formed, next(n for n in formed.numbers if n != lost)):
        formed.kill(lost)
        name = formed.name(lost)
        wait_until(lambda: lease_holder(formed) not in (name, None), TAKEOVER_SECONDS, "another takes the lease")
        wait_until(lambda: name not in registered(formed), TAKEOVER_SECONDS + TTL_SECONDS, "the lost is taken out")
        assert epoch(formed) > high
        never(lambda: lease_holder(formed) in (name, None), TTL_SECONDS, "the lease moved again")
    removed = [one for one in events(formed, began) if one["kind"] == "RemoveMember"]
    assert len(removed) == 1, removed
    assert int(removed[0]["epoch"]) > high


def test_e2_a_holder_that_slept_does_nothing_on_waking(formed: Cluster) -> None:
    """Stopped beyond its lease while a member dies, the old holder finds another in its place and acts no more."""
    old = holder_number(formed)
    dead = next(n for n in formed.numbers if n != old)
    high, pid = epoch(formed), formed.supervisor_pid(old)
    formed.pause_process(pid)
    try:
        wait_until(lambda: lease_holder(formed) not in (formed.name(old), None), TAKEOVER_SECONDS, "another takes it")
        began = last_event(formed)
    finally:
        formed.resume_process(pid)
    formed.kill(dead)
    wait_until(lambda: formed.name(dead) not in registered(formed), 3 * TTL_SECONDS, "the dead one is taken out")
    found = events(formed, began)
    late = [one for one in found if one["actor"] == formed.name(old) and 0 < int(one["epoch"] or 0) <= high]
    assert not [one for one in late if one["kind"] not in ENDS], late
    assert sum(one["kind"] == "RemoveMember" for one in found) == 1


def test_e4_the_holder_dies_in_the_middle(formed: Cluster) -> None:
    """It is stopped right when a recorded operation is to be done: the next holder finishes, and nothing is twice."""
    old = holder_number(formed)
    asker = next(n for n in formed.numbers if n != old)
    wait_until(lambda: whole(formed, asker), 30, "every queue has its replicas")
    began = last_event(formed)
    done = asked(formed, asker, "rebalance", "--yes", "--no-wait")
    assert done.returncode == 0, done.stderr
    formed.kill(old)
    name = formed.name(old)
    wait_until(lambda: lease_holder(formed) not in (name, None), TAKEOVER_SECONDS, "another takes the lease")
    wait_until(lambda: name not in registered(formed), TAKEOVER_SECONDS + TTL_SECONDS, "the dead one is taken out")
    wait_until(lambda: operation(formed) is None, 60, "the operation ends")
    assert sum(one["kind"] == "RemoveMember" for one in events(formed, began)) == 1
    assert len(listed(formed, asker)) == 3


def test_e5_a_supervisor_hangs_and_its_broker_runs(formed: Cluster, load: Ledger) -> None:
    """Its heartbeat ends, the others mark it: it stays registered and listed, and serves."""
    hung = next(n for n in formed.numbers if n != holder_number(formed))
    pid, name = formed.supervisor_pid(hung), formed.name(hung)
    formed.pause_process(pid)
    try:
        wait_until(lambda: name not in formed.redis_dump()["heartbeats"], 2 * TTL_SECONDS, "its heartbeat ends")
        never(lambda: name not in registered(formed), 2 * TTL_SECONDS, "it was taken out")
        goes_on(load)
    finally:
        formed.resume_process(pid)


def test_e6_a_member_is_lost(formed: Cluster, load: Ledger) -> None:
    """Heartbeat and broker are gone: it is taken out of Redis; no broker forgets it, however long it stays away."""
    lost = next(n for n in formed.numbers if n != holder_number(formed))
    other = next(n for n in formed.numbers if n != lost)
    formed.kill(lost)
    wait_until(lambda: formed.name(lost) not in registered(formed), 2 * TTL_SECONDS, "it is taken out")
    goes_on(load)
    never(lambda: len(listed(formed, other)) != 3, 4 * TTL_SECONDS, "a broker forgot it")


def test_e8_the_master_is_lost(formed: Cluster) -> None:
    """Only the label moves, to a live member, within TTL + 2 s; the survivors' brokers are not touched."""
    lost, began = master_number(formed), last_event(formed)
    before = {n: pid for n, pid in formed.broker_pids().items() if n != lost}
    formed.kill(lost)
    name = formed.name(lost)
    wait_until(lambda: formed.redis_dump()["master"] not in (name, None), TTL_SECONDS + 2, "the label moves")
    assert formed.redis_dump()["master"] in {formed.name(n) for n in before}
    never(lambda: not before.items() <= _broker_pids(formed, before), 2 * TTL_SECONDS, "a survivor was touched")
    assert sum(one["kind"] == "SetMaster" for one in events(formed, began)) == 1


def test_e9_members_come_and_go_under_load(formed: Cluster) -> None:
    """No rebalance while a voter is away or behind, and at most one for each return; then the leaders are spread."""
    wait_until(lambda: whole(formed, 1), 30, "every queue has its replicas")
    began, rounds = last_event(formed), 2
    for _ in range(rounds):
        formed.kill(3)
        wait_until(lambda: formed.name(3) not in registered(formed), 2 * TTL_SECONDS, "its loss is seen")
        formed.start(3)
        formed.await_members()
    wait_until(lambda: whole(formed, 1), 60, "every queue has its replicas again")
    wait_until(lambda: _are_spread(leaders(formed, 1)), 60, "the leaders are spread")
    ended = Counter(one["kind"] for one in events(formed, began) if "rebalance" in f"{one['kind']} {one['text']}")
    assert ended["done"] <= 2 * rounds, ended  # among the survivors, and after the return


def test_h6_leaders_move_under_load(formed: Cluster, load: Ledger) -> None:
    """A person asks for a rebalance while messages flow: it ends well, and the pause is told."""
    wait_until(lambda: whole(formed, 1), 30, "every queue has its replicas")
    load.reset_pauses()
    done = asked(formed, 1, "rebalance", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    goes_on(load)
    assert load.longest_pause_seconds() < 10


def _broker_pids(cluster: Cluster, numbers: Iterable[int]) -> ItemsView[int, int | None]:
    return {n: broker_pid(cluster, n) for n in numbers}.items()


def _are_spread(counts: dict[str, int]) -> bool:
    return max(counts.values()) - min(counts.values()) <= 1


@contextmanager
def _lone_monitor(cluster: Cluster, beside: int) -> Iterator[None]:
    """`rmqcluster monitor` on the machine of this member, with a node name of its own."""
    environment = cluster.environment(beside) | {
        "RABBITMQ_NODENAME": "watcher@localhost",
        "RMQCLUSTER_HTTP_PORT": str(free_ports(1)[0]),
    }
    with (cluster.demo.directory / "monitor.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "rmqcluster", "monitor"], env=environment, stdout=log, stderr=log
        )
        try:
            wait_until(lambda: process.poll() is None and log.name and _said(log.name), 20, "the lone monitor runs")
            yield
            assert process.poll() is None, Path(log.name).read_text()
        finally:
            process.terminate()
            process.wait(20)


def _said(path: str) -> bool:
    return Path(path).stat().st_size > 0
