"""`status`, `health` and `wait`: what the cluster looks like, for people, for scripts, and until it is there."""

import os
import time
from datetime import UTC, datetime
from threading import Event

import click

from rmqcluster.cli.gather import read_status
from rmqcluster.cli.postgres import postgres_word
from rmqcluster.cli.session import Session, command_options, echo_json
from rmqcluster.core.status import Status
from rmqcluster.core.status_text import health_text, member_word, redis_word, status_text
from rmqcluster.errors import ExitCode

REFRESH_SECONDS = 2.0
LOOK_SECONDS = 0.5


@click.command()
@click.option("--watch", is_flag=True, help=f"Show it again every {REFRESH_SECONDS:g} s until Ctrl-C.")
@command_options()
def status(session: Session, watch: bool, as_json: bool) -> int:
    """Verdict, members, facts, NEXT, DO. Exits 0 healthy, 1 degraded, 2 unavailable or unknown."""
    found = read_status(session)
    if not watch:
        _show(found, as_json)
        return int(found.exit_code)
    pacing = Event()
    try:
        while True:
            if not as_json:
                click.clear()
            _show(found, as_json, indent=None)
            pacing.wait(REFRESH_SECONDS)
            found = read_status(session)
    except KeyboardInterrupt:
        return int(found.exit_code)


@click.command()
@command_options()
def health(session: Session, as_json: bool) -> int:
    """The health report: a line for each service. Exit codes as for status; an ill postgres counts as degraded."""
    found = read_status(session)
    word = "not configured" if session.demo else postgres_word(os.environ)
    if as_json:
        brokers = {member.node: member_word(member) for member in found.members}
        echo_json({"verdict": found.verdict, "rabbitmq": brokers, "redis": redis_word(found), "postgres": word})
    else:
        click.echo(health_text(found, word))
    ill = word not in ("healthy", "not configured")
    return int(max(found.exit_code, ExitCode.DEGRADED if ill else ExitCode.OK))


@click.command()
@click.option("--nodes", type=click.IntRange(1), help="How many members; RMQCLUSTER_SIZE when not given.")
@click.option("--whole", is_flag=True, help="And until the cluster is healthy and all replicas have caught up.")
@click.option("--timeout", "timeout_seconds", type=click.FloatRange(0), default=180.0, show_default=True)
@command_options()
def wait(session: Session, nodes: int | None, whole: bool, timeout_seconds: float, as_json: bool) -> int:
    """Wait until so many members are mutual and registered. Exits 69 when they are not in time."""
    wanted = nodes or session.settings.policy.size
    deadline = time.monotonic() + timeout_seconds
    pacing, told = Event(), ""
    while True:
        found = read_status(session)
        there = len(found.proven) >= wanted
        if there and not (whole and found.lacking):
            break
        words = f"waiting for {wanted} mutual registered members: {_progress(found)}"
        if there:
            words = f"waiting until the cluster is whole: {found.lacking}"
        if words != told:
            click.echo(words, err=True)
            told = words
        left = deadline - time.monotonic()
        if left <= 0:
            click.echo(f"not within {timeout_seconds:g} s. See: rmqcluster status", err=True)
            return int(ExitCode.UNREACHABLE)
        pacing.wait(min(LOOK_SECONDS, left))
    if as_json:
        echo_json(found.as_json())
    else:
        click.echo(f"{len(found.proven)} members: {' '.join(found.proven)}")
    return int(ExitCode.OK)


def _show(found: Status, as_json: bool, indent: int | None = 2) -> None:
    if as_json:
        echo_json(found.as_json(), indent=indent)
    else:
        click.echo(status_text(found, datetime.now(UTC).timestamp()))


def _progress(found: Status) -> str:
    if not found.redis_reachable:
        return "Redis does not answer"
    there = " ".join(found.proven) or "none so far"
    others = [f"{m.node} {m.state or 'unknown'}" for m in found.members if not m.proven]
    return there + (f"; {', '.join(others)}" if others else "")
