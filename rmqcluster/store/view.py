"""The reply of the snapshot script, made a `StoreView`. What cannot be used is left out and told as a warning."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rmqcluster.core.model import Announcement, StoreView
from rmqcluster.store import codec
from rmqcluster.store.keys import Keys
from rmqcluster.store.text import is_node_name, printable

T = TypeVar("T")
WARNINGS_LIMIT = 20
NO_EXPIRY = -1  # PTTL of a key that has no time limit


@dataclass(slots=True)
class Reader:
    """Collects what was wrong while one reply is read."""

    keys: Keys
    ttl_seconds: float
    warnings: list[str] = field(default_factory=list)

    def warn(self, key: str, problem: str) -> None:
        if len(self.warnings) < WARNINGS_LIMIT:
            self.warnings.append(f"Redis key {printable(key, 300)} {problem}; correct it or delete it")

    def record(self, key: str, raw: str | None, decode: Callable[[str], T]) -> T | None:
        if raw is None:
            return None
        try:
            return decode(raw)
        except codec.Malformed as error:
            self.warn(key, f"is not what it should be ({error})")
            return None

    def names(self, key: str, raw: list[str]) -> list[str]:
        good = [name for name in raw if is_node_name(name)]
        if len(good) < len(raw):
            bad = next(name for name in raw if not is_node_name(name))
            self.warn(key, f"holds what is no node name ({printable(bad, 60)})")
        return good

    def seconds_left(self, key: str, milliseconds: int) -> float | None:
        """None when the key is gone. A hand-made key without a limit counts as fresh, since it never ends."""
        if milliseconds == NO_EXPIRY:
            self.warn(key, "has no time limit, so it never ends")
            return self.ttl_seconds
        return milliseconds / 1000 if milliseconds > 0 else None


def to_view(reply: list[Any], node: str, keys: Keys, ttl_seconds: float) -> StoreView:
    """`reply` as `scripts.SNAPSHOT` gives it; never raises for what somebody else wrote."""
    members, nodes, master, record, claim, claim_ms, lease, lease_ms, owner, epoch, age, paused, *more = reply
    operation, operation_ms, problems = more
    reader = Reader(keys, ttl_seconds)
    for problem in problems:
        key, _, what = problem.partition(" ")
        reader.warn(key, what)
    announcements, heartbeats = _nodes(reader, nodes)
    claimed = reader.record(keys.founding, claim, codec.decode_claim)
    leased = reader.record(keys.lease, lease, codec.decode_lease)
    ends = list(heartbeats.values())
    for found, key, milliseconds in ((claimed, keys.founding, claim_ms), (leased, keys.lease, lease_ms)):
        left = reader.seconds_left(key, milliseconds) if found is not None else None
        ends += [] if left is None else [left]
    under_way = reader.record(keys.operation, operation, codec.decode_operation)
    operation_left = 0.0
    if under_way is not None:
        operation_left = reader.seconds_left(keys.operation, operation_ms) or 0.0
        ends.append(operation_left)
    return StoreView(
        members=frozenset(reader.names(keys.members, members)),
        master=next(iter(reader.names(keys.master, [master] if master else [])), None),
        record=reader.record(keys.record, record, codec.decode_record),
        claim=claimed,
        lease=leased,
        operation=under_way,
        operation_left_seconds=operation_left,
        owner=reader.record(keys.owner(node), owner, codec.decode_owner),
        announcements=announcements,
        heartbeats=heartbeats,
        epoch=reader.record(keys.epoch, epoch, codec.decode_number) or 0,
        roll_call_seconds=max(0.0, float(age)),
        paused=printable(paused) if paused else None,
        next_expiry_seconds=min(ends, default=None),
        warnings=tuple(reader.warnings),
    )


def _nodes(reader: Reader, rows: list[Any]) -> tuple[dict[str, Announcement], dict[str, float]]:
    announcements: dict[str, Announcement] = {}
    heartbeats: dict[str, float] = {}
    for name, raw, milliseconds in rows:
        if not is_node_name(name):
            reader.names(reader.keys.known, [name])
            continue
        key = reader.keys.announcement(name)
        found = reader.record(key, raw, codec.decode_announcement)
        if found is not None and found.node == name:
            announcements[name] = found
        elif found is not None:
            reader.warn(key, f"speaks of {found.node}")
        left = reader.seconds_left(reader.keys.heartbeat(name), milliseconds)
        if left is not None:
            heartbeats[name] = left
    return announcements, heartbeats
