"""`doctor`: looks at everything that a cluster stands on, and says how to mend what is wrong."""

from dataclasses import asdict

import click

from rmqcluster.cli import findings
from rmqcluster.cli.findings import Finding, Level
from rmqcluster.cli.session import Session, command_options, echo_json
from rmqcluster.core.model import StoreView
from rmqcluster.errors import ConfigurationError, ExitCode, StoreUnavailable


@click.command()
@command_options()
def doctor(session: Session, as_json: bool) -> int:
    """Configuration, Redis, DNS, cookie, ports, clock, versions. Exits 1 if something is wrong, 78 for settings."""
    try:
        found = _look(session)
        wrong = any(one.level is Level.WRONG for one in found)
        code = ExitCode.DEGRADED if wrong else ExitCode.OK
    except ConfigurationError as error:
        mend = "correct the variable in the environment or .env"
        found = [Finding("configuration", Level.WRONG, line, mend) for line in str(error).splitlines()]
        code = ExitCode.CONFIGURATION
    if as_json:
        echo_json([asdict(one) for one in found])
    else:
        click.echo("\n".join(map(_line, found)))
    return int(code)


def _look(session: Session) -> list[Finding]:
    settings = session.settings
    found = [*findings.configuration(settings), *findings.redis_server(session.store, settings)]
    found += findings.peers(_view(session), settings)
    if not session.demo:  # the demo's members have their own directories and ports, all checked when it starts
        found += [*findings.cookie_file(settings), *findings.ports(settings)]
    return [*found, *findings.versions(local_broker=not session.demo)]


def _view(session: Session) -> StoreView | None:
    try:
        return session.store.snapshot()
    except StoreUnavailable:
        return None


def _line(one: Finding) -> str:
    mend = f"\n         mend: {one.mend}" if one.mend else ""
    return f"{one.level.upper():8} {one.about}: {one.found}{mend}"
