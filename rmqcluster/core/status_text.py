"""A status as text: under ten lines and the table for `status`, and the fixed lines of `health`."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rmqcluster.core.status import MemberStatus, Status
from rmqcluster.core.status_words import duration

FACTS_SHOWN = 3
COLUMNS = ("MEMBER", "ROLE", "STATE", "RUNNING", "MUTUAL", "REGISTERED", "HEARTBEAT", "VERSION", "MANAGEMENT")


def status_text(status: Status, unix_seconds: float | None = None) -> str:
    """Headline, facts, master, NEXT, DO: under ten lines; then a blank line and one row per member.

    `unix_seconds` is when it was read; it is shown in UTC.
    """
    lines = [status.headline, *_first(status.reasons, FACTS_SHOWN, "facts, see --json")]
    lines.append(_identity_line(status, unix_seconds))
    if status.redis_warnings:
        lines.append("WARN " + "; ".join(status.redis_warnings))
    lines.append("NEXT " + _joined(status.next))
    lines.append("DO   " + _joined(status.do))
    if status.members:
        lines += ["", *member_table(status.members)]
    return "\n".join(lines)


def health_text(status: Status, postgres: str) -> str:
    """The health report; `postgres` is its word, for instance `healthy` or `not configured`."""
    registered = [member.node for member in status.members if member.registered]
    lines = ["Service Health"]
    lines += [f"{short_name(member.node)}: {member_word(member)}" for member in status.members]
    lines.append(f"redis: {redis_word(status)}")
    lines.append("Redis Coordinator")
    lines.append(f"Members: {_members_word(status, registered)}")
    lines.append(f"Master:  {_master_word(status)}")
    lines.append(f"postgres: {postgres}")
    return "\n".join(lines)


def member_word(member: MemberStatus) -> str:
    """`healthy`, or what is wrong with this broker."""
    if member.held is not None:
        return f"held: {member.held}"
    if member.running is None:
        return "unknown"
    if not member.running:
        return member.state if member.state not in (None, "running") else "down"
    if member.mutual is False:
        return "running, but no member of the cluster"
    if member.mutual is None:
        return "running, membership unknown"
    if member.registered is False:
        return "running, not registered"
    if member.registered is True and member.heartbeat_age_seconds is None:
        return "running, no heartbeat"
    return "healthy"


def redis_word(status: Status) -> str:
    """Redis counts as healthy while it answers; what is unwise about it follows in words."""
    if status.redis_reachable:
        return "healthy" if not status.redis_warnings else f"healthy ({'; '.join(status.redis_warnings)})"
    return "unknown" if status.redis_reachable is None else "unreachable"


def short_name(node: str) -> str:
    """`rabbit@rabbitmq1` is `rabbitmq1`; names that share a host keep their first part."""
    name, _, host = node.partition("@")
    return name if host in ("", "localhost") else host


def member_table(members: Sequence[MemberStatus]) -> list[str]:
    """Aligned columns; unknown is `?`, nothing is `-`."""
    rows = [COLUMNS, *(_row(member) for member in members)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def utc(unix_seconds: float) -> str:
    """`2026-01-31 03:11:20Z`."""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _row(member: MemberStatus) -> tuple[str, ...]:
    age = member.heartbeat_age_seconds
    return (
        member.node,
        member.role,
        "HELD" if member.held is not None else member.state or "?",
        _yes(member.running),
        _yes(member.mutual),
        _yes(member.registered),
        "-" if age is None else f"{age:.0f}s ago",
        member.version or "?",
        member.management or "-",
    )


def _yes(value: bool | None) -> str:
    return "?" if value is None else "yes" if value else "no"


def _identity_line(status: Status, unix_seconds: float | None) -> str:
    master = status.master or ("none" if status.redis_reachable else "unknown")
    cluster = status.cluster_id[:8] if status.cluster_id else "unknown"
    epoch = "unknown" if status.epoch is None else str(status.epoch)
    contact = status.redis_last_contact_seconds
    silent = "" if status.redis_reachable or contact is None else f", Redis last heard {duration(contact)} ago"
    when = "" if unix_seconds is None else f", {utc(unix_seconds)}"
    return f"master {master}, cluster {cluster}, epoch {epoch}{silent}{when}"


def _joined(sentences: Sequence[str]) -> str:
    return "; ".join(_first(sentences, FACTS_SHOWN, "")) or "nothing"


def _first(texts: Sequence[str], count: int, rest: str) -> list[str]:
    if len(texts) <= count:
        return list(texts)
    return [*texts[: count - 1], f"and {len(texts) - count + 1} more {rest}".rstrip()]


def _members_word(status: Status, registered: Sequence[str]) -> str:
    if not status.redis_reachable:
        return "unknown"
    return " ".join(registered) or "none"


def _master_word(status: Status) -> str:
    if status.master:
        return status.master
    return "none" if status.redis_reachable else "unknown"
