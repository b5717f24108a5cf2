"""What goes with a node that is given up: the queues whose only copy is there, as a living broker tells them."""

from collections.abc import Iterable, Mapping

from rmqcluster.broker.account import MONITOR_USER, monitor_password
from rmqcluster.broker.http import get_json
from rmqcluster.cli import members
from rmqcluster.cli.session import Session
from rmqcluster.core.model import Announcement, StoreView
from rmqcluster.core.status import shown
from rmqcluster.errors import BrokerUnavailable

QUEUES = "/api/queues?disable_stats=true&enable_queue_totals=true"
READ_SECONDS = 6.0  # the first question without statistics takes up to 5 s beside a paused peer (measured on 3.10.8)
ASKED_MAX = 2
NAMED_MAX = 10


def losses(session: Session, view: StoreView, gone: frozenset[str]) -> list[str]:
    """Sentences for the one who decides: facts of the monitor, and which queues have no copy but on `gone`."""
    lines = [f"Last known: {shown(note)}" for note in _notes(view)]
    try:
        dying = queues_only_on(_read_queues(session, view, gone), gone)
    except BrokerUnavailable as error:
        return [*lines, f"Which queues are lost could NOT be read ({shown(str(error))}): find out before you go on."]
    if not dying:
        return [*lines, "No queue has its only copy there."]
    return [*lines, f"Queues that are LOST, their only copy is there ({len(dying)}): {_listed(dying)}."]


def queues_only_on(rows: object, gone: frozenset[str]) -> tuple[str, ...]:
    """`classic /fog audit` of every queue whose copies are all on `gone`. Raises BrokerUnavailable for nonsense.

    Exclusive queues go with their connection anyway and are left out.
    """
    if not isinstance(rows, list):
        raise BrokerUnavailable("the broker's list of queues is not a list")
    found = []
    for row in rows:
        if not isinstance(row, Mapping) or not all(isinstance(row.get(part), str) for part in ("name", "vhost")):
            raise BrokerUnavailable("the broker's list of queues holds something that is not a queue")
        copies = _copies(row)
        if copies and copies <= gone and row.get("exclusive") is not True:
            found.append(f"{row.get('type', 'classic')} {row['vhost']} {row['name']}")
    return tuple(sorted(found))


def _copies(row: Mapping[str, object]) -> set[str]:
    """Quorum queues and streams tell their members, classic queues their node and mirrors."""
    copies: set[str] = set()
    for part in ("members", "slave_nodes"):
        nodes = row.get(part)
        copies |= {str(node) for node in nodes} if isinstance(nodes, list) else set()
    return copies or ({str(row["node"])} if isinstance(row.get("node"), str) else set())


def _read_queues(session: Session, view: StoreView, gone: frozenset[str]) -> object:
    """From the master first, else from whoever else runs."""
    if not session.settings.cookie:
        raise BrokerUnavailable("the brokers' cookie is not configured here: RABBITMQ_ERLANG_COOKIE")
    trouble = "no running broker tells its management address"
    for said in _tellers(view, gone)[:ASKED_MAX]:
        try:
            password = monitor_password(session.settings.cookie)
            return get_json(said.management or "", QUEUES, MONITOR_USER, password, deadline_seconds=READ_SECONDS)
        except BrokerUnavailable as error:
            trouble = str(error)
    raise BrokerUnavailable(trouble)


def _tellers(view: StoreView, gone: frozenset[str]) -> list[Announcement]:
    running = sorted(members.broker_views(view).keys() - gone, key=lambda node: (node != view.master, node))
    return [said for node in running if (said := view.announcements[node]).management]


def _notes(view: StoreView) -> tuple[str, ...]:
    holder = view.announcements.get(view.lease.node) if view.lease is not None else None
    return holder.notes if holder is not None else ()


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    rest = f" and {len(every) - NAMED_MAX} more" if len(every) > NAMED_MAX else ""
    return ", ".join(shown(name, 200) for name in every[:NAMED_MAX]) + rest
