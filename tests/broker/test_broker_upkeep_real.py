"""Real brokers: queues are looked at, grown, spread, handed over; members forgotten; the last one goes on alone."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pika
import pytest
from broker_rig import Rig, rigs
from support import wait_until

from rmqcluster.agent.ports import Boot
from rmqcluster.broker.recovery import Recovery
from rmqcluster.broker.tables import Tables
from rmqcluster.core import queues as q
from rmqcluster.core.model import BrokerPhase, Purpose
from rmqcluster.core.tables import STANDING
from rmqcluster.errors import CommandFailed

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(
        shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin:/usr/sbin:/usr/bin") is None,
        reason="RabbitMQ is not installed",
    ),
]

QUEUES = 6
MESSAGES = 20  # in each queue
USER = (
    'rabbit_auth_backend_internal:add_user(<<"tester">>, <<"canary">>, <<"t">>),'
    ' rabbit_auth_backend_internal:set_permissions(<<"tester">>, <<"/fog">>, <<".*">>, <<".*">>, <<".*">>, <<"t">>).'
)


@contextmanager
def three() -> Iterator[tuple[Rig, Rig, Rig]]:
    """A cluster of three with quorum queues, a deliberate single one, a stream, and a classic queue on the second."""
    with rigs(3) as [one, two, three]:
        one.start_ready()
        for joiner in (two, three):
            joiner.start(Boot(Purpose.JOIN, "c1", target=one.settings.node))
        for joiner in (two, three):
            joiner.until(BrokerPhase.READY)
        one.ctl.run("rabbitmqctl", "eval", USER, deadline_seconds=30)
        with channel(two) as on_two:
            for number in range(QUEUES):
                declare(on_two, f"q{number}", "quorum")
            declare(on_two, "single", "quorum", {"x-quorum-initial-group-size": 1})
            declare(on_two, "log", "stream")
            declare(on_two, "old", "classic")
        yield one, two, three


@contextmanager
def channel(rig: Rig) -> Iterator[Any]:
    credentials = pika.PlainCredentials("tester", "canary")
    where = pika.ConnectionParameters("127.0.0.1", rig.settings.amqp_port, "/fog", credentials, socket_timeout=10)
    connection = pika.BlockingConnection(where)
    try:
        made = connection.channel()
        made.confirm_delivery()
        yield made
    finally:
        if connection.is_open:
            connection.close()


def declare(on: Any, name: str, kind: str, arguments: dict[str, Any] | None = None) -> None:
    on.queue_declare(name, durable=True, arguments={"x-queue-type": kind, **(arguments or {})})


def publish(rig: Rig) -> None:
    with channel(rig) as on:
        for number in range(QUEUES):
            for text in range(MESSAGES):
                on.basic_publish("", f"q{number}", str(text).encode(), mandatory=True)


def delivered(rig: Rig) -> int:
    count = 0
    with channel(rig) as on:
        for number in range(QUEUES):
            while on.basic_get(f"q{number}", auto_ack=True)[0] is not None:
                count += 1
    return count


def kill(rig: Rig) -> None:
    rig.process.kill()
    rig.until(BrokerPhase.DOWN)


def look(rig: Rig) -> dict[str, q.QueueFacts]:
    return {queue.name: queue for queue in rig.ctl.replicas.queues().queues}


def test_a_member_dies_is_forgotten_and_comes_back_blank() -> None:
    """Nothing lists it after the forget; grown replicas respect every queue's own target; then leaders are even."""
    with three() as (one, two, other):
        replicas, gone = one.ctl.replicas, two.settings.node
        publish(one)
        wait_until(lambda: q.all_caught_up(r := replicas.queues(), r.running), 15, "replicas have caught up")
        assert q.dies_with(replicas.queues(), gone) == ("/fog old", "/fog single")

        kill(two)
        survivors = frozenset({one.settings.node, other.settings.node})
        wait_until(lambda: replicas.queues().running == survivors, 15, "the survivors miss it")
        wait_until(lambda: not q.short(r := replicas.queues(), 2) or len(q.leaderless(r)) == 1, 15, "new leaders")
        replicas.rebalance()
        seen = replicas.queues()
        assert set(q.leaders(seen).values()) == {QUEUES // 2}
        assert [queue.label for queue in q.leaderless(seen)] == ["/fog single"]
        assert "/fog q0" in q.critical_without(seen, one.settings.node)
        assert seen.queues != ()
        assert look(one)["old"].leader == gone

        replicas.forget(gone)
        after = replicas.queues()
        assert after.members == survivors
        assert not [queue.name for queue in after.queues if gone in queue.members]
        assert {"old", "single"}.isdisjoint(look(one))

        shutil.rmtree(two.settings.paths.mnesia_base / gone)
        two.start_ready(Boot(Purpose.JOIN, "c1", target=one.settings.node))
        with channel(one) as on:
            declare(on, "single", "quorum", {"x-quorum-initial-group-size": 1})
        replicas.grow()
        assert {name: len(queue.members) for name, queue in look(one).items()} == {
            **{f"q{number}": 3 for number in range(QUEUES)},
            "single": 1,
            "log": 3,
        }
        wait_until(lambda: q.all_caught_up(r := replicas.queues(), r.running), 30, "the new replicas have caught up")
        replicas.rebalance()
        assert q.is_balanced(replicas.queues(), frozenset({*survivors, gone}))

        assert delivered(two) == QUEUES * MESSAGES


def test_leaders_leave_before_a_stop_and_return_from_maintenance() -> None:
    """A hand-over leaves only sole replicas; maintenance is seen in the report, and all replicas run after it."""
    with three() as (one, two, _):
        one.ctl.replicas.prepare_stop(5.0)
        me = one.settings.node

        def left() -> list[str]:
            return [name for name, queue in look(two).items() if queue.leader == me and len(queue.members) == 3]

        wait_until(lambda: set(left()) <= {"log"}, 15, "the leaders of queues are away")

        two.ctl.replicas.drain()
        drained = one.ctl.replicas.queues()
        assert drained.drained == {two.settings.node}
        assert two.settings.node not in {queue.leader for queue in drained.queues if queue.kind is q.QueueKind.QUORUM}
        assert q.missing_count(drained, drained.running - drained.drained) == 0

        two.ctl.replicas.revive()
        assert one.ctl.replicas.queues().drained == frozenset()
        wait_until(lambda: q.all_caught_up(r := one.ctl.replicas.queues(), r.running), 30, "all replicas run again")


def test_a_stopped_application_is_told_from_one_that_waits_for_its_peers() -> None:
    """Without a majority it stops and comes back by itself; stopped by a command, or a failed start, it does not."""
    with three() as (one, two, other):
        found = Tables(one.ctl, one.settings.node)
        assert found.load({}) != STANDING

        one.ctl.run("rabbitmqctl", "stop_app", deadline_seconds=30)
        one.until(BrokerPhase.STARTING)
        assert found.load({}) == STANDING
        one.ctl.run("rabbitmqctl", "start_app", deadline_seconds=60)
        one.until(BrokerPhase.READY)
        assert found.load({}) != STANDING

        for rig in (two, other):
            kill(rig)
        one.until(BrokerPhase.STARTING)
        wait_until(lambda: (one.turn(), found.load({}))[1] == "no table waits", 15, "it waits for its peers")


def test_the_last_member_goes_on_alone() -> None:
    """The disks of two of three are gone: the third serves every confirmed message alone, and still after a restart."""
    with three() as (one, two, other):
        publish(two)
        wait_until(lambda: q.all_caught_up(r := one.ctl.replicas.queues(), r.running), 15, "replicas have caught up")
        # 3.10 keeps what was declared last, and which log is whose, in memory for some seconds: put it on the disk.
        one.ctl.eval_json('mnesia:sync_log(), [dets:sync(T) || T <- dets:all()], base64:encode(<<"null">>).')
        for rig in (one, two, other):
            kill(rig)
        lost = frozenset({two.settings.node, other.settings.node})

        recovery = Recovery(one.ctl, one.ctl.replicas, one.settings.node, one.process.state().version)
        recovery.prepare_boot()
        one.start(Boot(Purpose.DATA, "c1"))
        wait_until(lambda: (one.turn(), tells_its_store(one))[1], 30, "the broker can be asked")
        recovery.release()
        one.until(BrokerPhase.READY)
        leaderless = recovery.settle(lost)

        assert set(leaderless) <= {"/fog single", "/fog log"}
        for _ in range(2):
            seen = one.ctl.replicas.queues()
            assert seen.members == {one.settings.node}
            led = {queue.name: queue.members for queue in seen.queues if queue.leader == one.settings.node}
            assert {f"q{number}" for number in range(QUEUES)} <= led.keys()
            assert {led[f"q{number}"] for number in range(QUEUES)} == {frozenset({one.settings.node})}
            one.stop()
            one.start_ready(Boot(Purpose.DATA, "c1"))
            wait_until(lambda: look(one)["q0"].leader is not None, 15, "queues have leaders after the restart")
        assert delivered(one) == QUEUES * MESSAGES
        with channel(one) as on:
            declare(on, "new", "quorum")


def tells_its_store(rig: Rig) -> bool:
    try:
        rig.ctl.eval_json('base64:encode(<<"true">>).')
    except CommandFailed:
        return False
    return True
