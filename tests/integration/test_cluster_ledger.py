"""The ledger finds planted losses: a count that finds nothing has to prove that it could (H8)."""

import socket
from collections.abc import Callable, Iterator

import pika
import pytest
from cluster import HOST, Cluster
from failover.ledger import Account, Endpoint, Ledger, Outcome
from support import wait_until

MESSAGES = 30


@pytest.fixture(scope="module")
def lone() -> Iterator[Cluster]:
    made = Cluster(1)
    try:
        made.form()
        yield made
    finally:
        made.close()


@pytest.fixture
def ledger(lone: Cluster) -> Iterator[Ledger]:
    """A ledger that has confirmed some messages into each of its two queues, and publishes no more."""
    endpoint = Endpoint(HOST, lone.demo.node(1).amqp_port)
    made = Ledger([endpoint], Account("admin", lone.secret("admin")), queues=2, publishers=1)
    made.declare()
    made.start()
    try:
        wait_until(lambda: made.confirmed() >= MESSAGES, 20, "messages are confirmed")
    finally:
        made.stop()
    yield made
    made.delete()


def take_one(lone: Cluster, ledger: Ledger) -> None:
    with lone.channel(1) as channel:
        method, _, _ = channel.basic_get(ledger.queues[0])
        channel.basic_ack(method.delivery_tag)


def purge(lone: Cluster, ledger: Ledger) -> None:
    with lone.channel(1) as channel:
        channel.queue_purge(ledger.queues[1])


def delete(lone: Cluster, ledger: Ledger) -> None:
    with lone.channel(1) as channel:
        channel.queue_delete(ledger.queues[1])


@pytest.mark.parametrize("plant", [take_one, purge, delete])
def test_h8_a_planted_loss_is_found(lone: Cluster, ledger: Ledger, plant: Callable[[Cluster, Ledger], None]) -> None:
    """H8: a message taken, a queue purged or deleted behind the ledger's back: lost, as many as were taken."""
    plant(lone, ledger)
    summary = ledger.drain()

    confirmed = summary.outcomes[Outcome.OK]
    assert len(summary.lost) == (1 if plant is take_one else confirmed // 2)
    assert not summary.is_clean


def test_h8_nothing_planted_nothing_found(ledger: Ledger) -> None:
    """H8: all that was confirmed is delivered, once."""
    summary = ledger.drain()

    assert summary.is_clean
    assert summary.delivered == summary.outcomes[Outcome.OK] >= MESSAGES
    assert summary.duplicated == 0


def test_h8_a_dropped_id_is_found(ledger: Ledger) -> None:
    """H8: a delivery that the ledger never published is unexpected."""
    ledger.published.popitem()
    summary = ledger.drain()

    assert len(summary.unexpected) == 1
    assert not summary.is_clean


def test_h8_a_second_delivery_is_counted(lone: Cluster, ledger: Ledger) -> None:
    """H8: a message that is delivered twice is a duplicate, not a loss."""
    with lone.channel(1) as channel:
        _, properties, body = channel.basic_get(ledger.queues[0], auto_ack=True)
        for _ in range(2):
            channel.basic_publish("", ledger.queues[0], body, properties)
    summary = ledger.drain()

    assert summary.duplicated == 1
    assert summary.lost == ()


def test_h8_a_queue_that_is_not_there_is_no_confirm(lone: Cluster, ledger: Ledger) -> None:
    """H8: what no queue takes is confirmed by the broker and returned (facts M13): counted apart."""
    endpoint = Endpoint(HOST, lone.demo.node(1).amqp_port)
    astray = Ledger([endpoint], Account("admin", lone.secret("admin")), queues=1, publishers=1)
    astray.start()
    try:
        wait_until(lambda: Outcome.RETURNED in list(astray.published.values()), 20, "a message is returned")
    finally:
        astray.stop()

    assert set(astray.published.values()) == {Outcome.RETURNED}
    assert not astray.drain().is_clean


def test_a_broker_that_dies_as_it_accepts_leaves_no_open_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """pika tells of it with a ValueError and drops the socket; here it is a lost connection, and the socket closed."""
    accepted = socket.socket()

    def dies(parameters: pika.ConnectionParameters) -> None:
        sock = accepted
        raise ValueError(f"Expected connected socket: {sock}")

    monkeypatch.setattr(pika, "BlockingConnection", dies)
    with pytest.raises(ConnectionError, match="Expected connected socket"):
        Ledger([Endpoint(HOST, 1)], Account("admin", "x"))._connection(0)
    assert accepted.fileno() == -1
