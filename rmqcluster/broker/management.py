"""What brokers say over their management API: membership, alarms, our record in them, names of queues.

Reads ask for `disable_stats`: with statistics the answer waits for every member, and one paused peer (SIGSTOP,
a hanging disk) makes it take 20 s or more; without, 5 s on the first question and nothing on the next ones
(measured on 3.10.8). Hence the deadline of a view is above those 5 s; all others are 2 s.
"""

import time
from collections.abc import Callable, Mapping

from rmqcluster.agent.ports import BrokerFacts
from rmqcluster.broker.account import MONITOR_USER, monitor_password
from rmqcluster.broker.http import get_json
from rmqcluster.config.settings import Settings
from rmqcluster.core.model import View
from rmqcluster.errors import BrokerRefused, BrokerUnavailable

PARAMETER = "rmqcluster"  # our global parameter: {"cluster_id", "stamp"}
VIEW_SECONDS = 6.0
READ_SECONDS = 2.0
_FALLBACK_PAUSE_SECONDS = 5.0  # the fallback starts a process
_NAME_CHARACTERS_MAX = 255


class ManagementApi:
    """Port `BrokerApi`. `fallback` reads the same facts by a command, without account or port."""

    def __init__(
        self,
        settings: Settings,
        *,
        fallback: Callable[[], BrokerFacts] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own = f"127.0.0.1:{settings.management_port}"
        self._password = monitor_password(settings.cookie)
        self._fallback = fallback
        self._monotonic = monotonic
        self._fallen_back: tuple[float, BrokerFacts] | None = None

    def facts(self) -> BrokerFacts:
        """One reading of this member's own broker: at most three questions, no process.

        A broker that refused our account, or does not listen, is asked by a command, and then left alone for a while.
        """
        if self._fallen_back is not None and self._monotonic() - self._fallen_back[0] < _FALLBACK_PAUSE_SECONDS:
            return self._fallen_back[1]
        try:
            view = self._view(self._own)
            parameters = self._global_parameters()
        except BrokerUnavailable as error:
            # In maintenance 3.10 closes this port too; the account is unknown where somebody else made the cluster.
            closed = isinstance(error, BrokerRefused) or isinstance(error.__cause__, ConnectionRefusedError)
            if self._fallback is None or not closed:
                raise
            return self._without_account(self._fallback)
        return broker_facts(view, parameters.get(PARAMETER), parameters.get("internal_cluster_id"))

    def peer_view(self, address: str) -> View:
        """Whom another member's broker lists; `address` is "host:port" of its management API."""
        return self._view(address)

    def quorum_queues(self) -> frozenset[tuple[str, str]]:
        """(virtual host, name) of all quorum queues that the monitor account can see."""
        path = "/api/queues?disable_stats=true&enable_queue_totals=true&columns=vhost,name,type"
        rows = self._get(self._own, path, VIEW_SECONDS)
        if not isinstance(rows, list):
            raise BrokerUnavailable("the broker's list of queues is not a list")
        quorum = (row for row in rows if isinstance(row, dict) and row.get("type") == "quorum")
        return frozenset((str(row.get("vhost")), str(row.get("name"))) for row in quorum)

    def _view(self, address: str) -> View:
        nodes = self._get(address, "/api/nodes?disable_stats=true&columns=name,running", VIEW_SECONDS)
        alarms = self._get(address, "/api/health/checks/alarms", READ_SECONDS, also_accept=503)
        return parse_view(nodes, alarms)

    def _global_parameters(self) -> dict[str, object]:
        rows = self._get(self._own, "/api/global-parameters", READ_SECONDS)
        if not isinstance(rows, list):
            raise BrokerUnavailable("the broker's list of global parameters is not a list")
        return {str(row.get("name")): row.get("value") for row in rows if isinstance(row, dict)}

    def _get(self, address: str, path: str, seconds: float, also_accept: int = 200) -> object:
        return get_json(address, path, MONITOR_USER, self._password, deadline_seconds=seconds, also_accept=also_accept)

    def _without_account(self, fallback: Callable[[], BrokerFacts]) -> BrokerFacts:
        now = self._monotonic()
        self._fallen_back = (now, fallback())
        return self._fallen_back[1]


def broker_facts(view: View, ours: object, broker_cluster_id: object) -> BrokerFacts:
    """`ours` is the value of our global parameter, None when there is none."""
    ours = ours if isinstance(ours, Mapping) else {}
    stamp, cluster_id = ours.get("stamp"), ours.get("cluster_id")
    return BrokerFacts(
        view=view,
        stamp=stamp if isinstance(stamp, str) else "",
        broker_cluster_id=broker_cluster_id if isinstance(broker_cluster_id, str) else None,
        extra={"cluster_id": cluster_id} if isinstance(cluster_id, str) else {},
    )


def parse_view(nodes: object, alarms: object) -> View:
    """Raises BrokerUnavailable when the answer has another shape than RabbitMQ's."""
    if not isinstance(nodes, list) or not nodes:
        raise BrokerUnavailable("the broker's list of nodes is empty or not a list")
    members: set[str] = set()
    running: set[str] = set()
    for row in nodes:
        name = row.get("name") if isinstance(row, dict) else None
        if not isinstance(name, str) or "@" not in name or len(name) > _NAME_CHARACTERS_MAX:
            raise BrokerUnavailable("the broker's list of nodes holds something that is not a node")
        members.add(name)
        if row.get("running") is True:
            running.add(name)
    return View(members=frozenset(members), running=frozenset(running), alarms=_alarms(alarms))


def _alarms(answer: object) -> tuple[str, ...]:
    rows = answer.get("alarms") if isinstance(answer, Mapping) else None
    if not isinstance(rows, list):
        return ()
    words = (
        f"{str(row.get('resource', '')).removesuffix(' space')} {row.get('node', '')}"[:_NAME_CHARACTERS_MAX]
        for row in rows
        if isinstance(row, Mapping)
    )
    return tuple(sorted(set(words)))
