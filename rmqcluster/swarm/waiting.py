"""Waiting for services to run, with progress in words; with the task's error and its last lines when they do not."""

import time
from collections.abc import Callable, Collection, Mapping
from threading import Event

from rmqcluster.errors import ExitCode, RmqclusterError
from rmqcluster.swarm.engine import Engine
from rmqcluster.swarm.facts import EngineUnavailable, Service, Task

LOOK_SECONDS = 1.0
FAILURES_MAX = 3  # tasks of one service that ended by themselves, until nobody waits any longer
LOG_LINES = 15
Say = Callable[[str], None]


class NotRunning(RmqclusterError):
    """A service did not get to run in time."""

    exit_code = ExitCode.UNREACHABLE


MENDS = {
    "No such image": "that host has not loaded the image (docker save IMAGE | ssh HOST docker load), or may not "
    "pull it (docker login; docker service update --with-registry-auth SERVICE)",
    "no suitable node": "no host fulfils its placement, has its port free and memory left: docker node ls",
    "host-mode port already in use": "another container has its console port on that host: see .env, …_CONSOLE_PORT",
    "rlimit": "the engine's own limit of open files is lower: set BROKER_NOFILE in .env to what it allows",
}


def await_running(
    engine: Engine,
    stack: str,
    names: Collection[str],
    seconds: float,
    say: Say,
    old_tasks: Mapping[str, str] | None = None,
) -> None:
    """Until each service has a running task, other than the one in `old_tasks`. Raises NotRunning.

    A task runs when its health check has been green once.
    """
    deadline, pacing = time.monotonic() + seconds, Event()
    watch = _Watch(engine, stack, names, say, old_tasks or {})
    while waiting := watch.look():
        if time.monotonic() > deadline:
            raise NotRunning(watch.trouble(waiting[0], seconds))
        pacing.wait(LOOK_SECONDS)


class _Watch:
    """Looks at some services again and again, and tells what is new."""

    def __init__(
        self, engine: Engine, stack: str, names: Collection[str], say: Say, old_tasks: Mapping[str, str]
    ) -> None:
        self._engine, self._stack, self._names, self._say, self._old = engine, stack, names, say, old_tasks
        self._hosts = {node.id: node.name for node in engine.nodes()}
        self._told: dict[str, str] = {}
        self._failed_before: dict[str, set[str]] = {}

    def look(self) -> list[str]:
        """Who is still waited for. Raises NotRunning for a service that fails again and again."""
        try:
            services = self._engine.services(self._stack)
            return [name for name in self._names if not self._runs(name, services.get(name))]
        except EngineUnavailable as error:  # Swarm's managers may elect; the deadline holds
            self._tell("Swarm", str(error))
            return list(self._names)

    def trouble(self, name: str, seconds: float) -> str:
        service = self._engine.services(self._stack).get(name)
        if service is None:
            return f"{name} is not deployed. Type:  make up"
        tasks = self._engine.tasks(service.id)
        words = explain(self._engine, self._stack, service, tasks[0] if tasks else None, self._hosts)
        return f"not within {seconds:g} s: {words}"

    def _runs(self, name: str, service: Service | None) -> bool:
        tasks = self._engine.tasks(service.id) if service is not None else ()
        newest = tasks[0] if tasks else None
        self._tell(name, in_words(newest, self._hosts))
        before = self._failed_before.setdefault(name, {task.id for task in tasks if task.has_failed})
        if newest is not None and newest.runs and newest.id != self._old.get(name):
            return True
        failed = [task for task in tasks if task.has_failed and task.id not in before]
        if service is not None and (len(failed) >= FAILURES_MAX or service.update == "paused"):
            task = failed[0] if failed else newest
            raise NotRunning(explain(self._engine, self._stack, service, task, self._hosts))
        return False

    def _tell(self, name: str, words: str) -> None:
        if self._told.get(name) != words:
            self._say(f"  {name:<10} {words}")
            self._told[name] = words


def in_words(task: Task | None, hosts: Mapping[str, str]) -> str:
    """`running on manager1`, `rejected on manager2: No such image`."""
    if task is None:
        return "waits for Swarm"
    where = f" on {hosts.get(task.node_id, task.node_id)}" if task.node_id else ""
    calm = task.state in ("running", "starting", "preparing", "assigned", "accepted", "ready", "complete")
    words = "" if calm or not task.words else f": {task.words}"
    return f"{task.state}{where}{words}"


def explain(engine: Engine, stack: str, service: Service, task: Task | None, hosts: Mapping[str, str]) -> str:
    """The service, what Swarm says of its task, what mends it, and the last lines of its log."""
    lines = [f"{service.name} does not run: {in_words(task, hosts)}"]
    if service.update == "paused":
        lines.append(f"Swarm paused its update: {service.update_words}")
    words = " ".join([task.words if task else "", service.update_words])
    lines += [f"mend: {mend}" for part, mend in MENDS.items() if part in words]
    try:
        said = engine.logs(service.id, LOG_LINES)
    except EngineUnavailable as error:
        said = [f"(its log cannot be read: {error})"]
    lines += [f"last lines of {service.name}:", *(f"  | {line}" for line in said)] if said else ["its log is empty"]
    full = f"{stack}_{service.name}"
    lines.append(f"all of it: docker service ps --no-trunc {full}; docker service logs {full}")
    return "\n".join(lines)
