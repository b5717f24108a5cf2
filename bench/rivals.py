"""The two ways to a three-node cluster that are compared, on the same ports, files and plugins."""

import http.client
import json
import math
import os
import signal
import tempfile
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import redis

from rmqcluster.broker.account import MONITOR_USER, monitor_password
from rmqcluster.broker.env import broker_environment
from rmqcluster.broker.version import find_scripts
from rmqcluster.config.load import load
from rmqcluster.config.settings import Secret, Settings
from rmqcluster.demo import acts, layout, node, proc, services, watch
from rmqcluster.demo.state import ADMIN_USER, HOST, DemoState, NodeState, common_environment
from rmqcluster.process.procfs import ProcessId
from rmqcluster.store.redis_store import RedisStore
from tests.failover.ledger import Account, Endpoint, Ledger

LOOK_SECONDS = 0.05
LIMIT_SECONDS = 120.0
ANSWER_SECONDS = 2.0
FORM_SECONDS = 180.0
SPREAD_LOOK_SECONDS = 1.0
DEFAULT_TIMING = {"RMQCLUSTER_HEARTBEAT_SECONDS": "5", "RMQCLUSTER_TTL_SECONDS": "15"}
Say = Callable[[str], None]


class TooSlow(Exception):
    """A measured thing did not happen within the limit."""


def until(condition: Callable[[], object], what: str, every_seconds: float = LOOK_SECONDS) -> float:
    """Seconds until the condition holds. Raises TooSlow."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > LIMIT_SECONDS:
            raise TooSlow(what)
        time.sleep(every_seconds)
    return time.monotonic() - began


def running(demo: DemoState, one: NodeState) -> set[str]:
    """Whom this node's broker sees running; empty while it does not answer."""
    rows = call(one, monitor_account(demo), "GET", "/api/nodes?disable_stats=true&columns=name,running")
    return {row["name"] for row in rows if row.get("running")} if isinstance(rows, list) else set()


def monitor_account(demo: DemoState) -> Account:
    cookie = demo.secret_file("cookie").read_text().strip()
    return Account(MONITOR_USER, monitor_password(Secret(cookie)).value)


def call(one: NodeState, account: Account, method: str, path: str, body: bytes | None = None) -> Any:
    """What this node's management API answers; None while it gives no usable answer."""
    token = b64encode(f"{account.user}:{account.password}".encode()).decode()
    connection = http.client.HTTPConnection(HOST, one.management_port, timeout=ANSWER_SECONDS)
    try:
        headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        return json.loads(text or b"{}") if answer.status < 300 else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def all_mutual(demo: DemoState) -> bool:
    return all(len(running(demo, one)) == demo.size for one in demo.nodes)


