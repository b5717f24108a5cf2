"""The page for people: one self-contained document that reloads itself, with the words of `status`."""

from html import escape

from rmqcluster.core.status import DONT, MemberStatus, Status, Verdict

REFRESH_SECONDS = 5
COLOURS = {
    Verdict.HEALTHY: "#1a7f37",
    Verdict.DEGRADED: "#9a6700",
    Verdict.UNAVAILABLE: "#cf222e",
    Verdict.UNKNOWN: "#57606a",
}
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1f2328}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .6rem;"
    "border-bottom:1px solid #d0d7de}h1{font-size:1.2rem}dt{font-weight:600}dd{margin:0 0 .6rem}"
)
COLUMNS = ("Member", "Role", "State", "Running", "Mutual", "Registered", "Heartbeat", "Version", "Management")


def page_html(status: Status, node: str) -> str:
    """Everything that came from outside is escaped here, once more, for HTML."""
    head = "".join(f"<th>{name}</th>" for name in COLUMNS)
    rows = "".join(_row(member) for member in status.members)
    facts = "".join(f"<li>{escape(fact)}</li>" for fact in (*status.reasons, *status.notes))
    to_do, donts = status.to_do
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}"><title>{status.verdict} - rmqcluster</title>'
        f"<style>{STYLE}h1{{color:{COLOURS[status.verdict]}}}</style></head><body>"
        f"<h1>{escape(status.headline)}</h1><ul>{facts}</ul><dl>"
        f"<dt>Master</dt><dd>{escape(status.master or 'unknown or none')}</dd>"
        f"<dt>Cluster</dt><dd>{escape(status.cluster_id or 'unknown')}, epoch {_number(status.epoch)}</dd>"
        f"<dt>Redis</dt><dd>{_redis(status)}</dd>"
        f"<dt>NEXT</dt><dd>{_sentences(status.next)}</dd><dt>DO</dt><dd>{_sentences(to_do)}</dd>{_donts(donts)}</dl>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        f"<p>as seen by {escape(node)}</p></body></html>\n"
    )


def _row(member: MemberStatus) -> str:
    age = member.heartbeat_age_seconds
    cells = (
        member.node,
        member.role,
        f"HELD: {member.held}" if member.held is not None else member.state or "?",
        _yes(member.running),
        _yes(member.mutual),
        _yes(member.registered),
        "-" if age is None else f"{age:.0f} s ago",
        member.version or "?",
        member.management or "-",
    )
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _yes(value: bool | None) -> str:
    return "?" if value is None else "yes" if value else "no"


def _number(value: int | None) -> str:
    return "unknown" if value is None else str(value)


def _redis(status: Status) -> str:
    words = "answers" if status.redis_reachable else "does not answer"
    return escape("; ".join((words, *status.redis_warnings)))


def _donts(texts: tuple[str, ...]) -> str:
    return f"<dt>{escape(DONT.strip())}</dt><dd>{_sentences(texts)}</dd>" if texts else ""


def _sentences(texts: tuple[str, ...]) -> str:
    return "<br>".join(escape(text) for text in texts) or "nothing"
