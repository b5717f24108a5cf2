"""`rmqcluster swarm …` for single parts of the stack: shown, asked by a shell, emptied."""

import os
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

import click

from rmqcluster.cli.swarm import Place, ask, credentials, place, project_here, say, swarms_view, yes_option
from rmqcluster.errors import ExitCode, OperationRefused
from rmqcluster.swarm import inside, report
from rmqcluster.swarm.containers import Said
from rmqcluster.swarm.facts import EngineUnavailable, Service
from rmqcluster.swarm.inside import BROKERS, POSTGRES, REDIS

PARTS = {"rabbitmq": BROKERS, REDIS: (REDIS,), POSTGRES: (POSTGRES,)}
LOG_LINES = 100
DEBUG_LINES = 30
REDIS_FACTS = ("server", "clients", "memory", "persistence", "keyspace")
REDIS_SHOWN = (
    "redis_version",
    "uptime_in_seconds",
    "connected_clients",
    "used_memory_human",
    "maxmemory_human",
    "maxmemory_policy",
    "aof_enabled",
    "aof_last_write_status",
    "db0",
)
POSTGRES_FACTS = (
    "select version(); "
    "select datname as database, pg_size_pretty(pg_database_size(datname)) as size, "
    "(select count(*) from pg_stat_activity a where a.datname = d.datname) as connections "
    "from pg_database d where not datistemplate order by datname"
)
DATABASE = click.option("--name", default="", help="POSTGRES_DB when not given.")


@click.command("show")
@click.argument("part", type=click.Choice(list(PARTS)))
def show(part: str) -> int:
    """One part of the stack: its tasks, and what it says of itself."""
    with place() as here:
        return _show(here, part)


def _show(here: Place, part: str) -> int:
    say("\n".join(_histories(here, PARTS[part])))
    say("")
    if part == "rabbitmq":
        said = here.inside.rmqcluster("status")
        click.echo((said.out or said.err).rstrip())
        return said.code
    if part == REDIS:
        return _show_redis(here)
    return _told(here.inside.run(POSTGRES, inside.postgres_tool("psql", "-d", "postgres", "-c", POSTGRES_FACTS)))


def _show_redis(here: Place) -> int:
    for section in REDIS_FACTS:
        said = here.inside.run(REDIS, inside.redis_cli("-e", "INFO", section))  # -e: a refusal is no success
        if said.code:
            click.echo((said.err or said.out).rstrip(), err=True)
            return int(ExitCode.UNREACHABLE)
        facts = dict(line.partition(":")[::2] for line in said.out.splitlines())
        for name in REDIS_SHOWN:
            if name in facts:
                say(f"{name}: {facts[name].strip()}")
    return 0


def _told(said: Said) -> int:
    for text, to_stderr in ((said.out, False), (said.err, True)):
        if text.strip():
            click.echo(text.rstrip(), err=to_stderr)
    return said.code and int(ExitCode.UNREACHABLE)


@click.command("cli")
@click.argument("part", type=click.Choice(list(PARTS)))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def shell(part: str, arguments: tuple[str, ...]) -> int:
    """A shell in a part of the stack; with arguments after `--`, one command of redis-cli, psql or the member's."""
    argv = {
        "rabbitmq": list(arguments) or inside.member_shell(),
        REDIS: inside.redis_cli(*arguments),
        POSTGRES: inside.postgres_tool("psql", *arguments),
    }[part]
    with place() as here:
        return here.inside.attach(PARTS[part], argv, terminal=sys.stdin.isatty() and sys.stdout.isatty())


@click.command("run", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED)
def run(arguments: tuple[str, ...]) -> int:
    """Run a command of rmqcluster inside the stack: swarm run drain rabbitmq2 --wait."""
    with place() as here:
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        return here.inside.attach(BROKERS, ["rmqcluster", *arguments], terminal=terminal)


@click.command("logs")
@click.option("--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--lines", type=click.IntRange(1), default=LOG_LINES, show_default=True, help="Of each service.")
@click.argument("names", nargs=-1)
def logs(follow: bool, lines: int, names: tuple[str, ...]) -> int:
    """The last lines of each service, or of those that are named."""
    with place() as here:
        services = here.engine.services(here.stack)
        if not services:
            raise OperationRefused(f"stack {here.stack} is not deployed. Type:  make up")
        unknown = [name for name in names if name not in services]
        if unknown:
            there = ", ".join(sorted(services))
            raise click.UsageError(f"no service {' '.join(unknown)} in stack {here.stack}; there are: {there}")
        chosen = [services[name] for name in sorted(services) if not names or name in names]
        if follow:
            return _follow(here, chosen, lines)
        return max([_print_log(here, service, lines) for service in chosen])


