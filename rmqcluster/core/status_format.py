"""How times, durations and names are written for people; all times are UTC."""

from datetime import UTC, datetime

SHOWN_CHARACTERS = 400
NAME_CHARACTERS = 120


def shown(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """`text` fit for a terminal, a log or a page: control and bidirectional characters escaped, length limited."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)


def name(node: str) -> str:
    """A node name that came from outside."""
    return shown(node, NAME_CHARACTERS)


def names(nodes: tuple[str, ...] | list[str], between: str = ", ") -> str:
    return between.join(name(node) for node in nodes)


def short_name(node: str) -> str:
    """`rabbit@rabbitmq1` is `rabbitmq1`; names that share a host keep their first part."""
    first, _, host = node.partition("@")
    return first if host in ("", "localhost") else host


def duration(seconds: float) -> str:
    """`4m12s`, `41s`, `3h05m`, `2d04h`."""
    whole = int(max(0.0, seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def utc(unix_seconds: float) -> str:
    """`2026-01-31 03:11:20Z`; `unknown` for what is no time of the calendar."""
    try:
        return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, OSError, ValueError):
        return "unknown"


def clock(unix_seconds: float) -> str:
    """`03:11:20Z`."""
    return utc(unix_seconds).partition(" ")[2] or "unknown"
