"""Redis's own word that a key has expired: a hint to look at once, on a connection of its own.

Redis sends it only where `notify-keyspace-events` holds E and x, which is the server administrator's to set, and only
to who may SUBSCRIBE to that channel. Without it nothing is missed: every reading says when the next key ends.
"""

import threading
import time
from typing import Any

import redis

ASK_AGAIN_SECONDS = 300.0  # after a server that would not let us listen


class Expiries:
    """Listens to the keys under one prefix, from the first `wait` on. One waiter at a time; `client` is its alone."""

    def __init__(self, client: Any, prefix: str, database: int) -> None:
        self._client, self._start = client, f"{prefix}:"
        self._channel = f"__keyevent@{database}__:expired"
        self._listener: Any = None
        self._denied_at: float | None = None
        self._outdated = threading.Event()
        self._closed = threading.Event()

    def wait(self, seconds: float) -> bool:
        """True as soon as a key has expired, False when the time is over. Raises errors of the client.

        What expired between two calls counts for the later one. A server that denies listening costs the same time
        and is asked again some minutes later.
        """
        until = time.monotonic() + seconds
        try:
            if self._may_listen() and self._hears(until):
                return True
        except redis.ResponseError:  # no permission; a wrong login is another kind of error
            self._drop()
            self._denied_at = time.monotonic()
        except (redis.RedisError, UnicodeError):
            self._drop()
            raise
        self._closed.wait(max(0.0, until - time.monotonic()))
        return False

    def renew(self) -> None:
        """Connect anew for the next `wait`: behind the address may be another server now. From any thread."""
        self._outdated.set()

    def close(self) -> None:
        """Ends a wait that only passes time; one that listens ends with its time or its connection."""
        self._closed.set()
        self._client.close()

    def _may_listen(self) -> bool:
        if self._outdated.is_set():
            self._outdated.clear()
            self._drop()
            self._denied_at = None
        return self._denied_at is None or time.monotonic() - self._denied_at >= ASK_AGAIN_SECONDS

    def _hears(self, until: float) -> bool:
        if self._listener is None:
            self._listener = self._client.pubsub(ignore_subscribe_messages=True)
            self._listener.subscribe(self._channel)
        while (left := until - time.monotonic()) > 0:
            if self._is_ours(self._listener.get_message(timeout=left)):
                self._pass_over(until)
                return True
        return False

    def _pass_over(self, until: float) -> None:
        """What expired together is one hint."""
        while time.monotonic() < until and self._listener.get_message(timeout=0) is not None:
            pass

    def _is_ours(self, message: dict[str, Any] | None) -> bool:
        return message is not None and str(message["data"]).startswith(self._start)

    def _drop(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
