"""Reads everything that a status is made of: Redis first; supervisors and brokers directly where Redis is silent.

Without Redis the local supervisor (or the demo's) is asked, and those that it names. Every question is bounded
in time and size; what does not answer stays unknown.
"""

import http.client
import json
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

from rmqcluster.broker.management import ManagementApi
from rmqcluster.cli.alarms import alarm_facts
from rmqcluster.cli.past import Past, read_past
from rmqcluster.cli.session import Session
from rmqcluster.config.settings import Settings
from rmqcluster.core.model import Announcement, BrokerPhase, DiskKind, StoreView, View
from rmqcluster.core.status import Sources, Status
from rmqcluster.core.status_words import summarise
from rmqcluster.errors import BrokerUnavailable, RmqclusterError, StoreUnavailable

ANSWER_SECONDS = 2.0
ANSWER_BYTES_MAX = 1024 * 1024
ADDRESSES_MAX = 16  # how many are asked directly
EVENTS_READ = 200
T = TypeVar("T")


class NoAnswer(RmqclusterError):
    """A supervisor did not answer usefully."""


def read_status(session: Session) -> Status:
    """One reading of everything that can be reached. Raises ConfigurationError only."""
    started_at = time.monotonic()
    try:
        store: StoreView | None = session.store.snapshot()
        trouble = ""
    except StoreUnavailable as error:
        store, trouble = None, str(error)
    if store is not None and any(said.view for said in store.announcements.values()):
        return summarise(_from_store(session, store, started_at))
    return summarise(_directly(session, store, trouble))


def _from_store(session: Session, store: StoreView, started_at: float) -> Sources:
    """Redis knows what the brokers see; the history adds since when, and the brokers what is behind an alarm."""
    settings, past = session.settings, _past(session)
    said = store.announcements
    views = {node: one.view for node, one in said.items() if one.view is not None}
    addresses = {node: one.management for node, one in said.items() if node in views and one.management}
    facts = alarm_facts(settings, views, addresses)
    return Sources(
        policy=settings.policy,
        store=store,
        store_age_seconds=time.monotonic() - started_at,
        store_address=settings.redis.address,
        lost_seconds=past.lost_seconds,
        stopped_seconds=past.stopped_seconds,
        minority_seconds=past.minority_seconds,
        moved=past.moved,
        alarm_facts=facts,
    )


def _past(session: Session) -> Past:
    """What the history tells; nothing when it cannot be read."""
    try:
        events = session.store.recent_events(EVENTS_READ)
    except StoreUnavailable:
        return Past()
    return read_past(events, datetime.now(UTC).timestamp())


def _directly(session: Session, store: StoreView | None, trouble: str) -> Sources:
    """Redis is silent, or knows no broker's view: ask whom we can find."""
    settings = session.settings
    documents = ask_supervisors(session.supervisors)
    rows = [row for document in documents.values() for row in _rows(document)]
    addresses = {row["node"]: row["management"] for row in rows if _is_text(row, "node", "management")}
    if not documents and not session.demo:
        addresses = {settings.node: f"127.0.0.1:{settings.management_port}"}
    contacts = [_number(_part(document, "redis").get("last_contact_seconds")) for document in documents.values()]
    ids = {str(document["cluster_id"]) for document in documents.values() if document.get("cluster_id")}
    views = ask_brokers(settings, addresses)
    return Sources(
        policy=settings.policy,
        store=store,
        store_address=settings.redis.address,
        store_trouble=trouble,
        last_contact_seconds=min((seconds for seconds in contacts if seconds is not None), default=None),
        views=views,
        reports={node: report for node, document in documents.items() if (report := _report(node, document))},
        management=addresses,
        named=frozenset(str(row["node"]) for row in rows if _is_text(row, "node")),
        cluster_id=ids.pop() if len(ids) == 1 else None,
        alarm_facts=alarm_facts(settings, views, {node: addresses[node] for node in views}),
    )


def ask_supervisors(known: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Node name -> its /status, of those in `known` ("host:port" -> node) and of those that they name."""
    found: dict[str, dict[str, Any]] = {}
    asked: set[str] = set()
    wave = dict(known)
    while wave and len(asked) < ADDRESSES_MAX:
        asked |= set(wave)
        answers = _all_at_once(lambda address: json.loads(fetch(address, "/status")), wave)
        found |= {wave[address]: found_here for address, found_here in answers.items() if isinstance(found_here, dict)}
        named = {
            str(row["http"]): str(row["node"])
            for document in answers.values()
            for row in _rows(document)
            if _is_text(row, "node", "http")
        }
        wave = {address: node for address, node in named.items() if node not in found and address not in asked}
    return found


def ask_brokers(settings: Settings, addresses: Mapping[str, str]) -> dict[str, View]:
    """Whom each broker lists, of those that answer."""
    if not settings.cookie:
        return {}
    api = ManagementApi(settings)
    nodes = {address: node for node, address in addresses.items()}
    return {nodes[address]: view for address, view in _all_at_once(api.peer_view, nodes).items()}


def fetch(address: str, path: str) -> str:
    """GET from a supervisor. Raises NoAnswer; an answer with an error status is an answer, too."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise NoAnswer(f"{address!r} is no address (host:port)")
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().read(ANSWER_BYTES_MAX).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(f"the supervisor at {address} does not answer: {error}") from error
    finally:
        connection.close()


def _all_at_once(ask: Callable[[str], T], addresses: Iterable[str]) -> dict[str, T]:
    """Ask all in parallel; whoever fails is left out: it stays unknown."""

    def one(address: str) -> tuple[str, T] | None:
        try:
            return address, ask(address)
        except (NoAnswer, BrokerUnavailable, ValueError):
            return None

    asked = sorted(addresses)[:ADDRESSES_MAX]
    if not asked:
        return {}
    with ThreadPoolExecutor(len(asked)) as pool:
        return dict(answer for answer in pool.map(one, asked) if answer is not None)


def _report(node: str, document: Mapping[str, Any]) -> Announcement | None:
    """What a supervisor says of itself in its own row."""
    row = next((row for row in _rows(document) if row.get("node") == node), None)
    if row is None:
        return None
    return Announcement(
        node=node,
        instance="",
        disk=DiskKind.DATA,  # not told; nobody's disk is called lost without a word of its own
        broker=BrokerPhase.READY if row.get("running") is True else BrokerPhase.DOWN,
        version=_text(row, "version"),
        mutual=row["mutual"] if isinstance(row.get("mutual"), bool) else None,
        management=_text(row, "management"),
        http=_text(row, "http"),
        state=_text(row, "state") or "",
        held=_text(row, "held"),
    )


def _rows(document: object) -> list[dict[str, Any]]:
    rows = document.get("members") if isinstance(document, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = document.get(name)
    return part if isinstance(part, dict) else {}


def _is_text(row: Mapping[str, Any], *names: str) -> bool:
    return all(isinstance(row.get(name), str) for name in names)


def _text(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    return value if isinstance(value, str) and value else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
