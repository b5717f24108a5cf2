"""The two ways to a three-node cluster that are compared, on the same ports, files and plugins."""

import http.client
import json
import os
import signal
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from rmqcluster.broker.account import MONITOR_USER, monitor_password
from rmqcluster.broker.env import broker_environment
from rmqcluster.broker.version import find_scripts
from rmqcluster.config.load import load
from rmqcluster.config.settings import Secret
from rmqcluster.demo import acts, layout, node, proc, services
from rmqcluster.demo.state import HOST, DemoState, NodeState
from rmqcluster.process.procfs import ProcessId

LOOK_SECONDS = 0.05
LIMIT_SECONDS = 120.0
DEFAULT_TIMING = {"RMQCLUSTER_HEARTBEAT_SECONDS": "5", "RMQCLUSTER_TTL_SECONDS": "15"}


class TooSlow(Exception):
    """A measured thing did not happen within the limit."""


def until(condition: object, what: str) -> float:
    """Seconds until the condition holds; it is looked at every 50 ms."""
    began = time.monotonic()
    while not condition():  # type: ignore[operator]
        if time.monotonic() - began > LIMIT_SECONDS:
            raise TooSlow(what)
        time.sleep(LOOK_SECONDS)
    return time.monotonic() - began


def running(demo: DemoState, one: NodeState) -> set[str]:
    """Whom this node's broker sees running; empty while it does not answer."""
    password = monitor_password(Secret(demo.secret_file("cookie").read_text().strip())).value
    token = b64encode(f"{MONITOR_USER}:{password}".encode()).decode()
    connection = http.client.HTTPConnection(HOST, one.management_port, timeout=2)
    try:
        path = "/api/nodes?disable_stats=true&columns=name,running"
        connection.request("GET", path, headers={"Authorization": f"Basic {token}"})
        rows = json.loads(connection.getresponse().read())
        return {row["name"] for row in rows if row.get("running")} if isinstance(rows, list) else set()
    except (OSError, ValueError, http.client.HTTPException):
        return set()
    finally:
        connection.close()


def all_mutual(demo: DemoState) -> bool:
    return all(len(running(demo, one)) == demo.size for one in demo.nodes)


@dataclass(slots=True)
class Cluster:
    """A laid out demo; how its brokers are started is the difference between the two."""

    demo: DemoState
    owner: layout.Owner
    brokers: dict[int, ProcessId] = field(default_factory=dict)

    def start_supervised(self) -> None:
        self.demo = acts.start_missing(self.demo, self.owner, lambda _words: None)

    def start_plain(self, number: int) -> None:
        """`rabbitmq-server` alone, with RabbitMQ's own discovery: every node lists all three."""
        one = self.demo.node(number)
        node.prepare(self.demo, one, self.owner)
        home = self.demo.node_directory(number)
        password = monitor_password(Secret(self.demo.secret_file("cookie").read_text().strip())).value
        lines = [
            f"management.tcp.port = {one.management_port}",
            f"default_user = {MONITOR_USER}",
            f"default_pass = {password}",
            "default_user_tags.monitoring = true",
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
        broker = self.brokers.get(number) or node.broker(self.demo, number)
        assert broker is not None, "the broker runs"
        proc.send([broker], signal.SIGKILL)
        proc.wait_gone([broker], 10)

    def end(self) -> None:
        acts.stop_everything(self.demo, lambda _words: None)


@contextmanager
def laid_out(size: int = 3) -> Iterator[Cluster]:
    """A new directory with Redis and epmd running; everything is ended and removed afterwards."""
    owner = layout.find_owner()
    with tempfile.TemporaryDirectory(prefix="rmqcluster-bench-") as directory:
        Path(directory).chmod(0o755)
        link = Path(directory) / "demo"
        demo = acts.create(link, size, owner, DEFAULT_TIMING)
        cluster = Cluster(demo, owner)
        try:
            cluster.demo = services.start_redis(cluster.demo, owner)
            cluster.demo = services.start_epmd(cluster.demo, owner)
            yield cluster
        finally:
            cluster.end()
            with suppress(FileNotFoundError):
                layout.remove(link)
