"""A formed cluster: what it is, what is in it, and how it outlives crashes. The tests share one, in this order."""

import pika
import pytest
from cluster import TTL_SECONDS, Cluster
from support import wait_until

PERSISTENT = pika.BasicProperties(delivery_mode=2)
RESUMES = "rabbit_outside_app_process"  # in a minority that RabbitMQ paused: starts it again when the peers are back
STANDS_BY = f"is_pid(whereis({RESUMES})) andalso whereis(rabbit) =:= undefined."
QUORUM_QUEUES = {
    "tasks.high_priority",
    "tasks.normal",
    "tasks.low_priority",
    "results.success",
    "results.failed",
    "metrics.node",
    "dlq",
}


@pytest.fixture(autouse=True)
def whole(formed: Cluster) -> None:
    """Every test begins with three members."""
    formed.heal()


def test_one_identity_everywhere(formed: Cluster) -> None:
    """Nodes started together are one cluster: one id on all disks, in all reports and in all brokers."""
    formed.assert_one()
    assert {(formed.marker(number) or {})["stage"] for number in formed.numbers} == {"member"}


def test_redis_says_who_is_there(formed: Cluster) -> None:
    """The keys that people read name all members, one of them as master, and a heartbeat for each that ends."""
    names = {formed.name(number) for number in formed.numbers}
    found = formed.redis_dump()
    assert found["members"] == names
    assert found["heartbeats"] == names
    assert found["master"] in names
    with formed.redis() as client:
        left = client.ttl(f"rabbitmq:node:{formed.name(1)}:heartbeat")
    assert 0 <= left <= TTL_SECONDS


def test_accounts(formed: Cluster) -> None:
    """The accounts of the settings are there with their tags and permissions; guest is not."""
    users = {user["name"]: user for user in formed.api(2, "/api/users")[1]}
    assert set(users) == {"admin", "worker1", "worker2", "worker3", "rmqcluster-monitor"}
    assert users["admin"]["tags"] == ["administrator"]
    assert users["worker1"]["tags"] == ["worker"]
    permissions = {one["user"]: one for one in formed.api(3, "/api/permissions")[1] if one["vhost"] == "/fog"}
    worker = permissions["worker2"]
    assert (worker["configure"], worker["write"], worker["read"]) == (
        "^$",
        r"^(results|metrics)\.topic$",
        r"^tasks\.",
    )
    assert formed.api(1, "/api/whoami", "guest", "guest")[0] == 401
    with pytest.raises(pika.exceptions.AMQPConnectionError), formed.channel(1, "guest", "guest"):
        pass


def test_a_worker_may_do_its_work_and_nothing_else(formed: Cluster) -> None:
    """A worker publishes results and reads tasks; it neither declares nor publishes tasks."""
    password = formed.secret("worker")
    with formed.channel(1, "worker1", password) as channel:
        channel.basic_publish("results.topic", "results.success.job", b"done", mandatory=True)
        assert channel.basic_get("tasks.normal", auto_ack=True)[0] is None
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED"):
            channel.queue_declare("tasks.mine", durable=True)
    refused = pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED")
    with formed.channel(1, "worker1", password) as channel, refused:
        channel.basic_publish("tasks.direct", "normal", b"job", mandatory=True)
    with formed.channel(2) as channel:
        channel.queue_purge("results.success")


