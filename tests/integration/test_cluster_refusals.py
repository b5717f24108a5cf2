"""What one node must refuse with words: wrong files and settings, taken ports, names and volumes."""

import re
import shutil
import signal
import socket
from collections.abc import Callable, Iterator

import pytest
from cluster import Cluster
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


@pytest.fixture(scope="module")
def lone_member() -> Iterator[Cluster]:
    made = Cluster(1)
    try:
        made.form()
        yield made
    finally:
        made.close()


@pytest.fixture
def lone(lone_member: Cluster) -> Iterator[Cluster]:
    """A cluster of one, shared: whatever a test started beside it, the first instance is what stays."""
    first = lone_member.demo
    yield lone_member
    if first.node(1).is_up:
        lone_member.demo = first


def test_a9_the_same_volume_twice_is_refused(lone: Cluster) -> None:
    """A second supervisor on a locked data directory waits, then exits 76 naming the holder; the first is unharmed."""
    first, broker = lone.supervisor_pid(1), lone.broker_pid(1)
    lone.start(1, extra=_other_ports(lone))
    assert lone.supervisor_pid(1) != first
    assert lone.exit_code(1, seconds=30) == 76
    assert lone.logged(1, f"supervisor pid {first}")
    assert lone.broker_pid(1) == broker


def test_a9_the_same_name_on_another_volume_is_refused(lone: Cluster) -> None:
    """A second supervisor of a living name on another volume exits 76 before it boots anything."""
    broker = lone.broker_pid(1)
    elsewhere = lone.demo.node_directory(1) / "elsewhere" / "mnesia"
    elsewhere.mkdir(parents=True)
    for path in (elsewhere.parent, elsewhere):
        shutil.chown(path, lone.owner.uid, lone.owner.gid)
    lone.start(1, extra=_other_ports(lone) | {"RABBITMQ_MNESIA_BASE": str(elsewhere)})
    assert lone.exit_code(1, seconds=30) == 76
    assert lone.logged(1, "another live instance uses the name")
    assert lone.broker_pid(1) == broker
    assert not (elsewhere / lone.name(1)).exists()


def test_bad_settings_are_all_told_before_anything_starts(make_cluster: Callable[..., Cluster]) -> None:
    """An unknown name and a TTL under three beats are told together: exit 78 and nothing was started or written."""
    cluster = make_cluster(1)
    cluster.start(1, extra={"RMQCLUSTER_TLL_SECONDS": "9", "RMQCLUSTER_TTL_SECONDS": "2"})
    assert cluster.exit_code(1, seconds=10) == 78
    text = "\n".join(cluster.log(1))
    assert "RMQCLUSTER_TLL_SECONDS" in text
    assert re.search(r"RMQCLUSTER_TTL_SECONDS.*at least 3 heartbeats", text)
    assert list(cluster.mnesia(1).iterdir()) == []


def test_a6_a_wrong_redis_password_is_told(make_cluster: Callable[..., Cluster]) -> None:
    """Redis refuses the password: the reason is told in words, and the password is not."""
    cluster = make_cluster(1, {"RMQCLUSTER_REDIS_WAIT_SECONDS": "3"})
    cluster.redis_start()
    wrong = cluster.write_secret("wrong", "WRONGPASSWORDVALUE")
    cluster.start(1, extra={"REDIS_PASS_FILE": str(wrong)})
    assert cluster.exit_code(1, seconds=20) in (69, 78)
    text = "\n".join(cluster.log(1))
    assert "REDIS_PASS" in text
    assert "WRONGPASSWORDVALUE" not in text


def test_b8_a_supervisor_killed_alone_leaves_no_twin(lone: Cluster) -> None:
    """kill -9 of the supervisor alone: its broker ends with it or is stopped by the next one; never two brokers."""
    old = lone.broker_pid(1)
    proc.send([process for process in [lone.demo.node(1).supervisor] if process], signal.SIGKILL)
    lone.start(1)
    lone.await_members(1)
    assert lone.broker_pid(1) != old


def _other_ports(cluster: Cluster) -> dict[str, str]:
    """For a second instance of node 1 beside the first."""
    amqp, management, dist, http = free_ports(4)
    return {
        "RABBITMQ_NODE_PORT": str(amqp),
        "RABBITMQ_DIST_PORT": str(dist),
        "RMQCLUSTER_MANAGEMENT_PORT": str(management),
        "RMQCLUSTER_HTTP_PORT": str(http),
    }
