"""Rows B: members that are killed, stopped, wiped and started again, under a load that counts every message (H1)."""

import os
import signal
from collections.abc import Iterator
from threading import Event, Thread

import pytest
from cluster import TTL_SECONDS, Cluster, never
from failover.ledger import Ledger
from scene import (
    UNHEARD,
    asked,
    broker_pid,
    forget,
    goes_on,
    identity,
    listed,
    losses_on_disk,
    registered,
    under_load,
    whole,
    words,
)
from support import wait_until

from rmqcluster.process.procfs import identify

WITHIN_STOP_SECONDS = 9.0  # the budget, and a process's end
REPLACED_SECONDS = 90.0
MNESIA_RUNS = "lists:keymember(mnesia, 1, application:which_applications())."


@pytest.fixture(autouse=True)
def load(formed: Cluster) -> Iterator[Ledger]:
    """Every test begins with three members, and ends as the very same cluster with every confirmed message."""
    formed.heal()
    before = identity(formed)
    with under_load(formed) as ledger:
        yield ledger
    formed.assert_one()
    assert identity(formed) == before


def test_b1_one_member_restarts_without_redis(formed: Cluster, load: Ledger) -> None:
    """Killed, and started while Redis is away: its broker rejoins from its own disk and serves; nobody joins anew."""
    formed.redis_kill()
    formed.kill(2)
    formed.start(2)
    wait_until(lambda: formed.amqp_is_open(2), 60, "it serves without Redis")
    wait_until(lambda: _lists(formed, 2) == 3, 20, "it lists all members")
    goes_on(load)
    formed.redis_start()
    formed.await_members()


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)], ids=str)
def test_b3_all_stop_in_order_and_start_in_any(formed: Cluster, order: tuple[int, ...]) -> None:
    """All are stopped at once; started one after another they wait for a majority, then serve; no disk is made anew."""
    formed.terminate()
    assert [formed.exit_code(number, WITHIN_STOP_SECONDS) for number in formed.numbers] == [0, 0, 0]
    for number in order:
        formed.start(number)
        wait_until(lambda number=number: formed.has_broker(number), 20, "it boots before the others are there")
    formed.await_members()


def test_b4_h1_power_loss_of_all(formed: Cluster) -> None:
    """All members and Redis are killed at once: the same cluster comes back, with every confirmed message."""
    formed.redis_kill()
    formed.kill()
    formed.redis_start()
    formed.start()
    formed.await_members()


def test_b5_power_loss_of_all_and_one_stays_away(formed: Cluster, load: Ledger) -> None:
    """Two of three serve; the third is told as missing, but no broker forgets it by itself."""
    known = {n: losses_on_disk(formed, n, 1) for n in (2, 3)}
    formed.kill(1)  # one after another: a broker waits for everybody who, by its disk, may have outlived it
    wait_until(lambda: all(losses_on_disk(formed, n, 1) - known[n] for n in (2, 3)), 20, "the others know of its loss")
    formed.kill(2)
    wait_until(lambda: _mnesia_has_ended(formed, 3), 60, "the last one has closed its files")
    formed.kill(3)
    formed.start(2, 3)
    formed.await_members(2, 3)
    assert (formed.status(2) or {})["verdict"] == "degraded"
    goes_on(load)
    never(lambda: len(listed(formed, 2)) < 3, 3 * TTL_SECONDS, "the third was forgotten")


def _lists(cluster: Cluster, by: int) -> int:
    """How many members this broker lists; none while it does not answer."""
    try:
        return len(cluster.member_names(by))
    except UNHEARD:
        return 0


def _mnesia_has_ended(cluster: Cluster, number: int) -> bool:
    """A node that is stopping its applications may not say it yet."""
    try:
        return cluster.ctl(number, "eval", MNESIA_RUNS).strip() == "false"
    except AssertionError:
        return False


def test_b7_the_broker_crashes_again_and_again(formed: Cluster, load: Ledger) -> None:
    """Every crash is followed by a boot of the same supervisor, later and later; meanwhile it says that it is down."""
    supervisor = formed.supervisor_pid(1)
    for _ in range(3):
        pid = wait_until(lambda: broker_pid(formed, 1), 30, "a broker boots")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: formed.row(1).get("running") is not True, 3, "its own report says that it does not run")
        wait_until(lambda pid=pid: broker_pid(formed, 1) not in (None, pid), 30, "another broker boots")
    assert formed.logged(1, "the broker ended")
    goes_on(load)
    formed.await_members()
    assert formed.supervisor_pid(1) == supervisor


