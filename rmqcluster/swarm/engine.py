"""Docker's API. What comes out of this module is data of ours; nobody else holds an object of the SDK.

`docker stack deploy` is the one thing that the API does not have: it is run as a program, and what it prints is shown,
never read.
"""

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from docker.errors import APIError, DockerException, NotFound
from requests.exceptions import RequestException

import docker
from rmqcluster.errors import CommandFailed, ConfigurationError, ExitCode, RmqclusterError

ANSWER_SECONDS = 30
DEPLOY_SECONDS = 120.0
STACK_LABEL = "com.docker.stack.namespace"
PROGRAM = "docker"


class EngineUnavailable(RmqclusterError):
    """The engine did not give a usable answer."""

    exit_code = ExitCode.UNREACHABLE


class Missing(EngineUnavailable):
    """The engine knows nothing of that name."""


class InUse(EngineUnavailable):
    """A service still uses it."""


@dataclass(frozen=True, slots=True)
class Node:
    id: str
    name: str
    is_manager: bool
    is_ready: bool
    address: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Service:
    id: str
    name: str  # without the stack's
    image: str
    version: int
    labels: Mapping[str, str]
    update: str  # Swarm's word for the last update: completed, paused, updating, …; "" when there was none
    update_words: str


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


class Engine:
    """One manager of the Swarm. All methods raise EngineUnavailable."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        with _told():
            self._client = docker.DockerClient.from_env(timeout=ANSWER_SECONDS, environment=dict(environment))
            self._api = self._client.api

    def close(self) -> None:
        self._client.close()

    # Swarm

    def swarm_trouble(self) -> str:
        """Why no stack can be deployed from here, with what mends it; "" when one can."""
        with _told():
            swarm = self._client.info().get("Swarm", {})
        if swarm.get("LocalNodeState") != "active":
            return "this engine is in no Swarm. Type:  docker swarm init"
        if not swarm.get("ControlAvailable"):
            return "this host is a worker of its Swarm. Run make on a manager, or promote it there"
        return ""

    def my_node(self) -> str:
        with _told():
            return str(self._client.info()["Swarm"]["NodeID"])

    def nodes(self) -> tuple[Node, ...]:
        with _told():
            return tuple(sorted((_node(one) for one in self._api.nodes()), key=lambda node: node.name))

    def services(self, stack: str) -> dict[str, Service]:
        with _told():
            found = self._api.services(filters={"label": f"{STACK_LABEL}={stack}"})
        services = (_service(one, stack) for one in found)
        return {one.name: one for one in services}

    def tasks(self, service: Service) -> tuple[Task, ...]:
        """The newest first."""
        with _told():
            found = self._api.tasks(filters={"service": service.id})
        return tuple(sorted(map(_task, found), key=lambda task: task.since, reverse=True))

    def logs(self, service: Service, lines: int) -> list[str]:
        with _told():
            found = self._api.service_logs(service.id, stdout=True, stderr=True, tail=lines, timestamps=False)
            text = b"".join(found).decode("utf-8", "replace")
        return text.splitlines()[-lines:]

    # Secrets, configs, images

    def secrets(self, stack: str) -> dict[str, str]:
        """Name -> id of those that were made for this stack."""
        with _told():
            found = self._api.secrets(filters={"label": f"{STACK_LABEL}={stack}"})
        return {str(one["Spec"]["Name"]): str(one["ID"]) for one in found}

    def make_secret(self, stack: str, name: str, value: str) -> None:
        with _told():
            self._api.create_secret(name, value.encode(), labels={STACK_LABEL: stack})

    def configs(self, stack: str) -> dict[str, str]:
        with _told():
            found = self._api.configs(filters={"label": f"{STACK_LABEL}={stack}"})
        return {str(one["Spec"]["Name"]): str(one["ID"]) for one in found}

    def remove_unused(self, kind: str, ids: Sequence[str]) -> None:
        """Secrets or configs; those that a service still uses stay."""
        remove = self._api.remove_secret if kind == "secret" else self._api.remove_config
        for one in ids:
            try:
                with _told():
                    remove(one)
            except InUse:
                continue

    def has_image(self, name: str) -> bool:
        try:
            with _told():
                self._api.inspect_image(name)
        except Missing:
            return False
        return True

    # Acts

    def deploy(self, stack: str, text: str, directory: str) -> None:
        """`docker stack deploy` with this file; files that it names are found in `directory`."""
        program = shutil.which(PROGRAM, path=self._environment.get("PATH"))
        if program is None:
            raise ConfigurationError("the program `docker` is not on PATH; it deploys the stack. Install it")
        argv = [program, "stack", "deploy", "--resolve-image", "never", "-c", "-", stack]
        try:
            done = subprocess.run(
                argv, input=text, text=True, capture_output=True, cwd=directory, timeout=DEPLOY_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(
                f"docker stack deploy did not end in {DEPLOY_SECONDS:g} s", exit_status=None, timed_out=True
            ) from error
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise CommandFailed(f"docker stack deploy failed: {said}", exit_status=done.returncode)

    def force(self, service: Service) -> None:
        """Start the service's task anew, by its own update rules."""
        with _told():
            spec = self._api.inspect_service(service.id)["Spec"]
            template = {**spec["TaskTemplate"], "ForceUpdate": int(spec["TaskTemplate"].get("ForceUpdate", 0)) + 1}
            self._api.update_service(service.id, service.version, template, fetch_current_spec=True)

    def remove(self, service: Service) -> None:
        with _told():
            self._api.remove_service(service.id)

    # Containers on this host

    def run_in(self, container: str, argv: Sequence[str], user: str = "") -> tuple[int, str]:
        """Exit code and output of a command in a running container of this host."""
        with _told():
            made = self._api.exec_create(container, list(argv), user=user)
            said = self._api.exec_start(made["Id"])
            code = self._api.exec_inspect(made["Id"])["ExitCode"]
        return int(code or 0), bytes(said).decode("utf-8", "replace")


