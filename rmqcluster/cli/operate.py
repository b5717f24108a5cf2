"""`failover`, `rebalance`, `drain`, `revive`, `replace`, `rejoin`: guarded, said, asked for, followed to the end."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Any, TypeVar

import click

from rmqcluster.cli import guards, members
from rmqcluster.cli.asking import Busy, Outcome, Refused, Wish, ask
from rmqcluster.cli.losses import losses
from rmqcluster.cli.names import resolve
from rmqcluster.cli.session import Session, command_options, echo_json
from rmqcluster.core.model import OperationKind, StoreView
from rmqcluster.core.status import shown
from rmqcluster.errors import ExitCode, RmqclusterError

F = TypeVar("F", bound=Callable[..., Any])
DRAIN_SECONDS = 600.0
SENTENCE_CHARACTERS = 1000


class NotSafeInTime(RmqclusterError):
    """The wait for a safe moment ended; nothing was changed."""

    exit_code = ExitCode.TRY_AGAIN


@dataclass(frozen=True, slots=True)
class Mode:
    """How an operation is asked for."""

    yes: bool
    follow: bool
    as_json: bool


def operation_options() -> Callable[[F], F]:
    """Adds `--yes`, `--no-wait`, `--json` and `--demo`; the command gets a `Session` and a `Mode`."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def with_mode(session: Session, *args: Any, yes: bool, no_wait: bool, as_json: bool, **options: Any) -> Any:
            return function(session, Mode(yes, not no_wait, as_json), *args, **options)

        decorated: Any = click.option("--no-wait", is_flag=True, help="Ask for it and return at once.")(with_mode)
        decorated = click.option("--yes", is_flag=True, help="Do not ask.")(decorated)
        return command_options()(decorated)  # type: ignore[no-any-return]

    return decorate


@click.command()
@click.option("--to", "target", metavar="N", help="The member that is to be master; any other when not given.")
@operation_options()
def failover(session: Session, mode: Mode, target: str | None) -> int:
    """Move the master label to another member. Joiners use the new master; queues and clients are not touched."""
    view = session.store.snapshot()
    to = None if target is None else resolve(target, members.known(view))
    refuse(guards.failover(view, to))
    follows = (f"The master label moves from {name(view.master)} to {name(to) if to else 'another member'}.",)
    return carry_out(session, mode, view, Wish(OperationKind.FAILOVER, target=to), follows)


@click.command()
@operation_options()
def rebalance(session: Session, mode: Mode) -> int:
    """Spread the leaders of the quorum queues over the running members. Publishers may pause for a moment."""
    view = session.store.snapshot()
    refuse(guards.rebalance(view))
    follows = ("Leaders of quorum queues move; publishers to a queue whose leader moves pause for a moment.",)
    return carry_out(session, mode, view, Wish(OperationKind.REBALANCE), follows)


@click.command()
@click.argument("node", metavar="N")
@click.option("--wait", is_flag=True, help="While it is refused or somebody is busy, try again until it is safe.")
@click.option("--timeout", type=click.FloatRange(0), default=DRAIN_SECONDS, show_default=True, help="Of --wait.")
@operation_options()
def drain(session: Session, mode: Mode, node: str, wait: bool, timeout: float) -> int:
    """Take member N into maintenance: its leaders move away, its clients are disconnected and go to the others."""
    if wait and not mode.follow:
        raise click.UsageError("--wait and --no-wait contradict each other")
    view = session.store.snapshot()
    node = resolve(node, members.known(view))
    if members.is_drained(view, node):
        return _nothing_to_do(mode, f"{name(node)} is in maintenance already")
    follows = (
        f"{name(node)} goes into maintenance: no leader, no client; its replicas pause until rmqcluster revive.",
        "Until then one more loss may stop queues.",
    )
    wish = Wish(OperationKind.DRAIN, node)
    if not wait:
        refuse(guards.drain(view, node))
        return carry_out(session, mode, view, wish, follows)
    confirm(mode, follows)
    return show(_drain_when_safe(session, wish, timeout), mode)


