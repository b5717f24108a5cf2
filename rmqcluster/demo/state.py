"""The demo's own record: which nodes, ports and processes belong to it. Written whole, without any secret."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rmqcluster.broker.atomic import write_file
from rmqcluster.demo import layout
from rmqcluster.demo.errors import DemoRefused, DemoUsage
from rmqcluster.process.procfs import ProcessId

FORMAT = 1
HOST = "127.0.0.1"
MARKER = "RABBITMQ_DEMO"  # the broker's tools pass variables that begin with RABBITMQ_ on, and no others of ours
SECRETS = ("cookie", "redis", "admin", "worker")
ADMIN_USER = "admin"
PREFIX = "rabbitmq"


@dataclass(frozen=True, slots=True)
class NodeState:
    """One member: its name, its ports, and the supervisor that was started last."""

    number: int
    amqp_port: int
    management_port: int
    dist_port: int
    http_port: int
    supervisor: ProcessId | None = None

    @property
    def name(self) -> str:
        return f"rmq{self.number}@localhost"

    @property
    def is_up(self) -> bool:
        return self.supervisor is not None and self.supervisor.is_alive()


@dataclass(frozen=True, slots=True)
class ServiceState:
    """Redis or epmd."""

    port: int
    process: ProcessId | None = None

    @property
    def is_up(self) -> bool:
        return self.process is not None and self.process.is_alive()


@dataclass(frozen=True, slots=True)
class DemoState:
    """Everything about one demo. `settings` are given to every supervisor and client on top of the rest."""

    id: str
    directory: Path
    size: int
    nodes: tuple[NodeState, ...]
    redis: ServiceState
    epmd: ServiceState
    settings: Mapping[str, str] = field(default_factory=dict)

    def node(self, number: int) -> NodeState:
        """Raises DemoUsage when there is no such node."""
        for node in self.nodes:
            if node.number == number:
                return node
        numbers = ", ".join(str(node.number) for node in self.nodes)
        raise DemoUsage(f"this demo has no node {number}; it has {numbers}")

    def with_node(self, changed: NodeState) -> "DemoState":
        return replace(self, nodes=tuple(changed if node.number == changed.number else node for node in self.nodes))

    def secret_file(self, name: str) -> Path:
        return self.directory / "secrets" / name

    def node_directory(self, number: int) -> Path:
        return self.directory / f"node{number}"

    def log_file(self, number: int) -> Path:
        return self.node_directory(number) / "log" / "supervisor.log"

    def marker(self, what: str = "") -> str:
        """Begins the environment entry of every process of `what` (`node2`, `redis`), or of the whole demo."""
        return f"{MARKER}={self.id}-{what}" + ("." if what else "")


def save(state: DemoState) -> None:
    record = {
        "format": FORMAT,
        "id": state.id,
        "directory": str(state.directory),
        "size": state.size,
        "settings": dict(state.settings),
        "redis": _service_record(state.redis),
        "epmd": _service_record(state.epmd),
        "nodes": [
            {
                "number": node.number,
                "name": node.name,
                "amqp_port": node.amqp_port,
                "management_port": node.management_port,
                "dist_port": node.dist_port,
                "http_port": node.http_port,
                "supervisor": _process_record(node.supervisor),
            }
            for node in state.nodes
        ],
    }
    write_file(state.directory / layout.STATE_FILE, json.dumps(record, indent=1).encode() + b"\n", mode=0o644)


def load(directory: Path) -> DemoState:
    """The demo of this directory. Raises DemoRefused when there is none, or its record makes no sense."""
    path = directory / layout.STATE_FILE
    try:
        record: Any = json.loads(path.read_bytes())
        return _parse(record)
    except FileNotFoundError:
        raise DemoRefused(f"there is no demo in {directory.absolute()}. Type: make demo") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DemoRefused(
            f"{path.absolute()} cannot be understood ({error!r}): end what runs, remove the directory"
        ) from error


def client_environment(directory: Path | None = None) -> dict[str, str]:
    """The settings with which a command speaks to the demo; secrets by file. Raises DemoRefused without a demo.

    `directory` None means the one of `layout.default_directory`.
    """
    state = load(directory or layout.default_directory())
    return {**common_environment(state), "RABBITMQ_NODENAME": state.nodes[0].name}


def common_environment(state: DemoState) -> dict[str, str]:
    """What members and clients are given alike."""
    return {
        "REDIS_HOST": HOST,
        "REDIS_PORT": str(state.redis.port),
        "REDIS_PASS_FILE": str(state.secret_file("redis")),
        "RABBITMQ_ERLANG_COOKIE_FILE": str(state.secret_file("cookie")),
        "RMQCLUSTER_SIZE": str(state.size),
        "RMQCLUSTER_PREFIX": PREFIX,
        **state.settings,
    }


def _process_record(process: ProcessId | None) -> dict[str, int] | None:
    return None if process is None else {"pid": process.pid, "start_ticks": process.start_ticks}


def _service_record(service: ServiceState) -> dict[str, object]:
    return {"port": service.port, "process": _process_record(service.process)}


def _parse(record: Any) -> DemoState:
    if record["format"] != FORMAT:
        raise ValueError(f"format {record['format']!r}, this version reads {FORMAT}")
    return DemoState(
        id=str(record["id"]),
        directory=Path(record["directory"]),
        size=int(record["size"]),
        settings={str(name): str(value) for name, value in record["settings"].items()},
        redis=_parse_service(record["redis"]),
        epmd=_parse_service(record["epmd"]),
        nodes=tuple(
            NodeState(
                number=int(node["number"]),
                amqp_port=int(node["amqp_port"]),
                management_port=int(node["management_port"]),
                dist_port=int(node["dist_port"]),
                http_port=int(node["http_port"]),
                supervisor=_parse_process(node["supervisor"]),
            )
            for node in record["nodes"]
        ),
    )


def _parse_service(record: Any) -> ServiceState:
    return ServiceState(port=int(record["port"]), process=_parse_process(record["process"]))


def _parse_process(record: Any) -> ProcessId | None:
    return None if record is None else ProcessId(int(record["pid"]), int(record["start_ticks"]))