def test_b8_a_supervisor_is_killed_alone(formed: Cluster) -> None:
    """kill -9 of the supervisor while its broker hangs: the next supervisor ends that one first, then boots its own."""
    broker = formed.broker_pid(3)
    formed.pause_process(broker)  # so that it cannot end with its supervisor
    formed.kill_supervisor(3)
    formed.start(3)
    wait_until(lambda: broker_pid(formed, 3) not in (None, broker), 30, "a broker of its own boots")
    assert identify(broker) is None
    formed.await_members()


def test_b10_a_member_is_stopped(formed: Cluster) -> None:
    """SIGTERM to a member: out of Redis at once, its broker ends in order, exit 0 within the budget."""
    formed.terminate(3)
    assert formed.exit_code(3, WITHIN_STOP_SECONDS) == 0
    assert formed.name(3) not in registered(formed) | formed.redis_dump()["heartbeats"]
    assert not formed.has_broker(3)


def test_b2_a_member_returns_with_an_empty_disk(formed: Cluster) -> None:
    """Its old self is forgotten and it joins anew without a person; every queue has all its replicas again."""
    wait_until(lambda: whole(formed, 1), 30, "every queue has its replicas")
    formed.kill(3)
    formed.wipe_disk(3)
    formed.start(3)
    formed.await_members(seconds=REPLACED_SECONDS)
    wait_until(lambda: whole(formed, 1), 60, "every queue has its replicas again")
    assert all(len(formed.member_names(n)) == 3 for n in formed.numbers)


def test_h4_nobody_gets_into_a_wiped_member_before_it_joined(formed: Cluster) -> None:
    """The client port of a wiped member is looked at all the time: it is closed until the members list it again."""
    wait_until(lambda: whole(formed, 1), 30, "every queue has its replicas")
    formed.kill(2)
    formed.wipe_disk(2)
    strays: list[str] = []
    over = Event()

    def probe() -> None:
        while not over.wait(0.05):
            if formed.amqp_is_open(2) and len(listed(formed, 2)) < 3:
                strays.append("open, and alone")

    prober = Thread(target=probe)
    prober.start()
    try:
        formed.start(2)
        formed.await_members(seconds=REPLACED_SECONDS)
    finally:
        over.set()
        prober.join()
    assert not strays
    wait_until(lambda: whole(formed, 1), 60, "every queue has its replicas again")


def test_b17_disks_are_wiped_too_fast(formed: Cluster) -> None:
    """A second disk is lost before the first member has its replicas back: it is held, and nothing is forgotten for
    it; its good disk makes the cluster whole."""
    wait_until(lambda: whole(formed, 1), 30, "every queue has its replicas")
    formed.kill(3)
    formed.wipe_disk(3)
    formed.start(3)
    wait_until(lambda: formed.row(3).get("held") or formed.has_broker(3), 60, "the first is looked after")
    formed.kill(2)
    formed.lose_disk(2)
    formed.start(2)
    wait_until(lambda: formed.row(2).get("held"), 40, "the second is held")
    never(lambda: formed.name(2) not in listed(formed, 1), 10, "the second was forgotten without a majority")
    assert not formed.amqp_is_open(2)
    formed.kill(2)
    formed.return_disk(2)
    formed.start(2)
    formed.await_members(seconds=REPLACED_SECONDS)
    wait_until(lambda: whole(formed, 1), 60, "every queue has its replicas again")


def test_b14_a_member_that_was_forgotten_while_it_was_down(formed: Cluster) -> None:
    """Its old disk returns: held before any boot, with words; `rejoin` makes it a member and keeps the old data."""
    formed.kill(3)
    wait_until(lambda: formed.name(3) not in registered(formed), TTL_SECONDS + 5, "its loss is seen")
    done = forget(formed, 3, 1)
    assert done.returncode == 0, words(done)
    assert formed.name(3) not in formed.member_names(1)
    formed.start(3)
    held = str(wait_until(lambda: formed.row(3).get("held"), 30, "it is held"))
    assert "rejoin" in held
    assert not formed.amqp_is_open(3)
    done = asked(formed, 1, "rejoin", formed.name(3), "--yes")
    assert done.returncode == 0, words(done)
    formed.await_members()
    kept = [path for path in formed.mnesia(3).iterdir() if formed.name(3) in path.name and path.name != formed.name(3)]
    assert kept, sorted(path.name for path in formed.mnesia(3).iterdir())
