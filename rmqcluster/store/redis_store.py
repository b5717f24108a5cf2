"""The store's contract on a real Redis: one member's hand on the keys under the prefix.

Every reading and every act is one script, so one round trip and one consistent moment. Raises StoreUnavailable,
or StoreRefused when Redis answered but will not have us; after either the next call connects anew. It decides
nothing, repeats nothing, and believes nothing that it reads unchecked.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import redis

from rmqcluster.agent.ports import Beat, Event
from rmqcluster.config.settings import Settings
from rmqcluster.core import actions as a
from rmqcluster.core.model import Lease, Operation, StoreView
from rmqcluster.errors import StoreUnavailable
from rmqcluster.store import client, codec, events, facts, scripts
from rmqcluster.store.address import read_address
from rmqcluster.store.expiry import Expiries
from rmqcluster.store.facts import ServerFacts
from rmqcluster.store.keys import EVENTS_KEPT, Keys
from rmqcluster.store.lua import Script
from rmqcluster.store.steps import step_for
from rmqcluster.store.text import printable
from rmqcluster.store.trouble import translated
from rmqcluster.store.view import to_view

SERVER_CHECK_SECONDS = 300.0  # between two looks at how the server is set up
EVENTS_AT_ONCE = 100
Connect = Callable[[Settings, str, float], Any]


class RedisStore:
    """Port `Store`, bound to one node name and one instance of its supervisor; and the operator's few acts.

    `wait_for_event` and `wait_for_expiry` have a connection each and run beside the other calls; those take turns,
    from any thread.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        node: str,
        instance: str,
        clock: Callable[[], float] = time.monotonic,
        connect: Connect = client.connect,
    ) -> None:
        self._settings, self._policy = settings, settings.policy
        self._node, self._instance, self._clock = node, instance, clock
        self._keys, self._address = Keys(settings.prefix), settings.redis.address
        seconds = client.reply_seconds(settings)
        self._redis: Any = connect(settings, f"rmqcluster-{node}", seconds)
        self._follower: Any = connect(settings, f"rmqcluster-follow-{node}", self._policy.heartbeat_seconds + seconds)
        self._listener: Any = connect(settings, f"rmqcluster-listen-{node}", seconds)
        self._expiries = Expiries(self._listener, settings.prefix, read_address(settings.redis).database)
        self._turns = {id(one): threading.Lock() for one in (self._redis, self._follower, self._listener)}
        self._server_warnings: tuple[str, ...] = ()
        self._server_checked_at: float | None = None

    def beat(self, beat: Beat) -> None:
        """Write announcement and owner, and what is to be kept alive; nothing when the name is another's.

        Without an announcement only the lease is kept alive. An operation is written again only when Redis was
        emptied after it had begun.
        """
        said, operation = beat.announcement, beat.operation
        words = ("", 0) if said is None else (codec.encode(said), said.beat_sequence)
        flags = (int(beat.registered), int(beat.keep_lease), int(beat.keep_claim))
        again: tuple[str | float, ...] = ("", 0, 0)
        if operation is not None:
            again = (codec.encode(operation), operation.since, int(beat.operation_left_seconds * 1000))
        self._run(scripts.BEAT, *words, *flags, *again)

    def snapshot(self) -> StoreView:
        """Everything under the prefix, read in one step; rarely also how the server is set up."""
        self._check_server()
        view = to_view(self._run(scripts.SNAPSHOT), self._node, self._keys, self._policy.ttl_seconds)
        return replace(view, warnings=self._server_warnings + view.warnings)

    def apply(self, action: a.StoreAction) -> bool:
        """Carry out one action in one step; False when its condition did not hold."""
        return bool(self._run(*step_for(action, self._policy)))

    def read_lease(self) -> Lease | None:
        """The lease as it is now; None when there is none that can be read."""
        raw = self._run(scripts.READ_LEASE)
        try:
            return None if raw is None else codec.decode_lease(raw)
        except codec.Malformed:
            return None  # every snapshot warns of it

    def read_operation(self) -> Operation | None:
        """The operation as it is now; None when there is none that can be read."""
        raw = self._run(scripts.READ_OPERATION)
        try:
            return None if raw is None else codec.decode_operation(raw)
        except codec.Malformed:
            return None  # every snapshot warns of it

    def record_event(self, event: Event) -> None:
        """Append to the history; its texts are escaped and cut."""
        with self._calling(self._redis):
            self._redis.xadd(self._keys.events, events.to_fields(event), maxlen=EVENTS_KEPT, approximate=True)

    def recent_events(self, count: int) -> list[Event]:
        """The newest events, oldest first."""
        with self._calling(self._redis):
            rows = self._redis.xrevrange(self._keys.events, count=count)
        return events.from_rows(reversed(rows))

    def wait_for_event(self, last_id: str, seconds: float) -> list[Event]:
        """Events after `last_id` ("$": from now on). Waits at most `seconds`, and never longer than a heartbeat."""
        block_ms = max(1, int(min(seconds, self._policy.heartbeat_seconds) * 1000))
        with self._calling(self._follower):
            found = self._follower.xread({self._keys.events: last_id}, count=EVENTS_AT_ONCE, block=block_ms)
        return [event for _, rows in found or () for event in events.from_rows(rows)]

    def wait_for_expiry(self, seconds: float) -> bool:
        """True as soon as Redis says that a key under the prefix has expired, False after `seconds`.

        A hint: a server that sends no such events, or not to us, always lets the time pass.
        """
        with self._calling(self._listener):
            return self._expiries.wait(seconds)

    def clear(self) -> None:
        """Delete members, master, heartbeats and the lease; record, epoch, announcements and history stay, and so
        does an operation, which goes on whatever Redis says."""
        self._run(scripts.CLEAR)

    def clear_identity(self, cluster_id: str) -> tuple[str, ...]:
        """Forget the cluster of this id, keeping the epoch. Empty when done; otherwise what stands in the way:
        the names of members and of disks with data, or "record" when Redis holds another id or none."""
        return tuple(printable(name, 200) for name in self._run(scripts.CLEAR_IDENTITY, cluster_id))

    def pause(self, why: str, seconds: float | None) -> None:
        """Say why automatic acts are to stop, for so long (None: until `resume`)."""
        with self._calling(self._redis):
            self._redis.set(self._keys.paused, printable(why), px=None if seconds is None else int(seconds * 1000))

    def resume(self) -> None:
        with self._calling(self._redis):
            self._redis.delete(self._keys.paused)

    def ping_facts(self) -> ServerFacts:
        """What `doctor` wants to know of the server."""
        with self._calling(self._redis):
            return facts.read_facts(self._redis, lambda: client.answers_anybody(self._settings))

    def close(self) -> None:
        self._redis.close()
        self._follower.close()
        self._expiries.close()

    def _run(self, script: Script, *arguments: str | int | float) -> Any:
        fixed = (self._settings.prefix, self._node, self._instance, int(self._policy.ttl_seconds * 1000))
        with self._calling(self._redis):
            try:
                return self._redis.evalsha(script.digest, 0, *fixed, *arguments)
            except redis.exceptions.NoScriptError:  # first use, or the server was restarted
                return self._redis.eval(script.text, 0, *fixed, *arguments)

    @contextmanager
    def _calling(self, used: Any) -> Iterator[None]:
        """Errors as ours; after one, no connection is used again: behind the name may be another server now."""
        with self._turns[id(used)]:
            try:
                with translated(self._address):
                    yield
            except StoreUnavailable:
                used.connection_pool.disconnect()
                self._expiries.renew()
                raise

    def _check_server(self) -> None:
        now = self._clock()
        if self._server_checked_at is not None and now - self._server_checked_at < SERVER_CHECK_SECONDS:
            return
        with self._calling(self._redis):
            policy = facts.eviction_policy(self._redis.info("memory"))
        warnings = []
        if policy != "noeviction":
            shown = "that it does not tell" if policy is None else policy
            warnings.append(
                f"Redis at {self._address} may evict coordination keys (maxmemory-policy {shown}); set it to noeviction"
            )
        if client.gives_login(self._settings) and client.answers_anybody(self._settings):
            warnings.append(f"Redis at {self._address} answers without a password; set requirepass or a user list")
        self._server_warnings, self._server_checked_at = tuple(warnings), now
