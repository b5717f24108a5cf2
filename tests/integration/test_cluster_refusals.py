"""What must be refused or held with words: wrong files, taken ports and names, foreign and lost disks."""

import re
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from cluster import Cluster, never
from support import wait_until

from rmqcluster.demo import proc
from rmqcluster.demo.ports import free_ports


def test_a_wrong_key_is_told_in_the_brokers_words(make_cluster: Callable[..., Cluster]) -> None:
    """A key that RabbitMQ does not know: exit 78 within seconds, with the key's name in one message."""
    cluster = make_cluster(1)
    cluster.redis_start()
    (cluster.demo.directory / "rabbitmq.conf").write_text("no_such_key = 1\n")
    cluster.start(1)
    assert cluster.exit_code(1, seconds=20) == 78
    assert cluster.logged(1, "no_such_key")
    assert any("exit 78" in line and "no_such_key" in line for line in cluster.log(1))
    assert not cluster.has_broker(1)


def test_a_taken_port_is_told_and_tried_again(make_cluster: Callable[..., Cluster]) -> None:
    """Somebody else has the AMQP port: the reason names it; when it is free the broker boots."""
    cluster = make_cluster(1)
    cluster.redis_start()
    port = cluster.demo.node(1).amqp_port
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taker.bind(("127.0.0.1", port))
        taker.listen()
        cluster.start(1)
        wait_until(
            lambda: any(str(port) in line and "broker ended" in line for line in cluster.log(1)), 30, "it is told"
        )
    cluster.await_members(1)


def test_a_differing_cookie_is_held(cluster: Cluster) -> None:
    """A joiner with another Erlang cookie is held with words that never show the cookie; the others are unharmed."""
    cluster.redis_start()
    cluster.start(1, 2)
    cluster.await_members(1, 2)
    other = _secret(cluster, cluster.demo.directory / "other-cookie", "OTHERCOOKIEVALUE")
    cluster.start(3, extra={"RABBITMQ_ERLANG_COOKIE_FILE": str(other)})
    wait_until(lambda: "cookie" in str(cluster.row(3).get("held")), 20, "it is held")
    assert not any("OTHERCOOKIEVALUE" in line for line in cluster.log(3))
    assert cluster.row(1)["mutual"] is True
    cluster.terminate(3)
    assert cluster.exit_code(3) == 0
    (cluster.demo.node_directory(3) / ".erlang.cookie").unlink()
    cluster.start(3)
    cluster.await_members()


def test_a_wiped_disk_is_held_and_the_cluster_unharmed(cluster: Cluster) -> None:
    """The master loses its disk: it comes back held, with client ports closed; members keep serving."""
    cluster.form()
    master = next(n for n in cluster.numbers if cluster.name(n) == cluster.redis_dump()["master"])
    others = [n for n in cluster.numbers if n != master]
    with cluster.channel(master) as channel:
        channel.basic_publish("tasks.direct", "normal", b"kept", mandatory=True)
    cluster.kill(master)
    cluster.wipe(master)
    cluster.start(master)
    held = wait_until(lambda: cluster.row(master).get("held"), 30, "it is held")
    assert "BLANK DISK" in held
    assert cluster.name(master) in held
    never(lambda: cluster.amqp_is_open(master) or cluster.has_broker(master), 3, "it booted on a blank disk")
    cluster.await_members(*others)
    assert (cluster.status(others[0]) or {})["verdict"] == "degraded"
    with cluster.channel(others[0]) as channel:
        assert channel.basic_get("tasks.normal", auto_ack=True)[2] == b"kept"


def test_a_lost_data_directory_under_our_marker_is_held(cluster: Cluster) -> None:
    """The broker's directory is gone, our own record is not: held too, and nothing is made in its place."""
    cluster.form()
    cluster.kill(2)
    cluster.wipe(2, marker_too=False)
    cluster.start(2)
    wait_until(lambda: "BLANK DISK" in str(cluster.row(2).get("held")), 30, "it is held")
    never(lambda: cluster.has_broker(2), 2, "it booted")
    assert (cluster.marker(2) or {})["stage"] == "member"


def test_a_blank_node_up_first_never_founds_beside_old_disks(cluster: Cluster) -> None:
    """Two nodes hold data, Redis is empty, the blank third is up first: it founds nothing, the old cluster serves."""
    cluster.form()
    marker = cluster.marker(1)
    for number in (3, 1, 2):  # one after another: a broker waits for those that it saw outlive it
        cluster.kill(number)
        wait_until(lambda number=number: number == 2 or not cluster.row(number, by=2).get("running"), 10, "seen")
    cluster.redis_kill()
    cluster.wipe(3)
    cluster.redis_start()
    cluster.start(3)
    never(lambda: cluster.has_broker(3), 4, "a blank node founded beside old disks")
    cluster.start(1, 2)
    cluster.await_members(1, 2)
    assert {(cluster.marker(n) or {})["cluster_id"] for n in (1, 2)} == {(marker or {})["cluster_id"]}
    wait_until(lambda: cluster.row(3).get("held"), 20, "the blank one is held")
    never(lambda: cluster.has_broker(3), 2, "the blank one booted")


