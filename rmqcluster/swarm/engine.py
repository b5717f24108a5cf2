"""Docker's API, as a manager of the Swarm sees nodes, services and tasks. Only data of ours comes out.

`docker stack deploy` is the one thing that the API does not have: it is run as a program, and what it prints is shown
when it fails, never read.
"""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import docker
from docker.errors import APIError, DockerException, NotFound
from requests.exceptions import ReadTimeout
from urllib3.exceptions import HTTPError

from rmqcluster.errors import CommandFailed, ConfigurationError
from rmqcluster.swarm.facts import (
    ONE_SHOT_LABEL,
    STACK_LABEL,
    EngineUnavailable,
    Image,
    InUse,
    Missing,
    Node,
    Service,
    Task,
)

ANSWER_SECONDS = 30
LOG_SECONDS = 10.0
LOST_LOG = b"Error grabbing logs: "  # what an engine puts into the log for each host that does not give its part
DEPLOY_SECONDS = 120.0
PROGRAM = "docker"
USUAL_HOST = "unix:///var/run/docker.sock"  # of the SDK


class Engine:
    """The engine of this host. Every method raises EngineUnavailable; those on the Swarm want a manager."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        with told():
            self.client = docker.DockerClient.from_env(timeout=ANSWER_SECONDS, environment=dict(environment))
            self.api = self.client.api

    def close(self) -> None:
        self.client.close()

    def program(self) -> str:
        """The command-line client. Raises ConfigurationError."""
        found = shutil.which(PROGRAM, path=self.environment.get("PATH"))
        if found is None:
            raise ConfigurationError("the program `docker` is not on PATH. Install it (Debian: docker.io)")
        return found

    def program_environment(self) -> dict[str, str]:
        """For the program, which would follow its current context to another engine than the one that is asked here."""
        return {**self.environment, "DOCKER_HOST": self.environment.get("DOCKER_HOST") or USUAL_HOST}

    # The Swarm

    def swarm_trouble(self) -> str:
        """Why no stack can be deployed from here, with what mends it; "" when one can."""
        with told():
            swarm = self.client.info().get("Swarm", {})
        if swarm.get("LocalNodeState") != "active":
            return "this engine is in no Swarm. Type:  docker swarm init"
        if not swarm.get("ControlAvailable"):
            return "this host is a worker of its Swarm. Run make on a manager, or type there: docker node promote"
        return ""

    def my_node(self) -> str:
        with told():
            return str(self.client.info()["Swarm"]["NodeID"])

    def nodes(self) -> tuple[Node, ...]:
        with told():
            return tuple(sorted((_node(one) for one in self.api.nodes()), key=lambda node: node.name))

    def services(self, stack: str) -> dict[str, Service]:
        """By their name without the stack's; one-shot services are not among them."""
        with told():
            found = self.api.services(filters={"label": f"{STACK_LABEL}={stack}"})
        services = (_service(one, stack) for one in found)
        return {one.name: one for one in services if ONE_SHOT_LABEL not in one.labels}

    def tasks(self, service_id: str) -> tuple[Task, ...]:
        """The newest first."""
        with told():
            found = self.api.tasks(filters={"service": service_id})
        return tuple(sorted(map(_task, found), key=lambda task: task.since, reverse=True))

    def tasks_left(self, stack: str) -> tuple[Task, ...]:
        """Those whose containers have not ended for all that Swarm knows, also of services that were removed."""
        with told():
            found = self.api.tasks(filters={"label": f"{STACK_LABEL}={stack}"})
        return tuple(task for task in map(_task, found) if task.container and not task.is_over)

    def logs(self, service_id: str, lines: int) -> list[str]:
        """What comes in time: while a task waits for a host that is down, the engine never ends its answer."""
        chunks: list[bytes] = []
        trouble: list[EngineUnavailable] = []
        with told():
            found = self.api.service_logs(service_id, stdout=True, stderr=True, tail=lines, timestamps=False)

        def read() -> None:
            try:
                with told():
                    for chunk in found:
                        chunks.append(chunk)
            except EngineUnavailable as error:
                trouble.append(error)

        reader = threading.Thread(target=read, name="logs", daemon=True)
        reader.start()
        reader.join(LOG_SECONDS)
        if trouble:
            raise trouble[0]
        lost = [chunk for chunk in chunks if chunk.startswith(LOST_LOG)]
        if lost and len(lost) == len(chunks):
            raise EngineUnavailable(lost[0].rpartition(b"reasons: ")[2].decode("utf-8", "replace").strip())
        if reader.is_alive() and not chunks:
            raise EngineUnavailable(f"no host gave it within {LOG_SECONDS:g} s. Is one down? (docker node ls)")
        return b"".join(chunks).decode("utf-8", "replace").splitlines()[-lines:]

    def follow(self, service_id: str, lines: int) -> Iterator[str]:
        """Lines as they come, for ever. An engine that goes away ends it."""
        with told():
            found = self.api.service_logs(service_id, stdout=True, stderr=True, tail=lines, follow=True)
            for chunk in found:
                yield from chunk.decode("utf-8", "replace").splitlines()

    # Secrets, configs, images

    def secrets(self, stack: str) -> dict[str, str]:
        """Name -> id of those that were made for this stack."""
        with told():
            found = self.api.secrets(filters={"label": f"{STACK_LABEL}={stack}"})
        return {str(one["Spec"]["Name"]): str(one["ID"]) for one in found}

    def make_secret(self, stack: str, name: str, value: str) -> None:
        with told():
            self.api.create_secret(name, value.encode(), labels={STACK_LABEL: stack})

    def configs(self, stack: str) -> dict[str, str]:
        with told():
            found = self.api.configs(filters={"label": f"{STACK_LABEL}={stack}"})
        return {str(one["Spec"]["Name"]): str(one["ID"]) for one in found}

    def remove_secrets(self, ids: Sequence[str]) -> None:
        """Those that a service still uses stay."""
        _remove_unused(self.api.remove_secret, ids)

    def remove_configs(self, ids: Sequence[str]) -> None:
        """Those that a service still uses stay."""
        _remove_unused(self.api.remove_config, ids)

    def networks(self, stack: str) -> list[str]:
        with told():
            return [str(one["Id"]) for one in self.api.networks(filters={"label": f"{STACK_LABEL}={stack}"})]

    def remove_network(self, network: str) -> None:
        with told():
            self.api.remove_network(network)

    def image(self, name: str) -> Image | None:
        """None: this host does not have it."""
        try:
            with told():
                found = self.api.inspect_image(name)
        except Missing:
            return None
        return Image(str(found["Id"]), tuple(found.get("RepoDigests") or ()))

    # Acts

    def deploy(self, stack: str, text: str, directory: str) -> None:
        """`docker stack deploy` with this file; files that it names are found in `directory`.

        The other hosts pull with the login that this one has at the registry, if it has any.
        """
        argv = [self.program(), "stack", "deploy", "--resolve-image", "never", "--with-registry-auth", "-c", "-", stack]
        try:
            done = subprocess.run(
                argv,
                input=text,
                text=True,
                capture_output=True,
                cwd=directory,
                env=self.program_environment(),
                timeout=DEPLOY_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            words = f"docker stack deploy did not end in {DEPLOY_SECONDS:g} s; what it did is unknown. Try again"
            raise CommandFailed(words, exit_status=None, timed_out=True) from error
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise CommandFailed(f"docker stack deploy failed: {said}", exit_status=done.returncode)

    def force(self, service: Service) -> None:
        """Start the service's task anew, by its own update rules."""
        with told():
            spec = self.api.inspect_service(service.id)["Spec"]
            template = {**spec["TaskTemplate"], "ForceUpdate": int(spec["TaskTemplate"].get("ForceUpdate", 0)) + 1}
            self.api.update_service(service.id, service.version, template, fetch_current_spec=True)

    def scale(self, service: Service, replicas: int) -> None:
        with told():
            mode = docker.types.ServiceMode("replicated", replicas)
            version = int(self.api.inspect_service(service.id)["Version"]["Index"])
            self.api.update_service(service.id, version, mode=mode, fetch_current_spec=True)

    def remove_service(self, service_id: str) -> None:
        with told():
            self.api.remove_service(service_id)


@contextmanager
def told() -> Iterator[None]:
    """The errors of the SDK, and of the libraries whose errors it lets through, in words of ours."""
    try:
        yield
    except NotFound as error:
        raise Missing(f"Docker does not know it: {error.explanation}") from error
    except APIError as error:
        words = str(error.explanation or error)
        used = "in use" in words or "active endpoints" in words
        raise (InUse if used else EngineUnavailable)(f"Docker refused: {words}") from error
    except ReadTimeout as error:
        words = f"Docker did not answer within {ANSWER_SECONDS} s: it is busy, or what it was to ask hangs"
        raise EngineUnavailable(f"{words}. See: docker ps; journalctl -u docker") from error
    except (DockerException, OSError, HTTPError) as error:
        raise EngineUnavailable(f"no Docker engine answers: {error}. Start it, or set DOCKER_HOST") from error


def _remove_unused(remove: Any, ids: Sequence[str]) -> None:
    for one in ids:
        try:
            with told():
                remove(one)
        except (InUse, Missing):
            continue


def _node(found: Mapping[str, Any]) -> Node:
    spec, about = found["Spec"], found.get("Description", {})
    return Node(
        id=str(found["ID"]),
        name=str(about.get("Hostname", found["ID"])),
        is_manager=spec.get("Role") == "manager",
        state=str(found.get("Status", {}).get("State", "unknown")),
        takes_tasks=spec.get("Availability") == "active",
        address=str(found.get("Status", {}).get("Addr", "")),
        labels=dict(spec.get("Labels") or {}),
    )


def _service(found: Mapping[str, Any], stack: str) -> Service:
    spec, update = found["Spec"], found.get("UpdateStatus") or {}
    template = dict(spec["TaskTemplate"])
    placement = template.pop("Placement", None) or {}
    ports = spec.get("EndpointSpec", {}).get("Ports") or ()
    return Service(
        id=str(found["ID"]),
        name=str(spec["Name"]).removeprefix(f"{stack}_"),
        image=str(template["ContainerSpec"]["Image"]),
        version=int(found["Version"]["Index"]),
        labels=dict(spec.get("Labels") or {}),
        update=str(update.get("State", "")),
        update_words=str(update.get("Message", "")),
        template=json.dumps(template, sort_keys=True),
        constraints=tuple(placement.get("Constraints") or ()),
        ports={int(one["TargetPort"]): int(one["PublishedPort"]) for one in ports if one.get("PublishedPort")},
        replicas=int(spec.get("Mode", {}).get("Replicated", {}).get("Replicas", 1)),
    )


def _task(found: Mapping[str, Any]) -> Task:
    status = found.get("Status", {})
    return Task(
        id=str(found["ID"]),
        node_id=str(found.get("NodeID", "")),
        wanted=str(found.get("DesiredState", "")),
        state=str(status.get("State", "")),
        words=str(status.get("Err") or status.get("Message") or ""),
        container=str((status.get("ContainerStatus") or {}).get("ContainerID", "")),
        since=str(found.get("CreatedAt", "")),
    )
