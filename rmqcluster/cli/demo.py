"""`rmqcluster demo …`: a real cluster and Redis on this machine, without containers."""

import os
import sys
from pathlib import Path

import click

from rmqcluster.demo import acts, layout, state
from rmqcluster.demo.state import ADMIN_USER, HOST, DemoState


@click.group("demo")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    help=f"Where the demo lives; {layout.DEFAULT_DIRECTORY} here, or what {layout.DIRECTORY_VARIABLE} names.",
)
def demo(directory: Path | None) -> None:
    """A real cluster and Redis on this machine, without containers."""
    if directory is not None:
        os.environ[layout.DIRECTORY_VARIABLE] = str(directory)


@demo.command()
@click.option("--nodes", metavar="1|3|5", help="How many members; 3 when the demo is new.")
def up(nodes: str | None) -> None:
    """Form the cluster, or start what is missing of it; ends when all members are mutual and registered."""
    link = layout.default_directory()
    with acts.exclusive(link):
        found = acts.up(link, None if nodes is None else acts.size_of(nodes), _say)
    code = _status(as_json=False)
    click.echo()
    for line in _addresses(found):
        click.echo(line)
    sys.exit(code)


@demo.command()
@click.option("--json", "as_json", is_flag=True, help="The status as JSON.")
def status(as_json: bool) -> None:
    """Show verdict, members, NEXT and DO; the exit code is the verdict's."""
    state.load(layout.default_directory())
    sys.exit(_status(as_json))


@demo.command()
@click.argument("node", default="")
def kill(node: str) -> None:
    """SIGKILL the supervisor and the broker of NODE, and wait until the others have noticed."""
    link = layout.default_directory()
    with acts.exclusive(link):
        acts.kill(link, acts.node_number(node), _say)
    click.echo(f"See it: make demo-status.  Bring it back: make demo-start NODE={acts.node_number(node)}")


@demo.command()
@click.argument("node", default="")
def start(node: str) -> None:
    """Start a killed NODE again and wait until it is a member."""
    link = layout.default_directory()
    with acts.exclusive(link):
        acts.start(link, acts.node_number(node), _say)
    _status(as_json=False)


@demo.command()
def down() -> None:
    """Stop everything that the demo started and remove its data."""
    link = layout.default_directory()
    with acts.exclusive(link):
        acts.down(link, _say)
    click.echo("The demo is gone: nothing of it runs, its data is removed.")


def _say(words: str) -> None:
    click.echo(words)


def _status(as_json: bool) -> int:
    """The very same as `rmqcluster --demo status`."""
    from rmqcluster.cli.main import run  # it imports this module

    return run(["--demo", "status", *(["--json"] if as_json else [])])


def _addresses(found: DemoState) -> list[str]:
    secrets = found.directory / "secrets"
    return [
        *(f"{one.name}  http://{HOST}:{one.management_port}/  amqp://{HOST}:{one.amqp_port}/" for one in found.nodes),
        f"user {ADMIN_USER}, password in {secrets / 'admin'}; workers worker1 to worker3, in {secrets / 'worker'}",
        "next: make demo-status, make demo-kill NODE=2, make demo-start NODE=2, make demo-down",
    ]
