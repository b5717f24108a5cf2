"""`history`: what happened, by whom and by which rule."""

import time
from dataclasses import asdict

import click

from rmqcluster.agent.ports import Event
from rmqcluster.cli.session import Session, command_options, echo_json
from rmqcluster.core.status import shown
from rmqcluster.core.status_text import utc
from rmqcluster.errors import StoreUnavailable

WAIT_SECONDS = 5.0
RETRY_SECONDS_MAX = 60.0  # how long --follow bears a silent Redis


@click.command()
@click.option("--follow", is_flag=True, help="Go on with each new event until Ctrl-C.")
@click.option("--count", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many old events.")
@command_options()
def history(session: Session, follow: bool, count: int, as_json: bool) -> int:
    """What happened, oldest first: time (UTC), member, kind, rule, epoch, words. With --follow JSON is line by line."""
    events = list(session.store.recent_events(count))
    if not follow:
        if as_json:
            echo_json([asdict(event) for event in events])
        else:
            click.echo("\n".join(map(event_line, events)) or "nothing has been recorded yet")
        return 0
    _print(events, as_json)
    try:
        _follow(session, events[-1].id if events else "0-0", as_json)
    except KeyboardInterrupt:
        return 0
    return 0


def _follow(session: Session, last_id: str, as_json: bool) -> None:
    """Raises StoreUnavailable when Redis stays silent for `RETRY_SECONDS_MAX`."""
    heard_at = time.monotonic()
    while True:
        asked_at = time.monotonic()
        try:
            events = session.store.wait_for_event(last_id, WAIT_SECONDS)
        except StoreUnavailable:
            if time.monotonic() - heard_at > RETRY_SECONDS_MAX:
                raise
            time.sleep(max(0.0, 1.0 - (time.monotonic() - asked_at)))  # a refusal comes at once: ask once a second
            continue
        heard_at = time.monotonic()
        _print(events, as_json)
        last_id = events[-1].id if events else last_id


def _print(events: list[Event], as_json: bool) -> None:
    for event in events:
        if as_json:
            echo_json(asdict(event), indent=None)
        else:
            click.echo(event_line(event))


def event_line(event: Event) -> str:
    """One event for a terminal; everything in it came from Redis and is escaped."""
    by = f"rule {event.rule} " if event.rule else ""
    epoch = f"epoch {event.epoch} " if event.epoch else ""
    return f"{utc(event.at)}  {shown(event.actor, 120)}  {shown(event.kind, 60)}  {by}{epoch}{shown(event.text, 1000)}"