def test_the_same_volume_twice_is_refused(make_cluster: Callable[..., Cluster]) -> None:
    """A second supervisor on a locked data directory waits, then exits 76 naming the holder; the first is unharmed."""
    cluster = make_cluster(1)
    cluster.form()
    first, broker = cluster.supervisor_pid(1), cluster.broker_pid(1)
    cluster.start(1, extra=_other_ports(cluster))
    assert cluster.supervisor_pid(1) != first
    assert cluster.exit_code(1, seconds=30) == 76
    assert cluster.logged(1, f"supervisor pid {first}")
    assert cluster.broker_pid(1) == broker


def test_the_same_name_on_another_volume_is_refused(make_cluster: Callable[..., Cluster]) -> None:
    """A second supervisor of a living name on another volume exits 76 before it boots anything."""
    cluster = make_cluster(1)
    cluster.form()
    broker = cluster.broker_pid(1)
    elsewhere = cluster.demo.node_directory(1) / "elsewhere" / "mnesia"
    elsewhere.mkdir(parents=True)
    for path in (elsewhere.parent, elsewhere):
        shutil.chown(path, cluster.owner.uid, cluster.owner.gid)
    cluster.start(1, extra=_other_ports(cluster) | {"RABBITMQ_MNESIA_BASE": str(elsewhere)})
    assert cluster.exit_code(1, seconds=30) == 76
    assert cluster.logged(1, "another live instance uses the name")
    assert cluster.broker_pid(1) == broker
    assert not (elsewhere / cluster.name(1)).exists()


def test_a_foreign_volume_is_held(make_cluster: Callable[..., Cluster]) -> None:
    """A disk of another cluster under a member's name is held with both ids; neither cluster is harmed."""
    ours, theirs = make_cluster(3), make_cluster(1)
    ours.redis_start()
    theirs.redis_start()
    ours.start()
    theirs.start()
    ours.await_members()
    theirs.await_members()
    ours.kill(1)
    theirs.kill(1)
    shutil.rmtree(ours.mnesia(1))
    shutil.copytree(theirs.mnesia(1), ours.mnesia(1))
    for path in (ours.mnesia(1), *ours.mnesia(1).rglob("*")):
        shutil.chown(path, ours.owner.uid, ours.owner.gid)
    before = theirs.marker(1)
    ours.start(1)
    held = wait_until(lambda: ours.row(1).get("held"), 30, "it is held")
    assert (before or {})["cluster_id"][:8] in held
    assert (ours.marker(2) or {})["cluster_id"][:8] in held
    never(lambda: ours.has_broker(1), 2, "it booted")
    assert ours.marker(1) == before
    ours.await_members(2, 3)


def test_bad_settings_are_all_told_before_anything_starts(make_cluster: Callable[..., Cluster]) -> None:
    """An unknown name and a TTL under three beats are told together: exit 78 and nothing was started or written."""
    cluster = make_cluster(1)
    cluster.start(1, extra={"RMQCLUSTER_TLL_SECONDS": "9", "RMQCLUSTER_TTL_SECONDS": "2"})
    assert cluster.exit_code(1, seconds=10) == 78
    text = "\n".join(cluster.log(1))
    assert "RMQCLUSTER_TLL_SECONDS" in text
    assert re.search(r"RMQCLUSTER_TTL_SECONDS.*at least 3 heartbeats", text)
    assert list(cluster.mnesia(1).iterdir()) == []


def test_a_wrong_redis_password_is_told(make_cluster: Callable[..., Cluster]) -> None:
    """Redis refuses the password: the reason is told in words, and the password is not."""
    cluster = make_cluster(1, {"RMQCLUSTER_REDIS_WAIT_SECONDS": "3"})
    cluster.redis_start()
    wrong = _secret(cluster, cluster.demo.directory / "wrong", "WRONGPASSWORDVALUE")
    cluster.start(1, extra={"REDIS_PASS_FILE": str(wrong)})
    assert cluster.exit_code(1, seconds=20) in (69, 78)
    text = "\n".join(cluster.log(1))
    assert "password" in text
    assert "WRONGPASSWORDVALUE" not in text


def test_a_supervisor_killed_alone_leaves_no_twin(make_cluster: Callable[..., Cluster]) -> None:
    """kill -9 of the supervisor alone: its broker ends with it or is stopped by the next one; never two brokers."""
    cluster = make_cluster(1)
    cluster.form()
    old = cluster.broker_pid(1)
    proc.send([process for process in [cluster.demo.node(1).supervisor] if process], signal.SIGKILL)
    cluster.start(1)
    cluster.await_members(1)
    assert cluster.broker_pid(1) != old


def _secret(cluster: Cluster, path: Path, value: str) -> Path:
    path.write_text(value + "\n")
    path.chmod(0o600)
    shutil.chown(path, cluster.owner.uid, cluster.owner.gid)
    return path


def _other_ports(cluster: Cluster) -> dict[str, str]:
    """For a second instance of node 1 beside the first."""
    amqp, management, dist, http = free_ports(4)
    return {
        "RABBITMQ_NODE_PORT": str(amqp),
        "RABBITMQ_DIST_PORT": str(dist),
        "RMQCLUSTER_MANAGEMENT_PORT": str(management),
        "RMQCLUSTER_HTTP_PORT": str(http),
    }