def test_topology(formed: Cluster) -> None:
    """Exchanges, quorum queues with a replica on each member, and bindings are as defined."""
    exchanges = {one["name"]: one["type"] for one in formed.api(1, "/api/exchanges/%2Ffog")[1]}
    wanted = {"tasks.direct": "direct", "results.topic": "topic", "metrics.topic": "topic", "dlx": "topic"}
    assert exchanges.items() >= (wanted | {"system.fanout": "fanout"}).items()
    queues = {one["name"]: one for one in formed.api(1, "/api/queues/%2Ffog")[1]}
    assert set(queues) == QUORUM_QUEUES
    names = {formed.name(number) for number in formed.numbers}
    assert all(set(one["members"]) == names for one in queues.values())
    arguments = queues["tasks.normal"]["arguments"]
    assert arguments["x-max-length"] == 10_000
    assert arguments["x-overflow"] == "reject-publish"
    assert arguments["x-delivery-limit"] == 3
    assert arguments["x-dead-letter-routing-key"] == "tasks.normal.failed"
    bindings = {
        (one["source"], one["routing_key"], one["destination"])
        for one in formed.api(1, "/api/bindings/%2Ffog")[1]
        if one["source"]
    }
    assert ("dlx", "#", "dlq") in bindings
    assert ("tasks.direct", "high_priority", "tasks.high_priority") in bindings


def test_a_rejected_task_ends_in_the_dead_letter_queue(formed: Cluster) -> None:
    """A task that is rejected is found in `dlq`, with the name of its queue as routing key."""
    with formed.channel(1) as channel:
        channel.basic_publish("tasks.direct", "low_priority", b"bad", mandatory=True)
        got = wait_until(lambda: _get(channel, "tasks.low_priority"), 10, "the task arrives")
        channel.basic_reject(got[0].delivery_tag, requeue=False)
        dead = wait_until(lambda: _get(channel, "dlq"), 10, "the rejected task is in dlq")
        assert dead[0].routing_key == "tasks.low_priority.failed"
        channel.basic_ack(dead[0].delivery_tag)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_b7_a_crashed_broker_is_restarted_in_place(formed: Cluster, number: int) -> None:
    """kill -9 of a broker is noticed within a second and booted again by the same supervisor, without a reset."""
    supervisor, broker = formed.supervisor_pid(number), formed.broker_pid(number)
    marker = formed.marker(number)
    formed.kill_broker(number)
    wait_until(lambda: formed.logged(number, "the broker ended"), 1.5, "the crash is told")
    wait_until(lambda: formed.has_broker(number) and formed.broker_pid(number) != broker, 10, "a new broker boots")
    formed.await_members()
    assert formed.supervisor_pid(number) == supervisor
    assert (formed.marker(number) or {})["cluster_id"] == (marker or {})["cluster_id"]


def test_a_paused_broker_whose_start_failed_is_restarted(formed: Cluster) -> None:
    """Nothing in its VM would start RabbitMQ again, and its peers wait for its tables: it does not stay like that."""
    broker = formed.broker_pid(1)
    formed.kill(2, 3)
    wait_until(lambda: "true" in formed.ctl(1, "eval", STANDS_BY), 20, "it is stopped and waits for its peers")
    formed.ctl(1, "eval", f"exit(whereis({RESUMES}), kill).")
    formed.start(2, 3)
    wait_until(lambda: formed.logged(1, "nothing in it would start that again"), 90, "it is looked into")
    wait_until(lambda: formed.has_broker(1) and formed.broker_pid(1) != broker, 10, "a new broker boots")
    formed.await_members()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_e6_confirmed_messages_survive_the_loss_of_any_node(formed: Cluster, number: int) -> None:
    """A node is killed while messages are confirmed elsewhere: none is lost, labels move, and it comes back."""
    other = number % 3 + 1
    lost = formed.name(number)
    bodies = [f"{number} {when} {i}".encode() for when in ("before", "during") for i in range(5)]
    _publish(formed, number, bodies[:5])
    formed.kill(number)
    _publish(formed, other, bodies[5:])
    wait_until(
        lambda: lost not in formed.redis_dump()["members"] and formed.redis_dump()["master"] not in (lost, None),
        TTL_SECONDS + 5,
        "the labels move away from the lost node",
    )
    wait_until(
        lambda: (row := formed.row(number, by=other)) and (row["registered"], row["running"]) == (False, False),
        5,
        "the others report it lost",
    )

    formed.start(number)
    formed.await_members()
    with formed.channel(number) as channel:
        assert sorted(_drain(channel, "tasks.normal")) == sorted(bodies)