def _drain_when_safe(session: Session, wish: Wish, seconds: float) -> Outcome:
    """Asks again and again. Raises NotSafeInTime with the last refusal."""
    deadline, pacing = time.monotonic() + seconds, Event()
    told = ""
    while True:
        try:
            refuse(guards.drain(session.store.snapshot(), wish.subject))
            outcome = ask(session, wish, follow=True, say=say)
            if outcome.word != "refused":
                return outcome
            words = f"refused: {outcome.text}"
        except (Refused, Busy) as error:
            words = str(error)
        left = deadline - time.monotonic()
        if left <= 0:
            raise NotSafeInTime(f"not safe within {seconds:g} s. {shown(words, SENTENCE_CHARACTERS)}")
        if words != told:
            say(f"waiting until it is safe: {words}")
            told = words
        pacing.wait(min(session.settings.policy.heartbeat_seconds, left))


@click.command()
@click.argument("node", metavar="N")
@operation_options()
def revive(session: Session, mode: Mode, node: str) -> int:
    """Bring member N back from maintenance: it takes clients and leaders again."""
    view = session.store.snapshot()
    node = resolve(node, members.known(view))
    refuse(guards.revive(view, node))
    return carry_out(session, mode, view, Wish(OperationKind.REVIVE, node), ())


@click.command()
@click.argument("node", metavar="N")
@operation_options()
def replace(session: Session, mode: Mode, node: str) -> int:
    """Give up the old disk of N, which came back blank: its old self is forgotten, and it joins anew."""
    view = session.store.snapshot()
    node = resolve(node, members.known(view))
    refuse(guards.replace(view, node))
    follows = (
        f"{name(node)} announces a blank disk. Its OLD DISK IS GIVEN UP: should it return, it is held as forgotten.",
        *losses(session, view, frozenset({node})).sentences,
        "Then it joins as a new member, and replicas grow back to each queue's target.",
    )
    return carry_out(session, mode, view, Wish(OperationKind.REPLACE, node, consent=True), follows)


@click.command()
@click.argument("node", metavar="N")
@operation_options()
def rejoin(session: Session, mode: Mode, node: str) -> int:
    """Let N join anew, which was forgotten while it was away. Its old data is put aside beside the new."""
    view = session.store.snapshot()
    node = resolve(node, members.known(view))
    refuse(guards.rejoin(view, node))
    follows = (
        f"{name(node)} joins as a new, empty member. What only its old disk holds is not in the cluster afterwards;",
        "the old directory is kept beside the new one and is never deleted by rmqcluster.",
    )
    return carry_out(session, mode, view, Wish(OperationKind.REJOIN, node, consent=True), follows)


def refuse(words: str | None) -> None:
    """Raises Refused when a guard gave words."""
    if words is not None:
        raise Refused(f"refused: {shown(words, SENTENCE_CHARACTERS)}. Nothing was changed")


def check_free(view: StoreView) -> None:
    """Raises Busy while an operation is under way."""
    words = guards.busy(view)
    if words is not None:
        raise Busy(words)


def carry_out(session: Session, mode: Mode, view: StoreView, wish: Wish, follows: tuple[str, ...]) -> int:
    """Say what will follow, ask, write the record, follow it. Raises Busy, also before anybody is asked."""
    check_free(view)
    confirm(mode, follows)
    return show(ask(session, wish, follow=mode.follow, say=say), mode)


def confirm(mode: Mode, follows: tuple[str, ...]) -> None:
    """Nothing is asked where nothing follows. Raises click.Abort for a no."""
    if not follows:
        return
    click.echo("\n".join(follows), err=True)
    if not mode.yes:
        click.confirm("Go on?", abort=True, err=True)


def show(outcome: Outcome, mode: Mode) -> int:
    """Print how it ended; returns the exit code."""
    if mode.as_json:
        echo_json(outcome.as_json())
    else:
        words = f"{outcome.word}: {shown(outcome.text, SENTENCE_CHARACTERS)}"
        click.echo(words, err=outcome.exit_code is not ExitCode.OK)
    return int(outcome.exit_code)


def say(words: str) -> None:
    """Progress goes to stderr; it may quote what came from Redis."""
    click.echo(shown(words, SENTENCE_CHARACTERS), err=True)


def name(node: str | None) -> str:
    return shown(node, 120) if node else "nobody"


def _nothing_to_do(mode: Mode, words: str) -> int:
    if mode.as_json:
        echo_json({"operation": None, "outcome": "done", "text": words})
    else:
        click.echo(f"nothing to do: {words}")
    return int(ExitCode.OK)
