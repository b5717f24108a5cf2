"""Records to compact JSON and back. What comes back is judged strictly; `Malformed` says what is wrong.

Every value carries the format version `v`. A reader ignores fields that it does not know, so a newer member may
add some; it never guesses a type. Texts are escaped while they are read, so nothing behind this room must.
"""

import json
from dataclasses import asdict, replace
from enum import StrEnum
from typing import TypeVar

from rmqcluster.core.model import (
    Announcement,
    BrokerPhase,
    Claim,
    DiskKind,
    Lease,
    Operation,
    OperationKind,
    Owner,
    Record,
    View,
)
from rmqcluster.store.text import is_node_name, printable

VERSION = 1
VALUE_LIMIT_BYTES = 64 * 1024
NAMES_LIMIT = 256  # members of one cluster, with room for strangers
NUMBER_LIMIT = 10**12  # epochs and sequences; also what Lua counts exactly
REMARKS_LIMIT = 20  # notes, and findings, of one announcement
REMARK_LIMIT = 400  # characters of each

E = TypeVar("E", bound=StrEnum)


class Malformed(ValueError):
    """A value from Redis is not what its key promises; the text says why and is safe to show."""


def encode(record: Announcement | Claim | Record | Lease | Owner | Operation) -> str:
    """Compact JSON with the format version; `None` and sets are kept as null and sorted lists."""
    if isinstance(record, Announcement) and (record.notes or record.findings):
        record = replace(record, notes=_remarks(record.notes), findings=_remarks(record.findings))
        if len(raw := _dump(record)) <= VALUE_LIMIT_BYTES:
            return raw
        record = replace(record, notes=(), findings=())  # no remark is worth an announcement that nobody reads
    return _dump(record)


def _remarks(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(printable(text, REMARK_LIMIT) for text in texts[:REMARKS_LIMIT])


def _dump(record: Announcement | Claim | Record | Lease | Owner | Operation) -> str:
    return json.dumps({"v": VERSION, **asdict(record)}, separators=(",", ":"), default=sorted)


class Fields:
    """One decoded JSON object, asked for each field by the type that it must have."""

    def __init__(self, raw: str) -> None:
        if len(raw.encode(errors="replace")) > VALUE_LIMIT_BYTES:
            raise Malformed(f"longer than {VALUE_LIMIT_BYTES} bytes")
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError):
            raise Malformed("not JSON") from None
        self._init(found)
        if self.number("v") < 1:
            raise Malformed("v is not a format version")

    def _init(self, found: object) -> None:
        if not isinstance(found, dict):
            raise Malformed("not a JSON object")
        self._found: dict[str, object] = found

    def inner(self, name: str) -> "Fields | None":
        value = self._found.get(name)
        if value is None:
            return None
        fields = Fields.__new__(Fields)
        fields._init(value)
        return fields

    def has(self, name: str) -> bool:
        """Does it say anything of it? What an older rmqcluster wrote does not know every field."""
        return self._found.get(name) is not None

    def text(self, name: str) -> str:
        value = self._found.get(name)
        if not isinstance(value, str):
            raise Malformed(f"{name} is not text")
        return printable(value)

    def optional_text(self, name: str) -> str | None:
        return None if self._found.get(name) is None else self.text(name)

    def word(self, name: str) -> str:
        """Text that identifies something: not empty, nothing in it that would need escaping."""
        value = self._found.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= 200 or not value.isprintable():
            raise Malformed(f"{name} is not a word")
        return value

    def optional_word(self, name: str) -> str | None:
        return None if self._found.get(name) is None else self.word(name)

    def node(self, name: str) -> str:
        value = self._found.get(name)
        if not isinstance(value, str) or not is_node_name(value):
            raise Malformed(f"{name} is not a node name")
        return value

    def optional_node(self, name: str) -> str | None:
        return None if self._found.get(name) is None else self.node(name)

    def node_or_nobody(self, name: str) -> str:
        return self.node(name) if self.text(name) else ""

    def nodes(self, name: str) -> frozenset[str]:
        value = self._found.get(name)
        if not isinstance(value, list) or len(value) > NAMES_LIMIT or not all(is_node_name(n) for n in value):
            raise Malformed(f"{name} is not a list of at most {NAMES_LIMIT} node names")
        return frozenset(value)

    def optional_nodes(self, name: str) -> frozenset[str] | None:
        return None if self._found.get(name) is None else self.nodes(name)

    def texts(self, name: str, limit: int = NAMES_LIMIT, characters: int = 200) -> tuple[str, ...]:
        value = self._found.get(name)
        if not isinstance(value, list) or len(value) > limit or not all(isinstance(t, str) for t in value):
            raise Malformed(f"{name} is not a list of at most {limit} texts")
        return tuple(printable(t, characters) for t in value)

    def remarks(self, name: str) -> tuple[str, ...]:
        return () if not self.has(name) else self.texts(name, REMARKS_LIMIT, REMARK_LIMIT)

    def seconds(self, name: str) -> float:
        value = self._found.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= NUMBER_LIMIT:
            raise Malformed(f"{name} is not a time from 0 to {NUMBER_LIMIT} seconds")
        return float(value)

    def number(self, name: str) -> int:
        value = self._found.get(name)
        if type(value) is not int or not 0 <= value <= NUMBER_LIMIT:
            raise Malformed(f"{name} is not a whole number from 0 to {NUMBER_LIMIT}")
        return value

    def optional_bool(self, name: str) -> bool | None:
        value = self._found.get(name)
        if value is not None and not isinstance(value, bool):
            raise Malformed(f"{name} is neither true, false nor null")
        return value

    def one_of(self, name: str, kind: type[E]) -> E:
        value = self._found.get(name)
        if not isinstance(value, str) or value not in list(kind):
            raise Malformed(f"{name} is none of {', '.join(kind)}")
        return kind(value)


