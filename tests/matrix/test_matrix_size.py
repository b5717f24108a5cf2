"""Row F4: a cluster that grows from three to five and shrinks again, under a load that counts every message (H1)."""

from collections.abc import Iterator

import pytest
from cluster import TTL_SECONDS, Cluster
from scene import asked, forget, goes_on, listed, registered, under_load, whole, words
from support import wait_until


@pytest.fixture
def growing() -> Iterator[Cluster]:
    """Three of five members."""
    made = Cluster(5)
    try:
        made.redis_start()
        made.start(1, 2, 3)
        made.await_members(1, 2, 3)
        yield made
    finally:
        made.close()


@pytest.mark.timeout(600)
def test_f4_three_five_three(growing: Cluster) -> None:
    """Two join and are taken out again one by one: no message is lost, and every queue has its three replicas."""
    wait_until(lambda: whole(growing, 1), 60, "every queue has its replicas")
    with under_load(growing) as load:
        growing.start(4, 5)
        growing.await_members(seconds=90)
        goes_on(load)
        for leaver in (5, 4):
            done = asked(growing, 1, "drain", growing.name(leaver), "--yes")
            assert done.returncode == 0, words(done)
            growing.terminate(leaver)
            assert growing.exit_code(leaver) == 0
            name = growing.name(leaver)
            wait_until(lambda name=name: name not in registered(growing), TTL_SECONDS + 5, "it has left")
            done = forget(growing, leaver, 1)
            assert done.returncode == 0, words(done)
            assert name not in listed(growing, 1)
            goes_on(load)
            growing.wipe_disk(leaver)
        wait_until(lambda: whole(growing, 1), 60, "every queue has its replicas again")
        growing.start(4, 5)  # blank, they join anew
        growing.await_members(seconds=90)
    growing.assert_one()