def _print_log(here: Place, service: Service, lines: int) -> int:
    try:
        for line in here.engine.logs(service.id, lines):
            click.echo(f"{service.name:<10} | {line}")
    except EngineUnavailable as error:
        click.echo(f"{service.name:<10} | its log is unreachable: {error}")
        return int(ExitCode.DEGRADED)
    return 0


def _follow(here: Place, services: list[Service], lines: int) -> int:
    def one(service: Service) -> None:
        try:
            for line in here.engine.follow(service.id, lines):
                click.echo(f"{service.name:<10} | {line}")
        except EngineUnavailable as error:
            click.echo(f"{service.name:<10} | its log has ended: {error}")

    threads = [threading.Thread(target=one, args=(service,), daemon=True) for service in services]
    for thread in threads:
        thread.start()
    with suppress(KeyboardInterrupt):  # that is how a person ends it
        for thread in threads:
            thread.join()
    return 0


@click.command("debug")
def debug() -> int:
    """Everything that helps to find a fault: tasks with their errors, doctor, explain, last lines of each service."""
    with place() as here:
        say(swarms_view(here))
        services = _services(here)
        for text in _histories(here, sorted(services)):
            say("\n" + text)
        for words in ("status", "doctor", "explain"):
            say(f"\n== rmqcluster {words}")
            try:
                said = here.inside.rmqcluster(words)
                click.echo((said.out + said.err).rstrip())
            except EngineUnavailable as error:
                say(f"unreachable: {error}")
        for name in sorted(services):
            say(f"\n== last lines of {name}")
            _print_log(here, services[name], DEBUG_LINES)
        return 0


def _services(here: Place) -> Mapping[str, Service]:
    """None when Swarm has no leader: what this host runs is looked at all the same."""
    try:
        return here.engine.services(here.stack)
    except EngineUnavailable:
        return {}


def _histories(here: Place, names: Sequence[str]) -> list[str]:
    try:
        return [report.history_text(here.engine, here.stack, name) for name in names]
    except EngineUnavailable as error:
        return [f"Swarm's view is unreachable: {error}"]


@click.command("ui")
def ui() -> int:
    """Where the management consoles are."""
    with place() as here:
        lines = report.consoles(here.engine, here.stack)
        click.echo("\n".join(lines) if lines else f"no broker of stack {here.stack} runs. Type:  make status")
        say(credentials())
        if lines and os.environ.get("DISPLAY"):
            click.launch(lines[0].split()[1])
        return 0 if lines else int(ExitCode.UNAVAILABLE)


@click.command("purge")
@yes_option
def purge(yes: bool) -> int:
    """Empty every queue: their messages are gone."""
    with place() as here:
        ask(f"This deletes every message in every queue of stack {here.stack}. Go on?", yes=yes)
        return here.inside.attach(BROKERS, ["python3", "-m", "rmqcluster.swarm.purge"])


@click.command("redis-flush")
@yes_option
def redis_flush(yes: bool) -> int:
    """Empty Redis. The brokers go on and write what coordinates them anew."""
    with place() as here:
        ask(f"This empties the Redis of stack {here.stack} (FLUSHALL). Go on?", yes=yes)
        return _told(here.inside.run(REDIS, inside.redis_cli("-e", "FLUSHALL")))


@click.command("redis-clear-cluster")
@yes_option
def clear(yes: bool) -> int:
    """Forget members, master and heartbeats in Redis; everyone registers again."""
    with place() as here:
        ask(f"This clears the coordination state of stack {here.stack} in Redis. Go on?", yes=yes)
        said = here.inside.rmqcluster("clear", "--yes")
        click.echo((said.out + said.err).rstrip())
        return said.code


@click.command("postgres-create-db")
@DATABASE
def create_database(name: str) -> int:
    """Make a database."""
    with place() as here:
        name = _database(name)
        code = _told(here.inside.run(POSTGRES, inside.postgres_tool("createdb", "--", name)))
        if not code:
            say(f"database {name} is made")
        return code


@click.command("postgres-drop-db")
@DATABASE
@yes_option
def drop_database(name: str, yes: bool) -> int:
    """Delete a database with everything in it."""
    with place() as here:
        name = _database(name)
        ask(f"This deletes the database {name} of stack {here.stack} with everything in it. Go on?", yes=yes)
        code = _told(here.inside.run(POSTGRES, inside.postgres_tool("dropdb", "--force", "--", name)))
        if not code:
            say(f"database {name} is deleted")
        return code


def _database(name: str) -> str:
    return name or project_here().variables.get("POSTGRES_DB") or "schedulerdb"


COMMANDS = (
    show,
    shell,
    run,
    logs,
    debug,
    ui,
    purge,
    redis_flush,
    clear,
    create_database,
    drop_database,
)
