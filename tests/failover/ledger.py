"""Every message has an id, and at the end each is accounted for: what was confirmed must have been delivered.

Publishers send persistent, `mandatory` messages one at a time and wait for the broker's word: *ok* (confirmed and
routed), *nacked*, *returned* (confirmed, but no queue took it: facts M13), or *unknown* (the connection ended before
any word came). No id is ever sent twice, so a second delivery is the broker's.
"""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import pika
from pika import exceptions

HEARTBEAT_SECONDS = 5
CONNECT_SECONDS = 3.0
RETRY_SECONDS = 0.05
DRAIN_IDLE_SECONDS = 1.0
DRAIN_SECONDS = 60.0
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
        self._words = [0.0] * publishers
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._publish, args=(i,), name=f"publisher-{i}", daemon=True)
            for i in range(publishers)
        ]

    def declare(self) -> None:
        """Declare the quorum queues, with the members that there are."""
        with self._connection(0) as connection:
            channel = connection.channel()
            for queue in self.queues:
                channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No further message; the words that are still due are waited for."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(2 * HEARTBEAT_SECONDS + CONNECT_SECONDS)

    def confirmed(self) -> int:
        return sum(1 for outcome in list(self.published.values()) if outcome is Outcome.OK)

    def reset_pauses(self) -> None:
        """Count pauses from now on."""
        now = time.monotonic()
        for index in range(len(self._pauses)):
            self._pauses[index], self._words[index] = 0.0, now

    def longest_pause_seconds(self) -> float:
        """Since the last reset; one that still lasts counts, too."""
        now = time.monotonic()
        return max(
            max(seconds, now - word if word else 0.0) for seconds, word in zip(self._pauses, self._words, strict=True)
        )

    def drain(self) -> Summary:
        """Take everything out, each queue through another member, and settle the account."""
        ends_at = time.monotonic() + DRAIN_SECONDS
        for number, queue in enumerate(self.queues):
            self._drain_queue(queue, number, ends_at)
        confirmed = {i for i, outcome in self.published.items() if outcome is Outcome.OK}
        counts = Counter(self.published.values())
        return Summary(
            outcomes={outcome: counts[outcome] for outcome in Outcome},
            delivered=len(self.deliveries),
            lost=tuple(sorted(confirmed - self.deliveries.keys())),
            duplicated=sum(1 for times in self.deliveries.values() if times > 1),
            unexpected=tuple(sorted(self.deliveries.keys() - self.published.keys())),
            longest_pause_seconds=max(self._pauses),
            pauses_seconds=tuple(self._pauses),
        )

    def delete(self) -> None:
        """Take the queues away."""
        with self._connection(0) as connection:
            channel = connection.channel()
            for queue in self.queues:
                channel.queue_delete(queue)

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

    def _publish_over(self, connection: "pika.BlockingConnection", index: int) -> None:
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

    def _publish_one(self, channel: "pika.adapters.blocking_connection.BlockingChannel", queue: str) -> Outcome:
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
        if self._words[index]:
            self._pauses[index] = max(self._pauses[index], now - self._words[index])
        self._words[index] = now

    # ---- draining ----

    def _drain_queue(self, queue: str, turn: int, ends_at: float) -> None:
        while True:
            try:
                with self._connection(turn) as connection:
                    self._consume(connection.channel(), queue)
                return
            except exceptions.ChannelClosedByBroker as error:
                if error.reply_code == 404:
                    return  # somebody deleted it: what was confirmed into it is lost, and shows
                turn = self._next(turn, ends_at, error)
            except LOST_CONNECTION as error:
                turn = self._next(turn, ends_at, error)

    def _next(self, turn: int, ends_at: float, error: Exception) -> int:
        if time.monotonic() > ends_at:
            raise TimeoutError(f"the queues could not be emptied within {DRAIN_SECONDS:g} s: {error!r}") from error
        threading.Event().wait(RETRY_SECONDS * 4)
        return turn + 1

    def _consume(self, channel: "pika.adapters.blocking_connection.BlockingChannel", queue: str) -> None:
        channel.basic_qos(prefetch_count=200)
        for method, _, body in channel.consume(queue, inactivity_timeout=DRAIN_IDLE_SECONDS):
            if method is None:
                if channel.queue_declare(queue, passive=True).method.message_count == 0:
                    break
                continue
            self.deliveries[body.decode()] += 1
            channel.basic_ack(method.delivery_tag)
        channel.cancel()

    def _connection(self, turn: int) -> "pika.BlockingConnection":
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
        return pika.BlockingConnection(parameters)
