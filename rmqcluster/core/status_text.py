"""A status as text: under ten lines and the table for `status`, and the fixed lines of `health`."""

from collections.abc import Sequence

from rmqcluster.core.status import DONT, MemberStatus, Status
from rmqcluster.core.status_format import clock, duration
from rmqcluster.core.status_format import short_name as short_name
from rmqcluster.core.status_format import utc as utc

UP_STATES = ("running", "member", "drained")  # words that a broker that is down cannot mean
LINES_MAX = 9  # before the table
SENTENCES_SHOWN = 3
MOVED_SHOWN_SECONDS = 86400.0  # an older move of the master is history
COLUMNS = ("MEMBER", "ROLE", "STATE", "RUNNING", "MUTUAL", "REGISTERED", "HEARTBEAT", "VERSION", "MANAGEMENT")


def status_text(status: Status, unix_seconds: float | None = None) -> str:
    """Headline, facts, master, NEXT, DO, DON'T: under ten lines; then a blank line and one row per member.

    `unix_seconds` is when it was read; it is shown in UTC.
    """
    rest = [_identity_line(status, unix_seconds)]
    if status.redis_warnings:
        rest.append("WARN " + "; ".join(status.redis_warnings))
    rest.append("NEXT " + _joined(status.next))
    to_do, donts = status.to_do
    rest.append("DO   " + _joined(to_do))
    if donts:
        rest.append(DONT + _joined(donts))
    facts = _first((*status.reasons, *status.notes), LINES_MAX - 1 - len(rest), "facts, see --json")
    table = ["", *member_table(status.members)] if status.members else []
    return "\n".join([status.headline, *facts, *rest, *table])


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
        return "down" if member.state in (None, *UP_STATES) else member.state
    if member.drained:
        return "drained"
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


def member_table(members: Sequence[MemberStatus]) -> list[str]:
    """Aligned columns; unknown is `?`, nothing is `-`."""
    rows = [COLUMNS, *(_row(member) for member in members)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


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
    return f"master {master}{_move(status, unix_seconds)}, cluster {cluster}, epoch {epoch}{silent}{when}"


def _move(status: Status, unix_seconds: float | None) -> str:
    moved = status.moved
    if moved is None or unix_seconds is None or unix_seconds - moved.at > MOVED_SHOWN_SECONDS:
        return ""
    return f" (was {moved.was}, moved {clock(moved.at)}, epoch {moved.epoch})"


def _joined(sentences: Sequence[str]) -> str:
    return "; ".join(_first(sentences, SENTENCES_SHOWN, "")) or "nothing"


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
