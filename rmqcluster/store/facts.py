"""What a Redis server says of itself: for `doctor`, and for the warnings that every reading carries."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from rmqcluster.store.text import printable


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """One look at the server; times in seconds, None where it did not say."""

    version: str
    role: str  # "master" or "slave", in Redis's own words
    eviction_policy: str | None
    appends: bool | None  # an append-only file is written
    saved_at: float | None  # Unix time of the last snapshot
    save_failed: bool  # the last snapshot or append failed
    replicas: int | None
    asks_password: bool | None
    clock_offset_seconds: float  # the server's clock minus ours
    reply_seconds: float
    expiry_events: bool | None = None  # it tells who listens which keys expired; None when our account may not ask


def read_facts(client: Any, answers_anybody: Callable[[], bool | None]) -> ServerFacts:
    """Raises redis errors; the caller translates them."""
    client.ping()  # pays for the connection, so that the next reply is only a reply
    asked_at, asked_on = time.monotonic(), time.time_ns() / 1e9
    seconds, micros = client.time()
    took = time.monotonic() - asked_at
    info = client.info()
    anybody = answers_anybody()
    states = (info.get("rdb_last_bgsave_status"), info.get("aof_last_write_status"))
    return ServerFacts(
        version=printable(str(info.get("redis_version", "?")), 50),
        role=printable(str(info.get("role", "?")), 50),
        eviction_policy=eviction_policy(info),
        appends=None if "aof_enabled" not in info else info["aof_enabled"] == 1,
        saved_at=_number(info.get("rdb_last_save_time")),
        save_failed="err" in states,
        replicas=None if (found := _number(info.get("connected_slaves"))) is None else int(found),
        asks_password=None if anybody is None else not anybody,
        clock_offset_seconds=seconds + micros / 1e6 - (asked_on + took / 2),
        reply_seconds=took,
        expiry_events=_expiry_events(client),
    )


def _expiry_events(client: Any) -> bool | None:
    """E is for events by key event, x for expired keys, A for all kinds (redis.conf, notify-keyspace-events)."""
    try:
        found = str(client.config_get("notify-keyspace-events").get("notify-keyspace-events", ""))
    except redis.ResponseError:  # CONFIG is no command of ours: whoever may use it anyway learns more
        return None
    return "E" in found and ("x" in found or "A" in found)


def eviction_policy(info: Mapping[str, object]) -> str | None:
    found = info.get("maxmemory_policy")
    return printable(found, 50) if isinstance(found, str) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
