"""`clear`: delete the coordination state, or forget the cluster. The only command here that destroys something."""

import click

from rmqcluster.cli.session import Session, command_options, echo_json
from rmqcluster.core.model import StoreView
from rmqcluster.core.status import shown
from rmqcluster.errors import RmqclusterError


class ClearRefused(RmqclusterError):
    """Nothing was changed."""


@click.command()
@click.option("--identity", is_flag=True, help="Also forget the cluster itself. Wants its id typed.")
@click.option("--id", "cluster_id", help="With --identity --yes: the cluster id.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@command_options()
def clear(session: Session, identity: bool, cluster_id: str | None, yes: bool, as_json: bool) -> int:
    """Delete members, master and heartbeats from Redis; brokers are untouched and everyone re-registers."""
    if cluster_id is not None and not identity:
        raise click.UsageError("--id goes with --identity")
    if identity and yes and cluster_id is None:
        raise click.UsageError("--identity --yes also wants --id with the cluster id")
    view = session.store.snapshot()
    done = _clear_identity(session, view, cluster_id, yes) if identity else _clear_state(session, view, yes)
    if as_json:
        echo_json({"cleared": done})
    else:
        click.echo(f"cleared: {', '.join(done)}")
    return 0


def _clear_state(session: Session, view: StoreView, yes: bool) -> list[str]:
    _say(
        f"This deletes members ({_names(view.members)}), master, heartbeats and the monitor's lease",
        f"under {session.settings.prefix}: in Redis at {session.settings.redis.address}.",
        "The cluster's id and epoch stay. Brokers are not touched. Every member registers again with its next beat",
        f"(about {session.settings.policy.heartbeat_seconds:g} s); until then status says degraded.",
    )
    if not yes:
        click.confirm("Go on?", abort=True, err=True)
    session.store.clear()
    return ["members", "master", "heartbeats"]


def _clear_identity(session: Session, view: StoreView, given: str | None, yes: bool) -> list[str]:
    """Refused while a member lives or a data disk is announced: they would be strangers to the next cluster."""
    known = view.record.cluster_id if view.record else None
    if known is None:
        raise ClearRefused("there is no cluster record in Redis: nothing to forget. Nothing was changed")
    there = set(view.heartbeats) | {node for node, said in view.announcements.items() if said.has_identity}
    if there:
        raise ClearRefused(
            f"refused: {_names(there)} still live or hold data of cluster {shown(known)}. Nothing was changed. "
            "Stop them, wait for the TTL, and try again; a node with data is given a new volume first"
        )
    _say(
        f"This forgets cluster {shown(known)}: blank nodes that are started after it may found a new one in its place.",
        "Data disks of the old cluster that come back later will be held. The epoch stays.",
    )
    typed = given if yes else click.prompt("Type the cluster id to go on", err=True)
    if typed != known:
        raise ClearRefused(f"{shown(str(typed))} is not the id of this cluster. Nothing was changed")
    session.store.clear()
    obstacles = session.store.clear_identity(known)
    if obstacles:
        raise ClearRefused(f"refused: {_names(obstacles)} came in the way meanwhile. The identity was not changed")
    return ["members", "master", "heartbeats", "identity"]


def _say(*lines: str) -> None:
    click.echo("\n".join(lines), err=True)


def _names(nodes: object) -> str:
    names = sorted(nodes) if isinstance(nodes, set | frozenset | tuple) else []
    return ", ".join(shown(name, 120) for name in names) or "none"
