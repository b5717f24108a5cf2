"""What Docker says, as data: nodes, services, tasks, images; and how it can fail to say it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rmqcluster.errors import ExitCode, RmqclusterError

STACK_LABEL = "com.docker.stack.namespace"  # by docker stack deploy
SERVICE_LABEL = "com.docker.swarm.service.name"  # by Swarm, on containers
ROLE_LABEL = "rmqcluster.role"  # in compose.yml
ONE_SHOT_LABEL = "rmqcluster.one-shot"
BROKER_ROLE = "broker"


class EngineUnavailable(RmqclusterError):
    """The engine did not give a usable answer."""

    exit_code = ExitCode.UNREACHABLE


class Missing(EngineUnavailable):
    """The engine knows nothing of that name."""


class InUse(EngineUnavailable):
    """Something still uses it."""


@dataclass(frozen=True, slots=True)
class Node:
    id: str
    name: str
    is_manager: bool
    state: str  # Swarm's word: ready, down, unknown, disconnected
    takes_tasks: bool  # neither drained nor paused
    address: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_up(self) -> bool:
        return self.state == "ready"

    @property
    def is_ready(self) -> bool:
        return self.is_up and self.takes_tasks


@dataclass(frozen=True, slots=True)
class Service:
    id: str
    name: str  # without the stack's
    image: str
    version: int
    labels: Mapping[str, str]
    update: str  # Swarm's word for the last update: completed, paused, updating, …; "" when there was none
    update_words: str
    template: str  # its tasks' description, placement apart: a task made from another one is replaced
    constraints: tuple[str, ...] = ()
    ports: Mapping[int, int] = field(default_factory=dict)  # in the container -> on its host
    replicas: int = 1


@dataclass(frozen=True, slots=True)
class Task:
    """One container that Swarm wants or wanted; `container` is empty until it was made."""

    id: str
    node_id: str
    wanted: str
    state: str
    words: str
    container: str
    since: str

    @property
    def runs(self) -> bool:
        return self.wanted == "running" and self.state == "running"

    @property
    def is_over(self) -> bool:
        return self.state in ("complete", "failed", "rejected", "shutdown", "orphaned", "remove")

    @property
    def has_failed(self) -> bool:
        return self.state in ("failed", "rejected", "orphaned")


@dataclass(frozen=True, slots=True)
class Image:
    """`digests` are the names under which a registry has it: `name@sha256:…`."""

    id: str
    digests: tuple[str, ...] = ()