def test_a9_a_fast_restart_is_not_a_twin(formed: Cluster) -> None:
    """Killed and started again within the TTL, a node takes its own name back and is a member again."""
    formed.kill(2)
    formed.start(2)
    formed.await_members()


def test_an_orderly_stop_leaves_and_returns(formed: Cluster) -> None:
    """SIGTERM: labels are taken away at once, the broker stops in order, exit 0 within the budget; then it returns."""
    formed.terminate(3)
    assert formed.exit_code(3, seconds=8) == 0
    found = formed.redis_dump()
    assert formed.name(3) not in found["members"] | found["heartbeats"]
    assert found["master"] != formed.name(3)
    assert not formed.has_broker(3)
    formed.start(3)
    formed.await_members()


def test_a_changed_password_is_applied_on_the_next_start(formed: Cluster) -> None:
    """A new password in the settings of all members is the one that works after they were started again."""
    old, told = formed.secret("worker"), len(formed.history("provision"))
    formed.demo.secret_file("worker").write_text("another-password-1\n")
    formed.terminate()
    assert [formed.exit_code(number) for number in formed.numbers] == [0, 0, 0]
    formed.start()
    formed.await_members()
    wait_until(lambda: _may_enter(formed, "another-password-1"), 30, "the new password works")
    assert not _may_enter(formed, old)
    wait_until(lambda: len(formed.history("provision")) > told, 30, "all of it is provisioned")


def test_the_same_content_is_not_provisioned_again(formed: Cluster) -> None:
    """A restart with unchanged settings writes nothing into the brokers: password hashes stay the same."""
    before = {user["name"]: user["password_hash"] for user in formed.api(1, "/api/users")[1]}
    formed.terminate(1)
    assert formed.exit_code(1) == 0
    formed.start(1)
    formed.await_members()
    assert {user["name"]: user["password_hash"] for user in formed.api(1, "/api/users")[1]} == before


def test_no_secret_shows(formed: Cluster) -> None:
    """Neither command lines, nor the brokers' environment, nor logs, nor Redis hold a password or the cookie."""
    secrets = [formed.secret(name) for name in ("cookie", "redis", "admin", "worker")]
    with formed.redis() as client:
        keys = [key for key in client.scan_iter("*") if client.type(key) in ("string", "hash", "set")]
        held = [client.get(key) for key in keys if client.type(key) == "string"]
        held += [str(client.hgetall(key)) for key in keys if client.type(key) == "hash"]
    shown = formed.process_text() + "\n".join(str(value) for value in held)
    shown += "\n".join("\n".join(formed.log(number, 5000)) for number in formed.numbers)
    assert formed.name(1) in shown
    assert not [secret for secret in secrets if secret in shown]


def _publish(cluster: Cluster, number: int, bodies: list[bytes]) -> None:
    """Publish until each body is confirmed. A refusal is no promise: RabbitMQ 3.10 goes on refusing on a channel
    that was opened while the queue had no leader, so every try has a connection of its own."""
    left = list(bodies)

    def all_confirmed() -> bool:
        try:
            with cluster.channel(number) as channel:
                while left:
                    channel.basic_publish("tasks.direct", "normal", left[0], PERSISTENT, mandatory=True)
                    left.pop(0)
        except pika.exceptions.NackError:
            return False
        return True

    wait_until(all_confirmed, 30, f"{left!r} are confirmed")


def _may_enter(cluster: Cluster, password: str) -> bool:
    try:
        with cluster.channel(1, "worker1", password):
            return True
    except pika.exceptions.ProbableAuthenticationError:
        return False


def _get(channel: pika.adapters.blocking_connection.BlockingChannel, queue: str) -> tuple | None:
    got = channel.basic_get(queue)
    return got if got[0] is not None else None


def _drain(channel: pika.adapters.blocking_connection.BlockingChannel, queue: str) -> list[bytes]:
    bodies = []
    while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
        bodies.append(got[2])
    return bodies
