"""Commands inside the stack: in a container of this host, else in a one-shot container that Swarm starts here.

A one-shot service has the image, environment, secrets and networks of the service that it stands in for, and neither
its data nor its name: from any manager the whole overlay network can be reached, and no secret leaves Swarm.
"""

import struct
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from select import select
from threading import Event
from typing import Any

import docker

from rmqcluster.swarm.engine import Engine, told
from rmqcluster.swarm.facts import (
    ONE_SHOT_LABEL,
    SERVICE_LABEL,
    STACK_LABEL,
    EngineUnavailable,
    Missing,
    Task,
)

START_SECONDS = 90.0
LOOK_SECONDS = 0.5
COMMAND_SECONDS = 60.0  # of one command in a container
CHUNK_BYTES, FRAME_BYTES = 65536, 8
CODE_SECONDS, CODE_LOOK_SECONDS = 3.0, 0.05
LIFE_SECONDS = 3600  # of a one-shot container whose asker has died
UNLIMITED = 1024 * 1024
SOCKET = "/var/run/docker.sock"
ALL_HOSTS = "hosts"  # what such a job stands for
READABLE_LOG = {"type": "json-file"}  # whatever this engine sends its logs to


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str


def local(engine: Engine, stack: str, service: str) -> str | None:
    """The running container of a service on this host; it is found without Swarm's managers."""
    with told():
        found = engine.api.containers(filters={"label": f"{SERVICE_LABEL}={stack}_{service}", "status": "running"})
    return str(found[0]["Id"]) if found else None


def run(engine: Engine, container: str, argv: Sequence[str]) -> Said:
    """A command; its words come when it has ended. Raises EngineUnavailable when that is not in time, or unknown."""
    with told():
        made = str(engine.api.exec_create(container, list(argv))["Id"])
        with _stream(engine, made) as stream:
            said = _read(stream, f"`{argv[0]}` in container {container[:12]}")
    out, err = (text.decode("utf-8", "replace") for text in _apart(said))
    return Said(_exit_code(engine, made, argv[0]), out, err)


@contextmanager
def _stream(engine: Engine, command: str) -> Iterator[Any]:
    """The SDK hands out the raw end of a connection, and keeps the response that would close it beside it."""
    with closing(engine.api.exec_start(command, socket=True)) as stream:
        try:
            yield stream
        finally:
            response = getattr(stream, "_response", None)
            if response is not None:
                response.close()


def _read(stream: Any, what: str) -> bytes:
    """To its end, within the time that a command has: the SDK's own way of reading knows no deadline."""
    deadline, parts = time.monotonic() + COMMAND_SECONDS, list[bytes]()
    while select([stream], [], [], max(0.0, deadline - time.monotonic()))[0]:
        part = stream.read(CHUNK_BYTES)  # as much as there is, and at least what TLS has in its hands
        if not part:
            return b"".join(parts)
        parts.append(part)
    words = f"{what} did not end within {COMMAND_SECONDS:g} s. It may hang: docker ps; make status"
    raise EngineUnavailable(words)


def _apart(said: bytes) -> tuple[bytes, bytes]:
    """Output and error output; Docker's API, "attach to a container": frames of stream, three zeros, length, text."""
    texts, at = {1: b"", 2: b""}, 0
    while at + FRAME_BYTES <= len(said):
        stream, length = struct.unpack_from(">BxxxL", said, at)
        at += FRAME_BYTES
        texts[stream] = texts.get(stream, b"") + said[at : at + length]
        at += length
    return texts[1], texts[2]


def _exit_code(engine: Engine, command: str, name: str) -> int:
    """The engine may write it down a moment after the last words. Unknown is no success."""
    deadline, pacing = time.monotonic() + CODE_SECONDS, Event()
    while True:
        with told():
            found = engine.api.exec_inspect(command)
        if not found.get("Running") and found.get("ExitCode") is not None:
            return int(found["ExitCode"])
        if time.monotonic() > deadline:
            raise EngineUnavailable(f"how `{name}` ended is unknown: its container may have gone. Try again")
        pacing.wait(CODE_LOOK_SECONDS)


def is_running(engine: Engine, container: str) -> bool:
    try:
        with told():
            return bool(engine.api.inspect_container(container)["State"]["Running"])
    except Missing:
        return False


@contextmanager
def one_shot(
    engine: Engine, stack: str, service: str, argv: Sequence[str] = (), ports: Sequence[int] = ()
) -> Iterator[str]:
    """A container on this host in place of that service; it is gone afterwards.

    `argv` is what it does instead of waiting to be told. `ports` are published on this host, each on a free one.
    """
    _clear_leftovers(engine, stack)
    with told():
        spec = engine.api.inspect_service(f"{stack}_{service}")["Spec"]["TaskTemplate"]
        made = engine.api.create_service(
            _visiting(spec, argv, engine.my_node()),
            name=f"{stack}_one-shot-{uuid.uuid4().hex[:8]}",
            labels={STACK_LABEL: stack, ONE_SHOT_LABEL: service},
            mode=docker.types.ServiceMode("replicated", 1),
            endpoint_spec=docker.types.EndpointSpec(mode="dnsrr", ports=_published(ports)),
        )
    try:
        yield _started(engine, str(made["ID"]), service).container
    finally:
        with suppress(Missing):
            engine.remove_service(str(made["ID"]))


