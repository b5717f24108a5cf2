"""Wakes the conversation with Redis when somebody wrote an event or a key expired: a hint to look, never a truth."""

from collections.abc import Callable
from typing import Protocol

from rmqcluster.agent.ports import Event
from rmqcluster.core.model import Policy
from rmqcluster.errors import StoreUnavailable

RETRY_SECONDS = 2.0


class EventSource(Protocol):
    def wait_for_event(self, last_id: str, seconds: float) -> list[Event]: ...


class ExpirySource(Protocol):
    def wait_for_expiry(self, seconds: float) -> bool: ...


class ExpiryWatcher:
    """Wakes when Redis says that a key has expired. A server that sends no such events only lets the time pass."""

    def __init__(self, source: ExpirySource, policy: Policy, wake: Callable[[], None]) -> None:
        self._source, self._wake, self._seconds = source, wake, policy.heartbeat_seconds

    def step(self) -> float:
        try:
            if self._source.wait_for_expiry(self._seconds):
                self._wake()
        except StoreUnavailable:
            return RETRY_SECONDS  # the store worker tells of the trouble; this only listens
        return 0.0


class Watcher:
    """Follows the event stream from now on. Without it everything still happens, at the pace of the beats."""

    def __init__(self, source: EventSource, policy: Policy, wake: Callable[[], None]) -> None:
        self._source, self._wake = source, wake
        self._seconds = policy.heartbeat_seconds
        self._last_id = "$"

    def step(self) -> float:
        try:
            events = self._source.wait_for_event(self._last_id, self._seconds)
        except StoreUnavailable:
            return RETRY_SECONDS  # the store worker tells of the trouble; this only follows
        if events:
            self._last_id = events[-1].id
            self._wake()
        return 0.0
