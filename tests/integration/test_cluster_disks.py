"""Disks that are lost, swapped or forgotten: replaced where that loses nothing, else held, with one command."""

import pika
import pytest
from cluster import Cluster, never
from support import wait_until


@pytest.fixture(autouse=True)
def whole(formed: Cluster) -> None:
    """Every test begins with three members on their own disks."""
    formed.heal()


def master_of(cluster: Cluster) -> int:
    return next(n for n in cluster.numbers if cluster.name(n) == cluster.redis_dump()["master"])


def lists_all_when_open(cluster: Cluster, number: int) -> bool:
    """Is a client that gets in at `number` inside the whole cluster? True while its port is closed."""
    if not cluster.amqp_is_open(number):
        return True
    return cluster.member_names(number) >= {cluster.name(n) for n in cluster.numbers}


def replicas_of(cluster: Cluster, asked: int, number: int) -> set[str]:
    """Quorum queues with a replica on `number`, as another broker lists them."""
    rows = cluster.api(asked, "/api/queues/%2Ffog?disable_stats=true&enable_queue_totals=true")[1]
    return {row["name"] for row in rows if row["type"] == "quorum" and cluster.name(number) in row["members"]}


def test_b2_a_wiped_master_is_replaced_by_itself(formed: Cluster) -> None:
    """B2 H1 H4: same host, no sole copy: forgotten, joined anew, replicas back; no client in before, nothing lost."""
    master = master_of(formed)
    other = master % 3 + 1
    ledger = formed.ledger(other, other % 3 + 1)
    ledger.declare()
    ledger.start()
    try:
        before = replicas_of(formed, other, master)
        formed.kill(master)
        formed.lose_disk(master)
        formed.start(master)
        end = f"{formed.name(master)} is a member and every queue has its replicas"

        def replaced() -> bool:
            assert lists_all_when_open(formed, master), "a client could reach a broker outside of the cluster"
            return any(end in text for text in formed.history("done"))

        wait_until(replaced, 60, "it is replaced")
        assert formed.row(master)["mutual"] is True
        assert replicas_of(formed, other, master) == before
    finally:
        ledger.stop()
    summary = ledger.drain()
    ledger.delete()
    formed.drop_disk(master)
    assert summary.is_clean, summary
    wait_until(lambda: (formed.status(other) or {})["verdict"] == "healthy", 60, "all is well")
    assert any("replace" in text for text in formed.history("operation"))


def test_b2_wiped_on_another_host_is_held_until_its_disk_returns(formed: Cluster) -> None:
    """S4: on another host than its disk it is held, with one command; the good disk makes it a member again."""
    before = formed.marker(2)
    formed.kill(2)
    formed.lose_disk(2)
    formed.start(2, extra={"RMQCLUSTER_HOST_ID": "another-host"})
    wait_until(lambda: "demo-host2" in str(formed.row(2).get("held")), 30, "it is held, with the host of its disk")
    assert f"rmqcluster replace {formed.name(2)}" in formed.row(2)["held"]
    never(lambda: formed.amqp_is_open(2) or formed.has_broker(2), 3, "it booted on a blank disk")
    formed.kill(2)
    formed.return_disk(2)
    formed.start(2)
    formed.await_members()
    assert (formed.marker(2) or {})["cluster_id"] == (before or {})["cluster_id"]


def test_h3_a_wiped_member_with_a_classic_queue_is_held_until_a_person_gives_it_up(formed: Cluster) -> None:
    """H3 S4: the empty directory may be a missing mount; `replace` is the person's word."""
    with formed.channel(3) as channel:
        channel.queue_declare("only.here", durable=True, arguments={"x-queue-type": "classic"})
    formed.kill(3)
    formed.lose_disk(3, only_data=True)
    formed.start(3)
    wait_until(lambda: "/fog only.here" in str(formed.row(3).get("held")), 30, "it is held, with the queue's name")
    never(lambda: formed.has_broker(3), 2, "it booted")
    formed.ask(1, "replace", formed.name(3), "--yes")
    formed.await_members()
    formed.drop_disk(3)
    assert (formed.marker(3) or {})["stage"] == "member"
    with formed.channel(1) as channel, pytest.raises(pika.exceptions.ChannelClosedByBroker):
        channel.queue_declare("only.here", passive=True)


def test_b14_a_forgotten_member_is_held_and_rejoins_on_a_persons_word(formed: Cluster) -> None:
    """B14 F2: forget only what is down, by its name; its disk is held when it returns; rejoin keeps a copy of it."""
    name = formed.name(3)
    assert formed.cli(1, "forget", name, "--yes", "--node", name).returncode == 1, "a live member was forgotten"
    formed.kill(3)
    wait_until(lambda: name not in formed.redis_dump()["members"], 20, "its loss is noticed")
    assert formed.cli(1, "forget", name, "--yes").returncode == 64, "its name was not typed"
    formed.ask(1, "forget", name, "--yes", "--node", name)
    formed.start(3)
    held = str(wait_until(lambda: formed.row(3).get("held"), 30, "it is held"))
    assert "FORGOTTEN" in held
    never(lambda: formed.has_broker(3), 2, "it booted")
    formed.ask(1, "rejoin", name, "--yes")
    formed.await_members()
    kept = list((formed.mnesia(3) / "rmqcluster" / name).glob("kept-*"))
    assert len(kept) == 1
    assert any(kept[0].rglob("*")), "the copy is empty"


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
    wait_until(lambda: formed.row(3).get("mutual"), 60, "the blank one is replaced")
    formed.drop_disk(3)
