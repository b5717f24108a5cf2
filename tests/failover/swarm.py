"""The stack on a Swarm as a cluster under test, reached from any of its managers; nothing of it has to be published."""

import base64
import http.client
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rmqcluster.errors import OperationRefused
from rmqcluster.swarm import containers, project
from rmqcluster.swarm.engine import Engine
from rmqcluster.swarm.facts import Service
from rmqcluster.swarm.inside import BROKERS, REDIS, Inside
from rmqcluster.swarm.rolling import await_whole

from . import gate
from .ledger import Account, Endpoint

AMQP, MANAGEMENT, SUPERVISOR = 5672, 15672, 15680
HTTP_SECONDS = 3.0
WELL_SECONDS = 120.0
KILL_SECONDS = 60.0
LOOK_SECONDS = 0.2
# Beside the engine's socket of the host that has the container.
_KILL = """
import http.client, socket, sys
class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/var/run/docker.sock")
connection = Connection("localhost", timeout=20)
connection.request("POST", f"/containers/{sys.argv[1]}/kill")
sys.exit(connection.getresponse().status >= 300)
"""


class SwarmTarget:
    """The stack that `make up` deployed from this directory. Raises OperationRefused when it is not whole."""

    def __init__(self, say: Callable[[str], None], environ: Mapping[str, str] = os.environ) -> None:
        self._ends = ExitStack()
        self._project = project.find(Path.cwd(), environ)
        self._stack = self._project.stack
        with ExitStack() as unfinished:
            unfinished.callback(self.close)
            self._engine = Engine(environ)
            self._ends.callback(self._engine.close)
            self._inside = self._ends.enter_context(Inside(self._engine, self._stack))
            if not set(BROKERS) <= self._engine.services(self._stack).keys():
                raise OperationRefused(f"stack {self._stack} is not deployed. Type:  make up")
            await_whole(self._inside, say, "before the test", WELL_SECONDS)
            self._host, self._ports = self._open_gate()
            unfinished.pop_all()
        variables = self._project.variables
        self.ttl_seconds = float(variables.get("RMQCLUSTER_TTL_SECONDS", "15"))
        self.settle_seconds = float(variables.get("RMQCLUSTER_SETTLE_SECONDS", "10"))

    def _open_gate(self) -> tuple[str, dict[str, int]]:
        """Where the brokers' ports are found from here: `rabbitmq1:5672` -> port."""
        targets = [f"{name}:{port}" for name in BROKERS for port in (AMQP, MANAGEMENT, SUPERVISOR)]
        inner = [gate.FIRST_PORT + number for number in range(len(targets))]
        argv = ["python3", "-c", Path(gate.__file__).read_text(), *targets]
        container = self._ends.enter_context(
            containers.one_shot(self._engine, self._stack, BROKERS[0], argv=argv, ports=inner)
        )
        outer = containers.published(self._engine, container)
        me = self._engine.my_node()
        address = next(node.address for node in self._engine.nodes() if node.id == me)
        host = address if address not in ("", "0.0.0.0") else "127.0.0.1"
        return host, {target: outer[port] for target, port in zip(targets, inner, strict=True)}

    def nodes(self) -> list[str]:
        return [f"rabbit@{name}" for name in BROKERS]

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint(self._host, self._ports[f"{name}:{AMQP}"]) for name in BROKERS]

    def account(self) -> Account:
        variables = self._project.variables
        return Account(variables.get("MQ_ADMIN_USER", "admin"), variables["MQ_ADMIN_PASS"])

    def kill(self, node_name: str) -> None:
        """SIGKILL of its container; the service then waits without a task, so that the loss can be looked at."""
        service = self._engine.services(self._stack)[_host(node_name)]
        self._kill_container(service)
        self._engine.scale(service, 0)
        deadline = time.monotonic() + KILL_SECONDS
        while any(not one.is_over for one in self._engine.tasks(service.id)):
            assert time.monotonic() < deadline, f"{service.name} was not killed within {KILL_SECONDS:g} s"
            time.sleep(LOOK_SECONDS)

    def _kill_container(self, service: Service) -> None:
        task = next(task for task in self._engine.tasks(service.id) if task.runs)
        if containers.local(self._engine, self._stack, service.name) == task.container:
            self._engine.api.kill(task.container)
            return
        image = self._engine.services(self._stack)[BROKERS[0]].image
        argv = ["python3", "-c", _KILL, task.container]
        said = containers.on_hosts(self._engine, self._stack, image, argv, KILL_SECONDS, [task.node_id])
        assert said[task.node_id].code == 0, f"{service.name} could not be killed: {said[task.node_id].err}"

    def renew_redis(self) -> None:
        """Swarm starts it again."""
        self._kill_container(self._engine.services(self._stack)[REDIS])

    def start(self, node_name: str) -> None:
        self._engine.scale(self._engine.services(self._stack)[_host(node_name)], 1)

    def status(self, asked: str) -> Mapping[str, Any] | None:
        try:
            found = self._get(asked, SUPERVISOR, "/status", {})
        except OSError:
            return None
        return found if isinstance(found, dict) else None

    def queues(self, asked: str) -> list[Mapping[str, Any]]:
        account = self.account()
        token = base64.b64encode(f"{account.user}:{account.password}".encode()).decode()
        path = "/api/queues/%2Ffog?disable_stats=true&enable_queue_totals=true"
        rows = self._get(asked, MANAGEMENT, path, {"Authorization": f"Basic {token}"})
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    def _get(self, asked: str, port: int, path: str, headers: Mapping[str, str]) -> object:
        """Raises OSError without a usable answer."""
        outer = self._ports[f"{_host(asked)}:{port}"]
        connection = http.client.HTTPConnection(self._host, outer, timeout=HTTP_SECONDS)
        try:
            connection.request("GET", path, headers={**headers, "Host": f"{_host(asked)}:{port}"})
            return json.loads(connection.getresponse().read())
        except (http.client.HTTPException, ValueError) as error:
            raise OSError(f"{asked} gave no usable answer: {error}") from error
        finally:
            connection.close()

    def close(self) -> None:
        self._ends.close()


def _host(node_name: str) -> str:
    return node_name.partition("@")[2]
