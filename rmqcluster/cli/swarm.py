"""`rmqcluster swarm …`: the stack on Docker Swarm, from any of its managers. Behind the make targets."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import click

from rmqcluster.errors import ExitCode, OperationRefused
from rmqcluster.swarm import acts, environment, project, rendering, report, up
from rmqcluster.swarm.alone import alone
from rmqcluster.swarm.engine import Engine
from rmqcluster.swarm.facts import EngineUnavailable
from rmqcluster.swarm.inside import BROKERS, POSTGRES, REDIS, Inside
from rmqcluster.swarm.project import Project

REFRESH_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Place:
    """One invocation: this host's engine, and the stack that is meant."""

    engine: Engine
    inside: Inside
    stack: str


@contextmanager
def place() -> Iterator[Place]:
    """Without a `.env` as well: what runs is looked at and ended by the stack's name alone."""
    stack = project_here().stack
    engine = Engine(os.environ)
    try:
        with _ended_in_order(), Inside(engine, stack) as inside:
            yield Place(engine, inside, stack)
    finally:
        engine.close()


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """A SIGTERM and a closed terminal end it as Ctrl-C does, so that no one-shot container stays behind."""

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)}
    changed = [one for one, handler in before.items() if handler is signal.SIG_DFL]  # nohup ignores it, and means it
    for one in changed:
        signal.signal(one, leave)
    try:
        yield
    finally:
        for one in changed:
            signal.signal(one, before[one])


def project_here() -> Project:
    return Project(Path.cwd(), project.variables_here(Path.cwd(), os.environ))


def say(words: str) -> None:
    click.echo(words)


def ask(question: str, *, yes: bool) -> None:
    """Raises click.Abort for anything but yes."""
    if not yes:
        click.confirm(question, abort=True)


yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@click.group("swarm")
def swarm() -> None:
    """The stack on Docker Swarm, from any manager; run in the project's directory."""


@swarm.command("env")
def env() -> None:
    """Write .env from .env.example, with strong random secrets. Never overwrites one."""
    here = Path.cwd()
    path = project.dotenv(here, os.environ)
    names = environment.write(here / project.EXAMPLE, path)
    say(f"{path} is written (mode 600), with random values for {', '.join(names)}")
    say("Look through it, then: make build up")


@swarm.command("check")
@click.option("--before-build", is_flag=True, help="Without the images.")
def check(before_build: bool) -> None:
    """What is missing before `up`, with the command that mends it."""
    with place() as here:
        found = project.find(Path.cwd(), os.environ)
        stack = up.check(found, here.engine) if before_build else up.prepare(found, here.engine).stack
        there = "Swarm, labels, secrets" if before_build else "Swarm, labels, secrets and images"
        say(f"ready: {there} are there ({len(stack['services'])} services)")


@swarm.command("render")
def render() -> None:
    """Print the stack file as `up` deploys it, for docker stack deploy by hand."""
    with place() as here:
        prepared = up.prepare(project.find(Path.cwd(), os.environ), here.engine)
        click.echo(rendering.text(rendering.absolute(rendering.marked(prepared.stack), Path.cwd())))


@swarm.command("up")
def up_command() -> int:
    """Deploy the stack, or what differs from what runs, one broker after the other; ends when it is healthy."""
    with place() as here:
        found = project.find(Path.cwd(), os.environ)
        prepared = up.prepare(found, here.engine)
        with alone(here.engine, here.stack, "make up", say):
            up.up(prepared, here.engine, here.inside, say)
        code = _health(here)
        for line in report.consoles(here.engine, here.stack):
            say(line)
        say(credentials())
        say(f"clients inside {found.network} use amqp://rabbitmq:5672")
        return code


@swarm.command("down")
@yes_option
def down(yes: bool) -> None:
    """Remove the stack's services, network, configs and secrets; its volumes stay."""
    with place() as here:
        ask(f"This stops stack {here.stack}; its data stays. Go on?", yes=yes)
        acts.down(here.engine, here.stack, say)
        say(f"stack {here.stack} is down; its volumes are kept. Back: make up")


@swarm.command("clean")
@click.option("--stack", "typed", help="The stack's name, as a script's answer.")
def clean(typed: str | None) -> int:
    """Down, and remove the stack's volumes on all hosts: every message and every row is gone."""
    with place() as here:
        if typed is None:
            say(f"This removes stack {here.stack} and ALL ITS DATA on all hosts: queues, messages, Redis, PostgreSQL.")
            typed = click.prompt("Type the stack's name to go on", default="", show_default=False)
        if typed != here.stack:
            raise OperationRefused(f"{typed!r} is not the name of this stack. Nothing was changed")
        image = up.broker_image(project_here(), here.engine)
        acts.down(here.engine, here.stack, say)
        if not acts.remove_volumes(here.engine, here.stack, image, say):
            return int(ExitCode.DEGRADED)
        say(f"stack {here.stack} and its data are gone")
        return 0


@swarm.command("restart")
@yes_option
def restart(yes: bool) -> int:
    """Restart the brokers, one after the other, each only when the last has caught up."""
    with place() as here:
        deployed = [name for name in BROKERS if name in here.engine.services(here.stack)]
        if not deployed:
            raise OperationRefused(f"stack {here.stack} is not deployed. Type:  make up")
        ask(f"This restarts {', '.join(deployed)}, one after the other. Go on?", yes=yes)
        with alone(here.engine, here.stack, "make restart", say):
            acts.restart(here.engine, here.stack, deployed, here.inside, say)
        return _health(here)


@swarm.command("status")
def status() -> int:
    """Where each service runs, and what the cluster says of itself. Exit codes as for `rmqcluster status`."""
    with place() as here:
        say(swarms_view(here))
        say("")
        said = here.inside.rmqcluster("status")
        click.echo((said.out or said.err).rstrip())
        return said.code


@swarm.command("health")
@click.option("--watch", is_flag=True, help=f"Show it again every {REFRESH_SECONDS:g} s until Ctrl-C.")
def health(watch: bool) -> int:
    """The health report; what cannot be reached is said to be unreachable."""
    with place() as here:
        if not watch:
            return _health(here)
        pacing, code = Event(), 0
        try:
            while True:
                click.clear()
                code = _health(here)
                pacing.wait(REFRESH_SECONDS)
        except KeyboardInterrupt:
            return code


def credentials() -> str:
    """Where they are: `.env` is with whoever deployed, and may not be here."""
    path = project.dotenv(Path.cwd(), os.environ)
    user = project_here().variables.get("MQ_ADMIN_USER", "admin")
    where = str(path) if path.exists() else ".env, where the stack was deployed"
    return f"user {user}, password MQ_ADMIN_PASS in {where}"


def _health(here: Place) -> int:
    try:
        said = here.inside.rmqcluster("health")
    except EngineUnavailable as error:
        lines = [f"{name}: unreachable" for name in (*BROKERS, REDIS, POSTGRES)]
        click.echo("\n".join(["Service Health", *lines, f"why: {error}"]))
        return int(ExitCode.UNAVAILABLE)
    click.echo((said.out or said.err).rstrip())
    return said.code


def swarms_view(here: Place) -> str:
    try:
        return report.services_text(here.engine, here.stack)
    except EngineUnavailable as error:
        return f"Swarm's view is unreachable: {error}"