@dataclass(slots=True)
class Cluster:
    """A laid out demo; how its brokers are started is the difference between the two."""

    demo: DemoState
    owner: layout.Owner
    brokers: dict[int, ProcessId] = field(default_factory=dict)  # those of a cluster without supervisors

    @property
    def numbers(self) -> list[int]:
        return [one.number for one in self.demo.nodes]

    def name(self, number: int) -> str:
        return self.demo.node(number).name

    # Starting and ending

    def start_supervised(self) -> None:
        self.demo = acts.start_missing(self.demo, self.owner, lambda _words: None)

    def form_supervised(self) -> None:
        """All nodes, until they are members and provisioned."""
        self.start_supervised()
        watch.await_members(self.demo, self.numbers, lambda _words: None, FORM_SECONDS)

    def form_plain(self) -> None:
        """All nodes, until they are mutual, with the same queues as the other cluster is provisioned with."""
        for number in self.numbers:
            self.start_plain(number)
        until(lambda: all_mutual(self.demo), "the plain cluster")
        definitions = (self.demo.directory / "definitions.json").read_bytes()
        until(lambda: self.ask(1, "POST", "/api/definitions", definitions) is not None, "the definitions")

    def start_plain(self, number: int) -> None:
        """`rabbitmq-server` alone, with RabbitMQ's own discovery: every node lists all three."""
        one = self.demo.node(number)
        node.prepare(self.demo, one, self.owner)
        home = self.demo.node_directory(number)
        account = monitor_account(self.demo)
        lines = [
            f"management.tcp.port = {one.management_port}",
            f"default_user = {account.user}",
            f"default_pass = {account.password}",
            "default_user_tags.administrator = true",
            "cluster_partition_handling = pause_minority",
            "cluster_formation.peer_discovery_backend = classic_config",
            *(f"cluster_formation.classic_config.nodes.{n.number} = {n.name}" for n in self.demo.nodes),
            "log.console = true",
        ]
        layout.write(home / "conf.d" / "90-discovery.conf", "\n".join(lines) + "\n", self.owner, 0o600)
        cookie = self.demo.secret_file("cookie").read_text().strip()
        layout.write(home / ".erlang.cookie", cookie, self.owner, 0o400)
        settings = load(node.environment(self.demo, one), None)
        inherited = node.environment(self.demo, one)
        environment = broker_environment(settings, inherited, home / "conf.d", None)
        argv = [find_scripts(os.environ).path("rabbitmq-server")]
        self.brokers[number] = services.spawn(argv, environment, self.demo.log_file(number), home, self.owner)

    def kill_broker(self, number: int) -> None:
        broker = self._broker(number)
        proc.send([broker], signal.SIGKILL)
        proc.wait_gone([broker], 10)

    def kill_node(self, number: int) -> None:
        """The host is gone: SIGKILL of the broker and, where there is one, its supervisor, both at once."""
        supervisor = self.demo.node(number).supervisor
        proc.send([p for p in (supervisor, self._broker(number)) if p is not None], signal.SIGKILL)
        assert not node.kill(self.demo, number), "nothing survives SIGKILL"
        self.demo = self.demo.with_node(replace(self.demo.node(number), supervisor=None))

    def _broker(self, number: int) -> ProcessId:
        broker = self.brokers.get(number) or node.broker(self.demo, number)
        assert broker is not None, "the broker runs"
        return broker

    def start_node(self, number: int) -> None:
        """Start it again, the way it was started before; returns at once."""
        if self.brokers:
            self.start_plain(number)
        else:
            self.demo = acts.start_supervisor(self.demo, number, self.owner)

    def end(self) -> None:
        acts.stop_everything(self.demo, lambda _words: None)

    # What it says

    def account(self) -> Account:
        """Who publishes, and looks at queues."""
        if self.brokers:
            return monitor_account(self.demo)
        return Account(ADMIN_USER, self.demo.secret_file("admin").read_text().strip())

    def ask(self, number: int, method: str, path: str, body: bytes | None = None) -> Any:
        return call(self.demo.node(number), self.account(), method, path, body)

    def quorum_queues(self, asked: int) -> list[dict[str, Any]]:
        """As this broker lists them; none while it does not answer."""
        rows = self.ask(asked, "GET", "/api/queues/%2Ffog?disable_stats=true&enable_queue_totals=true")
        return [row for row in rows if row.get("type") == "quorum"] if isinstance(rows, list) else []

    def has_replicas(self, asked: int, number: int) -> bool:
        """Is there, for this broker, a replica of every quorum queue online on that node?"""
        rows = self.quorum_queues(asked)
        return bool(rows) and all(self.name(number) in (row.get("online") or ()) for row in rows)

    def is_spread(self, asked: int) -> bool:
        """Do the leaders of the quorum queues stand evenly on all nodes?"""
        numbers = self._leaders(asked)
        return bool(numbers) and max(numbers) - min(numbers) <= 1

    def _is_spread_enough(self, asked: int) -> bool:
        """By RabbitMQ's own measure, beyond which its command moves nothing: nobody leads more than his share."""
        numbers = self._leaders(asked)
        return bool(numbers) and max(numbers) <= math.ceil(sum(numbers) / len(numbers))

    def _leaders(self, asked: int) -> list[int]:
        """How many quorum queues each node leads; nothing while one has no leader, or nobody answers."""
        rows = self.quorum_queues(asked)
        counts = Counter(str(row.get("leader")) for row in rows)
        numbers = [counts[self.name(number)] for number in self.numbers]
        return numbers if rows and sum(numbers) == len(rows) else []

    def make_whole(self) -> None:
        """All replicas are online; leaders that are not spread are, by RabbitMQ's own command."""
        until(self._all_replicas_are_online, "replicas that are online")
        until(self._spread_by_hand, "spread leaders", SPREAD_LOOK_SECONDS)

    def _all_replicas_are_online(self) -> bool:
        return all(self.has_replicas(number % len(self.numbers) + 1, number) for number in self.numbers)

    def _spread_by_hand(self) -> bool:
        if self._is_spread_enough(1):
            return True
        self.ask(1, "POST", "/api/rebalance/queues", b"{}")  # refused while another one is under way
        return False

    def settings(self) -> Settings:
        """Those of a person beside the first node."""
        environment = {**common_environment(self.demo), "RABBITMQ_NODENAME": self.name(1)}
        return load(environment, None, role="client")

    def store(self) -> RedisStore:
        return RedisStore(self.settings(), node=self.name(1), instance="bench")

    def redis(self) -> Any:
        """A client of its own, not by way of the store. To be closed by the caller."""
        password = self.demo.secret_file("redis").read_text().strip()
        return redis.Redis(host=HOST, port=self.demo.redis.port, password=password, decode_responses=True)

    def ledger(self, *, queues: int, first: int) -> Ledger:
        """A load that counts every message, one publisher a node; its queues are declared through `first`."""
        order = [first, *(number for number in self.numbers if number != first)]
        ends = [Endpoint(HOST, self.demo.node(number).amqp_port) for number in order]
        return Ledger(ends, self.account(), queues=queues, publishers=len(order), prefix="bench")


@contextmanager
def laid_out(size: int = 3, **more: str) -> Iterator[Cluster]:
    """A new directory with Redis and epmd running; everything is ended and removed afterwards."""
    owner = layout.find_owner()
    with tempfile.TemporaryDirectory(prefix="rmqcluster-bench-") as directory:
        Path(directory).chmod(0o755)
        link = Path(directory) / "demo"
        demo = acts.create(link, size, owner, DEFAULT_TIMING | more)
        cluster = Cluster(demo, owner)
        try:
            cluster.demo = services.start_redis(cluster.demo, owner)
            cluster.demo = services.start_epmd(cluster.demo, owner)
            yield cluster
        finally:
            cluster.end()
            with suppress(FileNotFoundError):
                layout.remove(link)
