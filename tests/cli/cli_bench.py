"""Members that exist only as what they wrote to Redis."""

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any

from rmqcluster.agent.ports import Beat, Event
from rmqcluster.config.load import load
from rmqcluster.core.actions import EndOperation, TakeLease
from rmqcluster.core.model import Announcement, BrokerPhase, DiskKind, Operation, View
from rmqcluster.errors import StoreUnavailable
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

    def lease(self, node: str = NODES[0]) -> None:
        """Makes a member the monitor."""
        assert self.store(node).apply(TakeLease(0))

    def lose(self, *nodes: str) -> None:
        """These are gone: Redis has nothing of them any more, and the brokers of the others miss them."""
        for node in nodes:
            self.raw.delete(f"rabbitmq:node:{node}:heartbeat", f"rabbitmq:node:{node}:announcement")
            self.raw.srem("rabbitmq:cluster:members", node)
        left = [node for node in NODES if node not in nodes]
        for node in left:
            self.beat(node, view=View(frozenset(NODES), frozenset(left)), mutual=len(left) > 1)


class Executor:
    """A supervisor's part of an operation: sees the record, says that it begins, ends it and says how.

    `answers` are the words for one operation after the other, the last one for all further ones: done, failed and
    refused end it; `retried` fails and leaves the record for another try; `unknown` leaves it; `begin` does no more.
    """

    def __init__(self, store: RedisStore, *answers: str, first: Callable[[], object] = lambda: None) -> None:
        self.seen: list[Operation] = []
        self._store, self._answers, self._first = store, answers, first
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop)

    def __enter__(self) -> "Executor":
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(10)

    def _loop(self) -> None:
        while not self._stop.wait(0.01):
            try:
                found = self._store.read_operation()
            except StoreUnavailable:
                continue
            if found is not None and found.id not in [one.id for one in self.seen]:
                self._carry_out(found)

    def _carry_out(self, found: Operation) -> None:
        self.seen.append(found)
        answer = self._answers[min(len(self.seen), len(self._answers)) - 1]
        self._first()
        self._tell("begin", "on it", found)
        if answer == "retried":
            self._tell("failed", "not yet", found)
            answer = "done"
        if answer in ("done", "failed", "refused"):
            self._insist(lambda: self._store.apply(EndOperation(found, answer, "so it ended")))
        if answer != "begin":
            self._tell(answer, "so it ended", found)

    def _tell(self, kind: str, text: str, found: Operation) -> None:
        self._insist(lambda: self._store.record_event(Event("rabbit@a", kind, text, operation=found.id)))

    def _insist(self, act: Callable[[], object]) -> None:
        """Redis may be silent for a moment."""
        while not self._stop.is_set():
            try:
                act()
            except StoreUnavailable:
                self._stop.wait(0.05)
            else:
                return
