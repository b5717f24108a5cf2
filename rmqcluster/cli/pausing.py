"""`pause` and `resume`: no automatic act for a while. A pause ends by itself, so that nobody forgets one."""

import re
from datetime import UTC, datetime

import click

from rmqcluster.agent.ports import Event
from rmqcluster.cli.asking import operator
from rmqcluster.cli.session import Session, command_options, echo_json
from rmqcluster.core.status import shown
from rmqcluster.core.status_format import duration, utc

UNITS = {"s": 1, "m": 60, "h": 3600}
SECONDS_MAX = 7 * 24 * 3600
WHY_CHARACTERS = 200


def seconds_of(_context: click.Context, _option: click.Parameter, text: str) -> float:
    """`90s`, `10m`, `2h`; at most a week. Raises click.BadParameter."""
    found = re.fullmatch(r"([0-9]{1,6})([smh])", text.strip())
    seconds = int(found[1]) * UNITS[found[2]] if found else 0
    if not 0 < seconds <= SECONDS_MAX:
        raise click.BadParameter(f"{shown(text, 60)!r} must be like 90s, 10m or 2h, and at most 168h")
    return float(seconds)


@click.command()
@click.option(
    "--for", "seconds", callback=seconds_of, metavar="D", default="1h", show_default=True, help="90s, 10m, 2h."
)
@click.option("--why", metavar="W", default="", help="Shown to everybody who looks.")
@command_options()
def pause(session: Session, seconds: float, why: str, as_json: bool) -> int:
    """No automatic act for a while: no label moves, nothing is replaced, grown or rebalanced. Heartbeats go on."""
    by, until = operator(), datetime.now(UTC).timestamp() + seconds
    words = f"until {utc(until)} by {by}" + (f": {shown(why, WHY_CHARACTERS)}" if why else "")
    session.store.pause(words, seconds)
    session.store.record_event(Event(by, "pause", words))
    if as_json:
        echo_json({"paused": words, "until": until, "seconds": seconds})
    else:
        click.echo(f"paused for {duration(seconds)}, {words}. It ends by itself, or by: rmqcluster resume")
    return 0


@click.command()
@command_options()
def resume(session: Session, as_json: bool) -> int:
    """End a pause."""
    paused = session.store.snapshot().paused
    session.store.resume()
    if paused is not None:
        session.store.record_event(Event(operator(), "resume", f"was paused {paused}"))
    if as_json:
        echo_json({"resumed": paused is not None, "was": paused})
    else:
        click.echo("nothing was paused" if paused is None else f"resumed; was paused {shown(paused)}")
    return 0
