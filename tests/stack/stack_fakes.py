"""Swarm as far as rolling and waiting see it: services with tasks, in memory; time passes as a test says."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ruamel.yaml import YAML

from rmqcluster.swarm.containers import Said
from rmqcluster.swarm.facts import EngineUnavailable, Image, Node, Service, Task

STACK = "fog"
MANAGERS = ("manager1", "manager2", "manager3")


def node(name: str, **changes: Any) -> Node:
    """A ready manager without labels."""
    return replace(Node(f"id-{name}", name, True, "ready", True, "10.0.0.1"), **changes)


def service(name: str, **changes: Any) -> Service:
    made = Service(f"id-{name}", name, "image", 1, {}, update="", update_words="", template="{}", constraints=())
    return replace(made, **changes)


def task(key: str, **changes: Any) -> Task:
    """A task that runs on the first manager."""
    made = Task(key, "id-manager1", "running", "running", "started", f"container of {key}", "2026-01-01T00:00:00Z")
    return replace(made, **changes)


@dataclass
class FakeEngine:
    """`looks` are done one at a time, before each reading of the services: that is how time passes."""

    there: dict[str, Service] = field(default_factory=dict)
    running: dict[str, list[Task]] = field(default_factory=dict)  # by service, the newest first
    looks: list[Callable[[], object]] = field(default_factory=list)
    hosts: tuple[Node, ...] = tuple(map(node, MANAGERS))
    lines: list[str] = field(default_factory=list)
    deployed: list[str] = field(default_factory=list)

    def start(self, name: str, *tasks: Task, **changes: Any) -> None:
        """A service with these tasks; one that runs when none is given."""
        self.there[name] = service(name, **changes)
        self.running[name] = list(tasks or (task(f"{name}.1"),))

    def renew(self, name: str) -> None:
        """What Swarm does when the description has changed: another task from another template."""
        old = self.there[name]
        self.there[name] = replace(old, version=old.version + 1, template=f'{{"version": {old.version + 1}}}')
        self.running[name].insert(0, task(f"{name}.{old.version + 1}"))

    def relabel(self, name: str) -> None:
        """A change that starts no task."""
        self.there[name] = replace(self.there[name], version=self.there[name].version + 1)

    def deploy(self, stack: str, text: str, directory: str) -> None:
        """As `docker stack deploy` does: what is new is started, and what is named is replaced."""
        for name in sorted(YAML(typ="safe", pure=True).load(text)["services"]):
            self.deployed.append(name)
            if name in self.there:
                self.renew(name)
            else:
                self.start(name)

    def nodes(self) -> tuple[Node, ...]:
        return self.hosts

    def services(self, stack: str) -> dict[str, Service]:
        assert stack == STACK
        if self.looks:
            self.looks.pop(0)()
        return dict(self.there)

    def tasks(self, service_id: str) -> tuple[Task, ...]:
        return tuple(self.running.get(service_id.removeprefix("id-"), ()))

    def logs(self, service_id: str, lines: int) -> list[str]:
        return self.lines[-lines:]

    def my_node(self) -> str:
        return self.hosts[0].id

    def secrets(self, stack: str) -> dict[str, str]:
        return {}

    def configs(self, stack: str) -> dict[str, str]:
        return {}

    def make_secret(self, stack: str, name: str, value: str) -> None:
        return

    def remove_secrets(self, ids: Iterable[str]) -> None:
        return

    def remove_configs(self, ids: Iterable[str]) -> None:
        return

    def image(self, name: str) -> Image | None:
        return None


WHOLE = Said(0, "3 members", "")


@dataclass
class FakeInside:
    """A cluster that is whole, unless told otherwise."""

    engine: FakeEngine
    told: dict[str, Any] | None = None
    answers: list[Said | EngineUnavailable] = field(default_factory=list)  # to `wait --whole`; afterwards it is whole
    asked: list[tuple[str, ...]] = field(default_factory=list)

    logged_in: Said = field(default_factory=lambda: Said(0, "1", ""))  # what PostgreSQL says to a visitor

    def status(self) -> dict[str, Any] | None:
        return self.told

    def run(self, service: str, argv: Sequence[str]) -> Said:
        return self.logged_in

    def rmqcluster(self, *arguments: str) -> Said:
        self.asked.append(arguments)
        answer = self.answers.pop(0) if self.answers else WHOLE
        if isinstance(answer, EngineUnavailable):
            raise answer
        return answer
