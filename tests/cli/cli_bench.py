"""Members that exist only as what they wrote to Redis."""

import os
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any

from rmqcluster.agent.ports import Beat, Event
from rmqcluster.config.load import load
from rmqcluster.core.model import Announcement, BrokerPhase, DiskKind, View
from rmqcluster.store.redis_store import RedisStore

NODES = ("rabbit@a", "rabbit@b", "rabbit@c")
CLUSTER_ID = "0123456789abcdef0123456789abcdef"
Run = Callable[..., tuple[int, str, str]]
Serve = Callable[[bytes], int]  # starts an HTTP server that answers every GET with these bytes; gives its port


class Bench:
    """A hand on the Redis of a test."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self._stores: list[RedisStore] = []

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for store in self._stores:
            store.close()

    def store(self, node: str) -> RedisStore:
        self._stores.append(RedisStore(load(os.environ, None, role="client"), node=node, instance=f"i-{node}"))
        return self._stores[-1]

    def beat(self, node: str, *, registered: bool = True, **changes: Any) -> None:
        """One beat of a healthy member, or of one that is otherwise."""
        view = View(frozenset(NODES), frozenset(NODES))
        said = Announcement(
            node=node,
            instance=f"i-{node}",
            disk=DiskKind.DATA,
            broker=BrokerPhase.READY,
            cluster_id=CLUSTER_ID,
            version="3.10.8",
            mutual=True,
            view=view,
            listed=frozenset(NODES),
            state="running",
        )
        self.store(node).beat(Beat(replace(said, **changes), registered, False, False))

    def form(self) -> None:
        """Three healthy members, a record and a master."""
        for node in NODES:
            self.beat(node)
        record = f'{{"v": 1, "cluster_id": "{CLUSTER_ID}", "epoch": 1, "founder": "rabbit@a"}}'
        self.raw.set("rabbitmq:cluster:record", record)
        self.raw.set("rabbitmq:cluster:master", NODES[0])
        self.raw.set("rabbitmq:cluster:epoch", 7)

    def event(self, kind: str, text: str) -> None:
        self.store(NODES[0]).record_event(Event(NODES[0], kind, text, rule=830, epoch=7))
