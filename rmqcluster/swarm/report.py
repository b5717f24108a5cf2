"""What Swarm says of the stack: where each service runs, since when, and why not; hosts that are not ready."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rmqcluster.swarm.engine import Engine
from rmqcluster.swarm.facts import BROKER_ROLE, ROLE_LABEL, Node, Task

TASKS_SHOWN = 5
CONSOLE = 15672


def services_text(engine: Engine, stack: str, names: Sequence[str] = ()) -> str:
    """A line for each service, and one for each host that is not ready. Raises EngineUnavailable."""
    nodes = engine.nodes()
    services = engine.services(stack)
    if not services:
        return f"stack {stack} is not deployed. Type:  make up"
    lines = []
    for name, service in sorted(services.items()):
        if names and name not in names:
            continue
        tasks = engine.tasks(service.id)
        lines.append(f"{name:<10} {task_words(tasks[0], nodes) if tasks else 'no task: Swarm has not placed it yet'}")
        if service.update == "paused":
            lines.append(f"{'':<10} its update is paused: {service.update_words}")
    lines += [
        f"host {node.name} is {node.state}: what runs there is unknown to Swarm" for node in nodes if not node.is_up
    ]
    lines += [
        f"host {node.name} takes no task. Type:  docker node update --availability active {node.name}"
        for node in nodes
        if node.is_up and not node.takes_tasks
    ]
    return "\n".join(lines)


def history_text(engine: Engine, stack: str, name: str) -> str:
    """The last tasks of one service with their errors."""
    services, nodes = engine.services(stack), engine.nodes()
    if name not in services:
        return f"{name}: not deployed"
    tasks = engine.tasks(services[name].id)[:TASKS_SHOWN]
    return "\n".join([f"{name}  {services[name].image}", *(f"  {task_words(task, nodes)}" for task in tasks)])


def task_words(task: Task, nodes: Sequence[Node]) -> str:
    """`running on manager1 since 03:11:20Z`."""
    node = next((one for one in nodes if one.id == task.node_id), None)
    host = node.name if node is not None else "no host"
    if node is not None and not node.is_up and task.state == "running":
        return f"unreachable: {host}, where it ran, is {node.state}"
    words = f": {task.words}" if task.state not in ("running", "complete") and task.words else ""
    return f"{task.state} on {host} since {_utc(task.since)}{words}"


def _utc(text: str) -> str:
    """Docker's nanoseconds, as a person reads them."""
    try:
        at = datetime.fromisoformat(f"{text[:19]}+00:00")
    except ValueError:
        return text
    day = "" if at.date() == datetime.now(UTC).date() else f"{at:%Y-%m-%d} "
    return f"{day}{at:%H:%M:%S}Z"


def consoles(engine: Engine, stack: str) -> list[str]:
    """`rabbitmq1  http://10.0.0.11:15672/` for each broker: on the host where it runs."""
    addresses, lines = {node.id: node.address for node in engine.nodes()}, []
    for name, service in sorted(engine.services(stack).items()):
        running = [task for task in engine.tasks(service.id) if task.runs]
        if service.labels.get(ROLE_LABEL) == BROKER_ROLE and CONSOLE in service.ports and running:
            address = addresses.get(running[0].node_id) or "127.0.0.1"
            host = "127.0.0.1" if address == "0.0.0.0" else address  # noqa: S104
            lines.append(f"{name}  http://{host}:{service.ports[CONSOLE]}/")
    return lines