def published(engine: Engine, container: str) -> dict[int, int]:
    """Port in the container -> port on this host."""
    with told():
        ports: Mapping[str, Any] = engine.api.inspect_container(container)["NetworkSettings"]["Ports"] or {}
    return {int(name.partition("/")[0]): int(bound[0]["HostPort"]) for name, bound in ports.items() if bound}


def on_hosts(
    engine: Engine, stack: str, image: str, argv: Sequence[str], seconds: float, only: Collection[str] = ()
) -> dict[str, Said]:
    """A command in that image on every host, or on `only` one (node ids), beside the engine's socket, as root.

    Node id -> how it ended. A host that is not ready, or whose task has not ended in time, is not in the answer.
    """
    template = {
        "ContainerSpec": {
            "Image": image,
            "Command": [argv[0]],
            "Args": list(argv[1:]),
            "User": "0",
            "Mounts": [{"Type": "bind", "Source": SOCKET, "Target": SOCKET}],
            "Healthcheck": {"Test": ["NONE"]},
        },
        "RestartPolicy": {"Condition": "none"},
        "Placement": {"Constraints": [f"node.id == {node}" for node in only]},
    }
    name = f"{stack}_one-shot-{uuid.uuid4().hex[:8]}"
    labels = {STACK_LABEL: stack, ONE_SHOT_LABEL: ALL_HOSTS}
    with told():
        made = engine.api.create_service(
            template, name=name, labels=labels, mode=docker.types.ServiceMode("global-job"), endpoint_spec={}
        )
    try:
        ready = {node.id for node in engine.nodes() if node.is_ready and (not only or node.id in only)}
        return _ended(engine, str(made["ID"]), ready, seconds)
    finally:
        with suppress(Missing):
            engine.remove_service(str(made["ID"]))


def _visiting(spec: Mapping[str, Any], argv: Sequence[str], node: str) -> dict[str, Any]:
    container = dict(spec["ContainerSpec"])
    for name in ("Hostname", "Healthcheck", "StopSignal", "StopGracePeriod"):
        container.pop(name, None)
    mounts = [{"Type": "tmpfs", "Target": mount["Target"]} for mount in container.get("Mounts") or ()]
    argv = list(argv) or ["sleep", str(LIFE_SECONDS)]
    container |= {"Command": argv[:1], "Args": argv[1:], "Mounts": mounts, "Healthcheck": {"Test": ["NONE"]}}
    return {
        "ContainerSpec": container,
        "Networks": [{"Target": network["Target"]} for network in spec.get("Networks") or ()],
        "Placement": {"Constraints": [f"node.id == {node}"]},
        "RestartPolicy": {"Condition": "none"},
        "LogDriver": spec.get("LogDriver"),
    }


def _published(ports: Sequence[int]) -> list[dict[str, object]]:
    """On a port that the engine chooses."""
    return [{"Protocol": "tcp", "TargetPort": port, "PublishMode": "host"} for port in ports]


def _started(engine: Engine, service_id: str, stands_for: str) -> Task:
    task = _await(engine, service_id, START_SECONDS)
    if task is None or not task.runs:
        words = task.words if task is not None else f"Swarm did not start it within {START_SECONDS:g} s"
        raise EngineUnavailable(
            f"the stack cannot be reached from this host: a one-shot container in place of {stands_for} does not run "
            f"here ({words})"
        )
    return task


def _await(engine: Engine, service_id: str, seconds: float) -> Task | None:
    deadline, pacing = time.monotonic() + seconds, Event()
    while time.monotonic() < deadline:
        for task in engine.tasks(service_id):
            if task.runs or task.is_over:
                return task
        pacing.wait(LOOK_SECONDS)
    return None


def _ended(engine: Engine, service_id: str, nodes: set[str], seconds: float) -> dict[str, Said]:
    deadline, pacing = time.monotonic() + seconds, Event()
    while True:
        tasks = {task.node_id: task for task in engine.tasks(service_id) if task.node_id in nodes}
        over = {node: task for node, task in tasks.items() if task.is_over}
        if nodes <= over.keys() or time.monotonic() > deadline:
            return {node: Said(int(task.state != "complete"), "", task.words) for node, task in over.items()}
        pacing.wait(LOOK_SECONDS)


def _clear_leftovers(engine: Engine, stack: str) -> None:
    """Of askers that were killed: their containers ended by themselves. Jobs stay: somebody may look how one ended."""
    for service_id, stands_for in one_shots(engine, stack).items():
        tasks = engine.tasks(service_id) if stands_for != ALL_HOSTS else ()
        if tasks and all(task.is_over for task in tasks):
            with suppress(Missing):
                engine.remove_service(service_id)


def one_shots(engine: Engine, stack: str) -> dict[str, str]:
    """The one-shot services that are there, of whoever asks: id -> what each stands for."""
    with told():
        found = engine.api.services(filters={"label": [f"{STACK_LABEL}={stack}", ONE_SHOT_LABEL]})
    return {str(one["ID"]): str(one["Spec"]["Labels"].get(ONE_SHOT_LABEL)) for one in found}


def open_files_limit(engine: Engine, image: str) -> int:
    """How many open files the engine of this host lets a container have at the most."""
    with told():
        asked = engine.client.containers.run(
            image, ["-c", "ulimit -Hn"], entrypoint="sh", network_mode="none", log_config=READABLE_LOG, detach=True
        )
        try:
            asked.wait(timeout=COMMAND_SECONDS)
            text = bytes(asked.logs()).decode("utf-8", "replace").strip()
        finally:
            asked.remove(v=True, force=True)  # with the volume that the image declares
    return int(text) if text.isdigit() else UNLIMITED
