"""`explain`: the rules, who follows which now, what is under way, what would be done next, and why not yet."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click

from rmqcluster.cli.gather import ADDRESSES_MAX, NoAnswer, fetch, read_status
from rmqcluster.cli.session import Session, command_options, echo_json
from rmqcluster.core.engine import render_tables
from rmqcluster.core.model import Announcement, StoreView
from rmqcluster.core.status import shown
from rmqcluster.core.status_format import duration, utc
from rmqcluster.errors import StoreUnavailable


@click.command()
@command_options()
def explain(session: Session, as_json: bool) -> int:
    """The rule tables, which rule each supervisor follows now and why, what comes next, and what is in the way."""
    view, trouble = _read(session)
    status = read_status(session)
    found: dict[str, Any] = {
        "rules": render_tables().splitlines(),
        "now": _now(session, view),
        "redis": trouble or None,
        "paused": shown(view.paused) if view is not None and view.paused is not None else None,
        "operation": _operation(view),
        "monitor": _monitor(view),
        "members": {name: _member(said) for name, said in sorted(view.announcements.items())} if view else {},
        "next": list(status.next),
        "do": list(status.do),
    }
    if as_json:
        echo_json(found)
    else:
        click.echo(render_tables())
        click.echo("\n".join(_lines(found)))
    return 0


def _read(session: Session) -> tuple[StoreView | None, str]:
    try:
        return session.store.snapshot(), ""
    except StoreUnavailable as error:
        return None, shown(str(error))


def _now(session: Session, view: StoreView | None) -> dict[str, list[str]]:
    """Node name -> what its supervisor says that it does. Asked all at once."""
    addresses = {said.http: node for node, said in view.announcements.items() if said.http} if view else {}
    known = {node: address for address, node in addresses.items()}
    known |= {node: address for address, node in session.supervisors.items()}
    asked = sorted(known.items())[:ADDRESSES_MAX]
    with ThreadPoolExecutor(max(1, len(asked))) as pool:
        return dict(pool.map(lambda item: (shown(item[0], 120), _rule_of(item[1])), asked))


def _rule_of(address: str) -> list[str]:
    try:
        return [shown(line) for line in fetch(address, "/livez").splitlines()]
    except NoAnswer as error:
        return [shown(str(error))]


def _operation(view: StoreView | None) -> dict[str, object] | None:
    found = view.operation if view is not None else None
    if view is None or found is None:
        return None
    return {
        "kind": found.kind.value,
        "subject": found.subject,
        "executor": found.executor or (view.lease.node if view.lease else None),
        "by": shown(found.by, 200),
        "since": found.since,
        "seconds_left": round(view.operation_left_seconds, 1),
        "why": shown(found.why) if found.why else None,
    }


def _monitor(view: StoreView | None) -> dict[str, object] | None:
    """The lease holder, and what it found when it last looked at the queues."""
    if view is None or view.lease is None:
        return None
    said = view.announcements.get(view.lease.node)
    return {
        "node": view.lease.node,
        "epoch": view.lease.epoch,
        "notes": [shown(note) for note in said.notes] if said else [],
        "findings": [shown(finding) for finding in said.findings] if said else [],
    }


def _member(said: Announcement) -> dict[str, object]:
    return {
        "state": shown(said.state, 60) or None,
        "broker": said.broker.value,
        "disk": said.disk.value,
        "mutual": said.mutual,
        "drained": said.drained,
        "held": shown(said.held) if said.held is not None else None,
    }


def _lines(found: Mapping[str, Any]) -> list[str]:
    lines = ["", "Now"]
    for node, said in found["now"].items():
        lines += [node, *(f"     {line}" for line in said)]
    lines += ["", "Members", *(_member_line(*item) for item in found["members"].items())]
    if found["redis"]:
        lines.append(f"unknown: {found['redis']}")
    lines += ["", "Under way", *_under_way(found), "", "Next"]
    coming = [f"NEXT {text}" for text in found["next"]] + [f"DO   {text}" for text in found["do"]]
    return lines + (coming or ["nothing is due"])


def _member_line(node: str, said: Mapping[str, Any]) -> str:
    proven = {True: "proven", False: "not proven", None: "proof unknown"}[said["mutual"]]
    words = f"{node}  {said['state'] or '?'}: broker {said['broker']}, disk {said['disk']}, {proven}"
    words += ", in maintenance" if said["drained"] else ""
    return words + (f"; held: {said['held']}" if said["held"] else "")


def _under_way(found: Mapping[str, Any]) -> list[str]:
    """What runs, and what keeps everything else from being done."""
    if found["redis"]:
        return ["unknown: Redis does not answer, so nothing is judged and no label moves"]
    lines = []
    act = found["operation"]
    if act is None:
        lines.append("operation: none")
    else:
        what = f"{act['kind']} {act['subject']}".strip()
        lines.append(
            f"operation: {what} by {act['by']} since {utc(act['since'])}, done by {act['executor'] or 'nobody yet'}, "
            f"deadline in {duration(act['seconds_left'])}; nothing else disruptive starts before it ends"
            + (f" ({act['why']})" if act["why"] else "")
        )
    lines.append(f"paused: {found['paused']}: no automatic act" if found["paused"] else "paused: no")
    monitor = found["monitor"]
    if monitor is None:
        return [*lines, "monitor: nobody holds the lease, so nothing is done for the cluster"]
    lines.append(f"monitor: {monitor['node']}, epoch {monitor['epoch']}")
    lines += [f"     found: {note}" for note in monitor["notes"]]
    return lines + [f"     not yet: {finding}" for finding in monitor["findings"]]
