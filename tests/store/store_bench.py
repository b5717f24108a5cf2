"""The same store over three backs: in memory, fakeredis, and a real server. Tests see only this shape."""

import uuid
from collections.abc import Callable
from typing import Any

import fakeredis
from fakes.memory_store import MemoryState, MemoryStore

from rmqcluster.agent.ports import Beat
from rmqcluster.config.settings import RedisSettings, Secret, Settings
from rmqcluster.core.model import Announcement, BrokerPhase, DiskKind, Operation, Policy
from rmqcluster.store.keys import Keys
from rmqcluster.store.redis_store import RedisStore

POLICY = Policy()  # size 3, heartbeat 5 s, TTL 15 s: no test waits for them
AnyStore = MemoryStore | RedisStore


def announcement(node: str, instance: str, disk: DiskKind = DiskKind.BLANK, **more: Any) -> Announcement:
    return Announcement(node, instance, disk, BrokerPhase.DOWN, **more)


class MemoryBench:
    """Time passes at a command, so expiry is a matter of setting a deadline."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.state = MemoryState(lambda: self.now)

    def store(self, node: str, instance: str) -> MemoryStore:
        return MemoryStore(self.state, node, instance, POLICY)

    def expire(self, what: str, node: str = "") -> None:
        if what == "heartbeat":
            self.state.heartbeats.pop(node)
        elif what == "announcement":
            self.state.announcements.pop(node)
        elif what == "owner":
            self.state.owners.pop(node)
        else:
            setattr(self.state, {"founding": "claim"}.get(what, what), None)

    def age_roll_call(self, seconds: float) -> None:
        self.state.roll_call_at = self.now - seconds

    def roll_call_age(self) -> float:
        assert self.state.roll_call_at is not None
        return self.now - self.state.roll_call_at

    def known(self) -> set[str]:
        return self.state.known

    def unix_seconds(self) -> float:
        return self.now

    def shorten_lease(self) -> None:
        assert self.state.lease is not None
        self.state.lease.until = self.now + 1

    def forget_epoch(self) -> None:
        self.state.epoch = 0

    def flush(self) -> None:
        self.now += 0.001  # as in a real server, no two calls come at the same moment
        self.state.flush()


class RedisBench:
    """Over a Redis client; expiry is a deleted key, which is what expiry is."""

    def __init__(self, raw: Any, settings: Settings, connect: Callable[..., Any] | None) -> None:
        self.raw, self.settings, self._connect = raw, settings, connect
        self.keys = Keys(settings.prefix)
        self._stores: list[RedisStore] = []

    def store(self, node: str, instance: str) -> RedisStore:
        more = {} if self._connect is None else {"connect": self._connect}
        self._stores.append(RedisStore(self.settings, node=node, instance=instance, **more))
        return self._stores[-1]

    def expire(self, what: str, node: str = "") -> None:
        name = getattr(self.keys, what)
        assert self.raw.delete(name(node) if node else name) == 1

    def age_roll_call(self, seconds: float) -> None:
        now, micros = self.raw.time()
        self.raw.set(self.keys.roll_call, now + micros / 1e6 - seconds)

    def roll_call_age(self) -> float:
        now, _ = self.raw.time()
        return now - float(self.raw.get(self.keys.roll_call))

    def known(self) -> set[str]:
        return set(self.raw.smembers(self.keys.known))

    def unix_seconds(self) -> float:
        now, micros = self.raw.time()
        return float(now + micros / 1e6)

    def shorten_lease(self) -> None:
        assert self.raw.pexpire(self.keys.lease, 1000)

    def forget_epoch(self) -> None:
        self.raw.delete(self.keys.epoch)

    def flush(self) -> None:
        self.raw.flushdb()

    def close(self) -> None:
        for store in self._stores:
            store.close()
        self.raw.close()


Bench = MemoryBench | RedisBench


def settings_for(port: int, password: str | None = None, user: str | None = None, policy: Policy = POLICY) -> Settings:
    given = RedisSettings("127.0.0.1", port, user, Secret(password) if password else None)
    return Settings("rabbit@a", Secret("c"), given, policy=policy, prefix=f"test{uuid.uuid4().hex[:8]}")


class FakeClient(fakeredis.FakeRedis):
    """fakeredis has no INFO."""

    def info(self, *_: object) -> dict[str, object]:
        return {"maxmemory_policy": "noeviction"}


def fake_bench() -> RedisBench:
    server = fakeredis.FakeServer()

    def connect(*_: object) -> Any:
        return FakeClient(server=server, decode_responses=True, encoding_errors="backslashreplace")

    return RedisBench(connect(), settings_for(1), connect)


class Member:
    """One supervisor's use of its store, for short tests."""

    def __init__(self, bench: Bench, name: str, instance: str = "") -> None:
        self.node, self.instance = f"rabbit@{name}", instance or f"run-{name}"
        self.store: AnyStore = bench.store(self.node, self.instance)
        self.sequence = 0

    def beat(
        self,
        disk: DiskKind = DiskKind.BLANK,
        *,
        registered: bool = False,
        keep_lease: bool = False,
        keep_claim: bool = False,
        operation: Operation | None = None,
        operation_left_seconds: float = 60.0,
        **more: Any,
    ) -> None:
        self.sequence += 1
        said = announcement(self.node, self.instance, disk, beat_sequence=self.sequence, **more)
        self.store.beat(Beat(said, registered, keep_lease, keep_claim, operation, operation_left_seconds))