@contextmanager
def _told() -> Iterator[None]:
    """The SDK's errors in words of ours."""
    try:
        yield
    except NotFound as error:
        raise Missing(f"Docker does not know it: {error.explanation}") from error
    except APIError as error:
        used = error.explanation and "in use" in str(error.explanation)
        raise (InUse if used else EngineUnavailable)(f"Docker refused: {error.explanation}") from error
    except (DockerException, RequestException) as error:
        raise EngineUnavailable(f"no Docker engine answers: {error}. Start it, or set DOCKER_HOST") from error


def _node(found: Mapping[str, Any]) -> Node:
    spec, about = found["Spec"], found.get("Description", {})
    return Node(
        id=str(found["ID"]),
        name=str(about.get("Hostname", found["ID"])),
        is_manager=spec.get("Role") == "manager",
        is_ready=found.get("Status", {}).get("State") == "ready" and spec.get("Availability") == "active",
        address=str(found.get("Status", {}).get("Addr", "")),
        labels=dict(spec.get("Labels") or {}),
    )


def _service(found: Mapping[str, Any], stack: str) -> Service:
    spec, update = found["Spec"], found.get("UpdateStatus") or {}
    return Service(
        id=str(found["ID"]),
        name=str(spec["Name"]).removeprefix(f"{stack}_"),
        image=str(spec["TaskTemplate"]["ContainerSpec"]["Image"]),
        version=int(found["Version"]["Index"]),
        labels=dict(spec.get("Labels") or {}),
        update=str(update.get("State", "")),
        update_words=str(update.get("Message", "")),
    )


def _task(found: Mapping[str, Any]) -> Task:
    status = found.get("Status", {})
    return Task(
        id=str(found["ID"]),
        node_id=str(found.get("NodeID", "")),
        wanted=str(found.get("DesiredState", "")),
        state=str(status.get("State", "")),
        words=str(status.get("Err") or status.get("Message") or ""),
        container=str(status.get("ContainerStatus", {}).get("ContainerID", "")),
        since=str(found.get("CreatedAt", "")),
    )