def decode_announcement(raw: str) -> Announcement:
    f = Fields(raw)
    return Announcement(
        node=f.node("node"),
        instance=f.word("instance"),
        disk=f.one_of("disk", DiskKind),
        broker=f.one_of("broker", BrokerPhase),
        cluster_id=f.optional_word("cluster_id"),
        host=f.optional_text("host"),
        version=f.optional_text("version"),
        cookie=f.optional_text("cookie"),
        mutual=f.optional_bool("mutual"),
        view=_view(f.inner("view")),
        listed=f.nodes("listed"),
        epoch_high=f.number("epoch_high"),
        management=f.optional_word("management"),
        http=f.optional_word("http"),
        state=f.text("state"),
        held=f.optional_text("held"),
        missed=f.optional_nodes("missed"),
        wanted=f.optional_word("wanted"),
        stamp=f.optional_text("stamp"),
        drained=f.optional_bool("drained") or False,
        notes=f.remarks("notes"),
        findings=f.remarks("findings"),
        whole=frozenset(f.texts("whole")) if f.has("whole") else frozenset(),
        beat_sequence=f.number("beat_sequence"),
    )


def decode_claim(raw: str) -> Claim:
    f = Fields(raw)
    return Claim(f.word("cluster_id"), f.node("node"), f.word("instance"), f.number("epoch"))


def decode_record(raw: str) -> Record:
    """The founder may be empty: a record restored from the disks no longer knows it."""
    f = Fields(raw)
    return Record(f.word("cluster_id"), f.number("epoch"), f.node_or_nobody("founder"))


def decode_lease(raw: str) -> Lease:
    f = Fields(raw)
    return Lease(f.node("node"), f.word("instance"), f.number("epoch"))


def decode_owner(raw: str) -> Owner:
    f = Fields(raw)
    return Owner(f.word("instance"), f.number("sequence"))


def decode_operation(raw: str) -> Operation:
    f = Fields(raw)
    consent = f.optional_bool("consent")
    if consent is None:
        raise Malformed("consent is neither true nor false")
    return Operation(
        id=f.word("id"),
        kind=f.one_of("kind", OperationKind),
        subject=f.node_or_nobody("subject"),
        executor=f.node_or_nobody("executor"),
        by=f.text("by"),
        epoch=f.number("epoch"),
        since=f.seconds("since"),
        seconds=f.seconds("seconds"),
        consent=consent,
        target=f.optional_node("target"),
        why=f.text("why"),
        ready=f.optional_bool("ready") is True,
    )


def _view(f: Fields | None) -> View | None:
    return None if f is None else View(f.nodes("members"), f.nodes("running"), f.texts("alarms"))


def decode_number(raw: str) -> int:
    if not (raw.isascii() and raw.isdigit()) or len(raw) > len(str(NUMBER_LIMIT)) or int(raw) > NUMBER_LIMIT:
        raise Malformed(f"not a whole number from 0 to {NUMBER_LIMIT}")
    return int(raw)
