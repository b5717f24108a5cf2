"""What a Redis server says of itself: for `doctor`, and for the first warnings."""

import time
from dataclasses import dataclass
from typing import Any

import redis

from rmqcluster.config.settings import RedisSettings


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """One look at the server; times in seconds."""

    version: str
    role: str
    eviction_policy: str
    persists: bool  # append-only file or snapshots
    asks_password: bool | None  # None: could not be found out
    clock_offset_seconds: float  # the server's clock minus ours
    latency_seconds: float


def read_facts(client: Any, given: RedisSettings) -> ServerFacts:
    """Raises redis errors; the caller translates them."""
    started_at = time.monotonic()
    client.ping()
    latency = time.monotonic() - started_at
    info = client.info()
    seconds, micros = client.time()
    return ServerFacts(
        version=str(info.get("redis_version", "?")),
        role=str(info.get("role", "?")),
        eviction_policy=str(info.get("maxmemory_policy", "?")),
        persists=bool(info.get("aof_enabled")) or bool(info.get("rdb_last_save_time")),
        asks_password=_asks_password(given),
        clock_offset_seconds=seconds + micros / 1e6 - time.time_ns() / 1e9,
        latency_seconds=latency,
    )


def _asks_password(given: RedisSettings) -> bool | None:
    """Does the server refuse a client without a password? Not asked where TLS or Sentinel stand in between."""
    if given.url is not None:
        return None
    bare = redis.Redis(host=given.host, port=given.port, socket_timeout=1.0, socket_connect_timeout=1.0)
    try:
        bare.ping()
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError):
        return True
    except redis.ResponseError:
        return True
    except redis.RedisError:
        return None
    finally:
        bare.close()
    return False
