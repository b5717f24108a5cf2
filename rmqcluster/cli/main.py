"""The command group: mounts the families, and turns every expected error into a message and an exit code."""

import os
import sys
from collections.abc import Sequence

import click

from rmqcluster import __version__
from rmqcluster.cli.clear import clear
from rmqcluster.cli.demo import demo
from rmqcluster.cli.doctor import doctor
from rmqcluster.cli.explain import explain
from rmqcluster.cli.giving_up import forget, recover
from rmqcluster.cli.healthcheck import check
from rmqcluster.cli.history import history
from rmqcluster.cli.operate import drain, failover, rebalance, rejoin, replace, revive
from rmqcluster.cli.pausing import pause, resume
from rmqcluster.cli.session import DEMO_KEY
from rmqcluster.cli.status import health, status, wait
from rmqcluster.errors import ConfigurationError, ExitCode, RmqclusterError


class _Commands(click.Group):
    """`swarm` is loaded when it is called: it brings Docker's SDK, which the image does not have."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted([*super().list_commands(context), "swarm"])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        return _swarm() if name == "swarm" else super().get_command(context, name)


def _swarm() -> click.Command:
    try:
        from rmqcluster.cli import swarm, swarm_parts
    except ModuleNotFoundError as missing:
        words = f"the module {missing.name} is not here: the stack is deployed from a checkout (make up)"

        def refuse() -> None:
            raise ConfigurationError(words)

        anything = {"ignore_unknown_options": True, "allow_extra_args": True}
        help_text = "The stack; not from inside of it."
        return click.Command("swarm", callback=refuse, help=help_text, context_settings=anything)
    for part in swarm_parts.COMMANDS:
        swarm.swarm.add_command(part)
    return swarm.swarm


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--demo", "use_demo", is_flag=True, help="Speak to the demo on this machine.")
@click.version_option(__version__, prog_name="rmqcluster")
@click.pass_context
def cli(context: click.Context, use_demo: bool) -> None:
    """The missing operator for RabbitMQ on Docker Swarm, coordinated by Redis.

    Exit codes: 0 fine; 1 degraded or refused; 2 unavailable or unknown; 64 usage; 69 Redis or broker not
    reachable in time; 75 try again; 76 identity refused; 78 configuration.
    """
    context.obj = {DEMO_KEY: use_demo}


@cli.command()
def entrypoint() -> int:
    """PID 1 of a container: broker, bootstrap, heartbeat, monitor, HTTP."""
    from rmqcluster.agent.wiring import run_entrypoint

    return run_entrypoint()


@cli.command()
def healthcheck() -> int:
    """The container's HEALTHCHECK: does the supervisor's loop turn?"""
    return check(os.environ)


@cli.command()
def monitor() -> int:
    """The failover monitor alone: it has no broker, so it asks the members' management APIs."""
    from rmqcluster.agent.lone import run_monitor

    return run_monitor()


LOOKING = (status, health, wait, history, explain, doctor)
ACTING = (pause, resume, failover, rebalance, drain, revive, forget, replace, rejoin, recover, clear)
for command in (*LOOKING, *ACTING, demo):
    cli.add_command(command)


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code. Expected trouble is one message on stderr, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    try:
        result = cli.main(args=list(arguments), prog_name="rmqcluster", standalone_mode=False)
        sys.stdout.flush()
    except RmqclusterError as error:
        click.echo(f"rmqcluster: {error}", err=True)
        return int(error.exit_code)
    except click.UsageError as error:
        error.show()
        return int(ExitCode.USAGE)
    except click.ClickException as error:
        error.show()
        return int(ExitCode.DEGRADED)
    except click.Abort:
        click.echo("stopped: nothing further was done", err=True)
        return int(ExitCode.DEGRADED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader has gone; keep the interpreter's last flush quiet
        return int(ExitCode.OK)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(ExitCode.OK)
    return result if isinstance(result, int) else int(ExitCode.OK)
