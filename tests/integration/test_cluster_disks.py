"""Disks that are lost, swapped or forgotten: held with words, nothing destroyed, and well again when they return."""

import pytest
from cluster import Cluster, never
from support import wait_until


@pytest.fixture(autouse=True)
def whole(formed: Cluster) -> None:
    """Every test begins with three members on their own disks."""
    formed.heal()


def test_a_wiped_master_is_held_and_the_cluster_unharmed(formed: Cluster) -> None:
    """The master comes back without its disk: held, its ports closed; the others serve, with all messages."""
    master = next(n for n in formed.numbers if formed.name(n) == formed.redis_dump()["master"])
    other = master % 3 + 1
    with formed.channel(master) as channel:
        channel.basic_publish("tasks.direct", "normal", b"kept", mandatory=True)
    formed.kill(master)
    formed.lose_disk(master)
    formed.start(master)
    held = wait_until(lambda: formed.row(master).get("held"), 30, "it is held")
    assert "BLANK DISK" in held
    assert formed.name(master) in held
    never(lambda: formed.amqp_is_open(master) or formed.has_broker(master), 3, "it booted on a blank disk")
    formed.await_members(*(n for n in formed.numbers if n != master))
    assert (formed.status(other) or {})["verdict"] == "degraded"
    with formed.channel(other) as channel:
        assert channel.basic_get("tasks.normal", auto_ack=True)[2] == b"kept"


def test_a_good_disk_that_returns_is_a_member_again(formed: Cluster) -> None:
    """After a node was held for a lost disk, the same disk mounted again makes it a member without a person."""
    before = formed.marker(2)
    formed.kill(2)
    formed.lose_disk(2)
    formed.start(2)
    wait_until(lambda: formed.row(2).get("held"), 30, "it is held")
    formed.kill(2)
    formed.return_disk(2)
    formed.start(2)
    formed.await_members()
    assert (formed.marker(2) or {})["cluster_id"] == (before or {})["cluster_id"]


def test_a_lost_data_directory_under_our_marker_is_held(formed: Cluster) -> None:
    """The broker's directory is gone, our own record is not: held too, and nothing is made in its place."""
    formed.kill(3)
    formed.lose_disk(3, only_data=True)
    formed.start(3)
    wait_until(lambda: "BLANK DISK" in str(formed.row(3).get("held")), 30, "it is held")
    never(lambda: formed.has_broker(3), 2, "it booted")
    assert (formed.marker(3) or {})["stage"] == "member"
    assert not (formed.mnesia(3) / formed.name(3)).exists()


def test_b12_a_foreign_volume_is_held(formed: Cluster) -> None:
    """A disk of another cluster under a member's name is held with both ids, and stays as it is."""
    stranger = Cluster(1)
    try:
        stranger.form()
        formed.kill(1)
        stranger.kill(1)
        formed.lose_disk(1)
        formed.give_disk_of(stranger, 1)
    finally:
        stranger.close()
    before = formed.marker(1)
    formed.start(1)
    held = wait_until(lambda: formed.row(1).get("held"), 30, "it is held")
    assert (before or {})["cluster_id"][:8] in held
    assert (formed.marker(2) or {})["cluster_id"][:8] in held
    never(lambda: formed.has_broker(1), 2, "it booted")
    assert formed.marker(1) == before
    formed.await_members(2, 3)


def test_a12_a_blank_node_up_first_never_founds_beside_old_disks(formed: Cluster) -> None:
    """Two nodes hold data, Redis is empty, the blank third is up first: it founds nothing, the old cluster serves."""
    marker = formed.marker(1)
    for number in (3, 1, 2):  # one after another: a broker waits for those that it saw outlive it
        formed.kill(number)
        wait_until(lambda number=number: number == 2 or not formed.row(number, by=2).get("running"), 10, "seen")
    formed.redis_kill()
    formed.lose_disk(3)
    formed.redis_start()
    formed.start(3)
    never(lambda: formed.has_broker(3), 4, "a blank node founded beside old disks")
    formed.start(1, 2)
    formed.await_members(1, 2)
    assert {(formed.marker(n) or {})["cluster_id"] for n in (1, 2)} == {(marker or {})["cluster_id"]}
    wait_until(lambda: formed.row(3).get("held"), 20, "the blank one is held")
    never(lambda: formed.has_broker(3), 2, "the blank one booted")
