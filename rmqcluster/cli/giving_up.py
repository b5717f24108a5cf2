"""`forget` and `recover`: what cannot be taken back. Each wants the node's full name typed; nothing forces either."""

import click

from rmqcluster.cli import guards, members
from rmqcluster.cli.asking import Refused, Wish
from rmqcluster.cli.gather import read_status
from rmqcluster.cli.losses import losses
from rmqcluster.cli.names import resolve
from rmqcluster.cli.operate import Mode, carry_out, check_free, name, operation_options, refuse
from rmqcluster.cli.session import Session
from rmqcluster.core.model import OperationKind

SAY_SO = "refused: this may lose data; say so with --accept-data-loss. Nothing was changed"
accept_option = click.option("--accept-data-loss", is_flag=True, help="What is listed as lost may be lost.")


@click.command()
@click.argument("node", metavar="N")
@click.option("--node", "typed", metavar="NAME", help="The full node name once more; --yes wants it.")
@accept_option
@operation_options()
def forget(session: Session, mode: Mode, node: str, typed: str | None, accept_data_loss: bool) -> int:
    """Take node N, which is down for good, out of the cluster. Its disk must not come back afterwards.

    Refused while a queue would lose its majority, and, without --accept-data-loss, while one would be lost. Replicas
    on running members that only have to catch up are waited for, a minute at the most.
    """
    if mode.yes and typed is None:
        raise click.UsageError("--yes also wants --node with the full node name")
    view = session.store.snapshot()
    node = resolve(node, members.known(view))
    refuse(guards.forget(view, node))
    check_free(view)
    found = losses(session, view, frozenset({node}))
    _say(
        f"{name(node)} is taken out of the cluster. Should its disk return, it is held and lets no client in.",
        *found.sentences,
        "It is refused if a queue needs that node"
        + ("." if accept_data_loss else ", or has its only copy there and --accept-data-loss is not given."),
    )
    if found.dying and not accept_data_loss:
        raise Refused(SAY_SO)
    _typed_exactly(node, typed)
    return carry_out(session, mode, view, Wish(OperationKind.FORGET, node, consent=accept_data_loss), ())


@click.command()
@click.option("--from", "source", metavar="N", required=True, help="The member whose disk goes on.")
@click.option("--node", "typed", metavar="NAME", help="The full node name once more, instead of a question.")
@accept_option
@operation_options()
def recover(session: Session, mode: Mode, source: str, typed: str | None, accept_data_loss: bool) -> int:
    """Go on with member N alone after the majority was lost FOR GOOD. Never done by itself."""
    if mode.yes and typed is None:
        raise click.UsageError("--yes also wants --node with the full node name")
    view = session.store.snapshot()
    node = resolve(source, members.known(view))
    refuse(guards.recover(view, read_status(session).verdict, node))
    check_free(view)
    given_up = frozenset(view.announcements[node].listed | members.listed(view)) - {node}
    _say(
        f"{name(node)} goes on ALONE with its disk. Given up: {', '.join(map(name, sorted(given_up))) or 'nobody'};",
        "should their disks return, they are held. What queues confirmed without a copy here is lost.",
        *losses(session, view, given_up).sentences,
        f"If one of them can be powered on with its disk, do that instead: {name(node)} is kept running in place.",
    )
    if not accept_data_loss:
        raise Refused(SAY_SO)
    _typed_exactly(node, typed)
    return carry_out(session, mode, view, Wish(OperationKind.RECOVER, node, consent=True), ())


def _typed_exactly(node: str, typed: str | None) -> None:
    """Raises Refused unless the full name was typed."""
    given = typed if typed is not None else click.prompt("Type the full node name to go on", err=True)
    if given != node:
        raise Refused(f"refused: {name(str(given))!r} is not {name(node)}. Nothing was changed")


def _say(*lines: str) -> None:
    click.echo("\n".join(lines), err=True)
