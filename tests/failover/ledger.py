"""Every message has an id, and at the end each is accounted for: what was confirmed must have been delivered.

Publishers send persistent, `mandatory` messages one at a time and wait for the broker's word: *ok* (confirmed and
routed), *nacked*, *returned* (confirmed, but no queue took it: facts M13), or *unknown* (the connection ended before
any word came; or it has not come when the account is settled). No id is ever sent twice, so a second delivery is the
broker's.
"""

import socket
import threading
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import pika
from pika import exceptions
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.utils.connection_workflow import AMQPConnectorException

HEARTBEAT_SECONDS = 5
CONNECT_SECONDS = 3.0
STOP_SECONDS = 2 * HEARTBEAT_SECONDS + CONNECT_SECONDS
RETRY_SECONDS, PAUSE_SECONDS = 0.05, 0.2
DRAIN_IDLE_SECONDS = 1.0
DRAIN_SECONDS = 60.0
TOPOLOGY_SECONDS = 30.0
MISSING_QUEUE = "no queue"  # every other 404 is of a queue that has no leader now
LOST_CONNECTION = (exceptions.AMQPError, OSError)


class Outcome(StrEnum):
    OK = "ok"
    NACKED = "nacked"
    RETURNED = "returned"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one member's AMQP port answers."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Account:
    user: str
    password: str = field(repr=False)
    vhost: str = "/fog"


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of all ids."""

    outcomes: dict[Outcome, int]
    delivered: int
    lost: tuple[str, ...]  # confirmed, never delivered
    duplicated: int
    unexpected: tuple[str, ...]  # delivered, never published
    longest_pause_seconds: float  # between two confirms, as one publisher saw it
    pauses_seconds: tuple[float, ...]  # the longest one of each publisher

    @property
    def is_clean(self) -> bool:
        """Nothing lost, nothing from elsewhere, and something was counted at all."""
        return not self.lost and not self.unexpected and self.outcomes[Outcome.OK] > 0


class Ledger:
    """A load on queues of its own. Threads run between `start` and `stop`; `drain` is called after."""

    def __init__(
        self, endpoints: Sequence[Endpoint], account: Account, *, queues: int = 6, publishers: int = 3, prefix: str = ""
    ) -> None:
        self._endpoints, self._account = list(endpoints), account
        name = f"{prefix or 'ledger'}-{uuid.uuid4().hex[:6]}"
        self.queues = [f"{name}-{number}" for number in range(queues)]
        self.published: dict[str, Outcome] = {}
        self.deliveries: Counter[str] = Counter()
        self._pauses = [0.0] * publishers
        self._words = [time.monotonic()] * publishers
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._publish, args=(i,), name=f"publisher-{i}", daemon=True)
            for i in range(publishers)
        ]

    def declare(self) -> None:
        """Declare the quorum queues, with the members that there are. Raises TimeoutError."""

        def all_queues(channel: BlockingChannel) -> None:
            for queue in self.queues:
                channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})

        self._through_any(all_queues, "the queues cannot be declared")

    def use(self, endpoints: Sequence[Endpoint]) -> None:
        """The members answer elsewhere from now on; every further connection goes there."""
        self._endpoints = list(endpoints)

    def start(self) -> None:
        """Publish from now on; a publisher that is never told anything pauses from now on."""
        self.reset_pauses()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No further message; the words that are still due are waited for, within a limit."""
        now = time.monotonic()
        self._pauses = [max(seconds, now - word) for seconds, word in zip(self._pauses, self._words, strict=True)]
        self._stopping.set()
        ends_at = time.monotonic() + STOP_SECONDS
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, ends_at - time.monotonic()))

    def confirmed(self) -> int:
        return sum(1 for outcome in list(self.published.values()) if outcome is Outcome.OK)

    def reset_pauses(self) -> None:
        """Count pauses from now on."""
        now = time.monotonic()
        for index in range(len(self._pauses)):
            self._pauses[index], self._words[index] = 0.0, now

    def longest_pause_seconds(self) -> float:
        """Since the last reset, up to the stop; one that still lasts counts, too."""
        if self._stopping.is_set():
            return max(self._pauses)
        now = time.monotonic()
        return max(max(seconds, now - word) for seconds, word in zip(self._pauses, self._words, strict=True))

    def drain(self) -> Summary:
        """Take everything out, each queue through another member, and settle the account. Raises TimeoutError.

        A word that comes later counts no more: its message may have come too late for the queue that was emptied.
        """
        published = dict(self.published)
        ends_at = time.monotonic() + DRAIN_SECONDS
        for number, queue in enumerate(self.queues):
            self._drain_queue(queue, number, ends_at)
        confirmed = {i for i, outcome in published.items() if outcome is Outcome.OK}
        counts = Counter(published.values())
        return Summary(
            outcomes={outcome: counts[outcome] for outcome in Outcome},
            delivered=len(self.deliveries),
            lost=tuple(sorted(confirmed - self.deliveries.keys())),
            duplicated=sum(1 for times in self.deliveries.values() if times > 1),
            unexpected=tuple(sorted(self.deliveries.keys() - published.keys())),
            longest_pause_seconds=max(self._pauses),
            pauses_seconds=tuple(self._pauses),
        )

    def delete(self) -> None:
        """Take the queues away. Raises TimeoutError."""

        def all_queues(channel: BlockingChannel) -> None:
            for queue in self.queues:
                channel.queue_delete(queue)

        self._through_any(all_queues, "the queues cannot be deleted")

    # ---- publishing ----

    def _publish(self, index: int) -> None:
        turn = index
        while not self._stopping.is_set():
            try:
                with self._connection(turn) as connection:
                    self._publish_over(connection, index)
            except LOST_CONNECTION:
                turn += 1
                self._stopping.wait(RETRY_SECONDS)

    def _publish_over(self, connection: pika.BlockingConnection, index: int) -> None:
        """Until the stop, the end of the connection, or a nack: 3.10 nacks for ever on the same channel then."""
        channel = connection.channel()
        channel.confirm_delivery()
        number = 0
        while not self._stopping.is_set():
            queue = self.queues[(index + number) % len(self.queues)]
            outcome = self._publish_one(channel, queue)
            number += 1
            if outcome is Outcome.OK:
                self._heard(index)
            if outcome is Outcome.NACKED:
                channel = connection.channel()
                channel.confirm_delivery()
                self._stopping.wait(RETRY_SECONDS)

    def _publish_one(self, channel: BlockingChannel, queue: str) -> Outcome:
        message_id = uuid.uuid4().hex
        self.published[message_id] = Outcome.UNKNOWN
        properties = pika.BasicProperties(delivery_mode=2, message_id=message_id)
        try:
            channel.basic_publish("", queue, message_id.encode(), properties, mandatory=True)
            self.published[message_id] = Outcome.OK
        except exceptions.UnroutableError:
            self.published[message_id] = Outcome.RETURNED
        except exceptions.NackError:
            self.published[message_id] = Outcome.NACKED
        return self.published[message_id]

    def _heard(self, index: int) -> None:
        now = time.monotonic()
        if not self._stopping.is_set():
            self._pauses[index] = max(self._pauses[index], now - self._words[index])
        self._words[index] = now

    # ---- draining ----

    def _drain_queue(self, queue: str, turn: int, ends_at: float) -> None:
        while True:
            try:
                with self._connection(turn) as connection:
                    self._consume(connection.channel(), queue, ends_at)
                return
            except exceptions.ChannelClosedByBroker as error:
                if error.reply_code == 404 and MISSING_QUEUE in error.reply_text:
                    return  # somebody deleted it: what was confirmed into it is lost, and shows
                turn = self._next(turn, ends_at, error)
            except LOST_CONNECTION as error:
                turn = self._next(turn, ends_at, error)

    def _next(self, turn: int, ends_at: float, error: Exception) -> int:
        if time.monotonic() > ends_at:
            raise TimeoutError(f"the queues could not be emptied within {DRAIN_SECONDS:g} s: {error!r}") from error
        time.sleep(PAUSE_SECONDS)
        return turn + 1

    def _consume(self, channel: BlockingChannel, queue: str, ends_at: float) -> None:
        channel.basic_qos(prefetch_count=200)
        for method, _, body in channel.consume(queue, inactivity_timeout=DRAIN_IDLE_SECONDS):
            if time.monotonic() > ends_at:
                raise TimeoutError(f"{queue} could not be emptied within {DRAIN_SECONDS:g} s")
            if method is None:
                if channel.queue_declare(queue, passive=True).method.message_count == 0:
                    break
                continue
            self.deliveries[body.decode()] += 1
            channel.basic_ack(method.delivery_tag)
        channel.cancel()

    # ---- connections ----

    def _through_any(self, act: Callable[[BlockingChannel], None], failed: str) -> None:
        """`act` over a channel of the first member that lets it; it may be tried more than once."""
        ends_at, turn = time.monotonic() + TOPOLOGY_SECONDS, 0
        while True:
            try:
                with self._connection(turn) as connection:
                    act(connection.channel())
                return
            except LOST_CONNECTION as error:
                if time.monotonic() > ends_at:
                    raise TimeoutError(f"{failed}: not within {TOPOLOGY_SECONDS:g} s: {error!r}") from error
                turn += 1
                time.sleep(PAUSE_SECONDS)

    def _connection(self, turn: int) -> pika.BlockingConnection:
        end = self._endpoints[turn % len(self._endpoints)]
        parameters = pika.ConnectionParameters(
            host=end.host,
            port=end.port,
            virtual_host=self._account.vhost,
            credentials=pika.PlainCredentials(self._account.user, self._account.password),
            heartbeat=HEARTBEAT_SECONDS,
            socket_timeout=CONNECT_SECONDS,
            stack_timeout=CONNECT_SECONDS,
            blocked_connection_timeout=CONNECT_SECONDS * 10,
        )
        try:
            return pika.BlockingConnection(parameters)
        except AMQPConnectorException as error:  # accepted, but nobody spoke in time
            raise ConnectionError(str(error)) from error
        except ValueError as error:  # so pika tells of a broker that died right after it had accepted
            _close_sockets_of(error)
            raise ConnectionError(str(error)) from error


def _close_sockets_of(error: ValueError) -> None:
    """pika leaves the socket that it raised this about open, and to nobody."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        left = frame.f_locals.get("sock")
        if isinstance(left, socket.socket):
            left.close()
