"""History in a Redis stream: events to fields and back. A row that is no event is left out."""

from collections.abc import Iterable, Mapping

from rmqcluster.agent.ports import Event
from rmqcluster.store.codec import NUMBER_LIMIT
from rmqcluster.store.text import printable

TEXT_LIMIT = 1000  # characters
WORD_LIMIT = 200
Row = tuple[str, Mapping[str, str] | None]


def to_fields(event: Event) -> dict[str, str]:
    """`at` and `id` are not written: Redis gives them."""
    return {
        "actor": printable(event.actor, WORD_LIMIT),
        "kind": printable(event.kind, WORD_LIMIT),
        "text": printable(event.text, TEXT_LIMIT),
        "rule": str(event.rule),
        "epoch": str(event.epoch),
        "operation": printable(event.operation, WORD_LIMIT),
    }


def from_rows(rows: Iterable[Row]) -> list[Event]:
    return [event for row in rows if (event := _from_row(row)) is not None]


def _from_row(row: Row) -> Event | None:
    row_id, fields = row
    milliseconds = row_id.partition("-")[0]
    if not fields or not {"actor", "kind", "text"} <= fields.keys() or not milliseconds.isdigit():
        return None
    return Event(
        actor=printable(fields["actor"], WORD_LIMIT),
        kind=printable(fields["kind"], WORD_LIMIT),
        text=printable(fields["text"], TEXT_LIMIT),
        rule=_number(fields.get("rule", "")),
        epoch=_number(fields.get("epoch", "")),
        operation=printable(fields.get("operation", ""), WORD_LIMIT),
        at=int(milliseconds) / 1000,
        id=row_id,
    )


def _number(text: str) -> int:
    usable = text.isascii() and text.isdigit() and len(text) <= len(str(NUMBER_LIMIT))
    return int(text) if usable else 0
