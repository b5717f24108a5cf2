"""What goes with a node that is given up: queues whose only copy is there, as far as a living broker tells.

The management API shows less than there is: our account sees the virtual hosts that were provisioned, streams do not
tell their replicas without statistics, and a quorum queue whose only replica is down is neither listed nor counted
(measured on 3.10.8). So nothing is ever called complete here; whoever carries the operation out looks at every queue.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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
NONE_SEEN = "No queue that can be seen from here has its only copy there."
UNSEEN = "Not seen from here: streams, queues of other virtual hosts, and quorum queues that are down with it."


@dataclass(frozen=True, slots=True)
class Losses:
    """`dying` are the queues known to be lost; `sentences` say that, what is not known, and what the monitor found."""

    dying: tuple[str, ...]
    sentences: tuple[str, ...]


def losses(session: Session, view: StoreView, gone: frozenset[str]) -> Losses:
    """Asks the master's broker, else another one. Never raises for what cannot be read: that is a sentence, too."""
    known = tuple(f"Last known: {shown(text)}" for text in _notes(view, gone))
    try:
        dying = queues_only_on(_read(session, view, gone), gone)
    except BrokerUnavailable as error:
        return Losses((), (*known, f"Which queues are lost could NOT be read: {shown(str(error))}."))
    found = f"Queues that are LOST, their only copy is there ({len(dying)}): {_listed(dying)}." if dying else NONE_SEEN
    return Losses(dying, (*known, found, UNSEEN))


def queues_only_on(rows: object, gone: frozenset[str]) -> tuple[str, ...]:
    """`classic /fog audit` of every queue whose copies are all on `gone`. Raises BrokerUnavailable for nonsense.

    Exclusive queues go with their connection anyway and are left out.
    """
    found = []
    for row in _queues(rows):
        copies = _copies(row)
        if copies and copies <= gone and row.get("exclusive") is not True:
            found.append(f"{row.get('type', 'classic')} {row['vhost']} {row['name']}")
    return tuple(sorted(found))


def _queues(rows: object) -> Iterable[Mapping[str, object]]:
    if not isinstance(rows, list):
        raise BrokerUnavailable("the broker's list of queues is not a list")
    for row in rows:
        if not isinstance(row, Mapping) or not all(isinstance(row.get(part), str) for part in ("name", "vhost")):
            raise BrokerUnavailable("the broker's list of queues holds something that is not a queue")
        yield row


def _copies(row: Mapping[str, object]) -> set[str]:
    """Quorum queues tell their members, classic queues their node and mirrors; empty when it is not told."""
    copies: set[str] = set()
    for part in ("members", "slave_nodes"):
        nodes = row.get(part)
        copies |= {str(node) for node in nodes} if isinstance(nodes, list) else set()
    return copies | ({str(row["node"])} if isinstance(row.get("node"), str) and "members" not in row else set())


def _read(session: Session, view: StoreView, gone: frozenset[str]) -> object:
    """The queues that our account sees."""
    if not session.settings.cookie:
        raise BrokerUnavailable("the brokers' cookie is not configured here (RABBITMQ_ERLANG_COOKIE)")
    password = monitor_password(session.settings.cookie)
    trouble = "no running broker tells its management address"
    for said in _tellers(view, gone)[:ASKED_MAX]:
        try:
            return get_json(said.management or "", QUEUES, MONITOR_USER, password, deadline_seconds=READ_SECONDS)
        except BrokerUnavailable as error:
            trouble = str(error)
    raise BrokerUnavailable(trouble)


def _tellers(view: StoreView, gone: frozenset[str]) -> list[Announcement]:
    running = sorted(members.broker_views(view).keys() - gone, key=lambda node: (node != view.master, node))
    return [said for node in running if (said := view.announcements[node]).management]


def _notes(view: StoreView, gone: frozenset[str]) -> list[str]:
    """What the monitor found when it last looked, of queues in general and of these nodes."""
    holder = view.announcements.get(view.lease.node) if view.lease is not None else None
    if holder is None:
        return []
    return [*holder.notes, *(text for text in holder.findings if text.partition(" ")[0] in gone)]


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    rest = f" and {len(every) - NAMED_MAX} more" if len(every) > NAMED_MAX else ""
    return ", ".join(shown(name, 200) for name in every[:NAMED_MAX]) + rest
