"""What takes things away: the stack, its volumes; and restarts. Each says what it does and asks nothing."""

import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event

from rmqcluster.errors import CommandFailed, OperationRefused
from rmqcluster.swarm import containers
from rmqcluster.swarm.engine import Engine
from rmqcluster.swarm.facts import InUse, Missing
from rmqcluster.swarm.inside import Inside
from rmqcluster.swarm.rolling import roll
from rmqcluster.swarm.waiting import Say

DOWN_SECONDS = 90.0  # a stop grace and a half
VOLUMES_SECONDS = 120.0
LOOK_SECONDS = 1.0


def restart(engine: Engine, stack: str, brokers: list[str], inside: Inside, say: Say) -> None:
    """Every broker anew, one after the other."""

    def renew(name: str) -> None:
        service = engine.services(stack).get(name)
        if service is None:
            raise OperationRefused(f"{name} was removed meanwhile. Type:  make up")
        engine.force(service)

    roll(engine, stack, brokers, renew, inside, say)


def down(engine: Engine, stack: str, say: Say) -> None:
    """Services, network, configs and secrets; volumes stay. Brokers stop together, in order. Raises CommandFailed."""
    services = engine.services(stack)
    if services:
        say(f"stopping {', '.join(sorted(services))}")
    for service_id in [*(one.id for one in services.values()), *containers.one_shots(engine, stack)]:
        with suppress(Missing):
            engine.remove_service(service_id)
    _say_lost(engine, stack, say)
    _await_gone(lambda: _containers_left(engine, stack), "containers", stack, say)
    _await_gone(lambda: _remove_networks(engine, stack), "networks", stack, say)
    engine.remove_configs(list(engine.configs(stack).values()))
    engine.remove_secrets(list(engine.secrets(stack).values()))


def _lost(engine: Engine) -> dict[str, str]:
    """Hosts that are down, id -> name: Swarm hears nothing of the containers there until they are back."""
    return {node.id: node.name for node in engine.nodes() if node.state == "down"}


def _containers_left(engine: Engine, stack: str) -> int:
    lost = _lost(engine)
    return sum(task.node_id not in lost for task in engine.tasks_left(stack))


def _say_lost(engine: Engine, stack: str, say: Say) -> None:
    lost = _lost(engine)
    for name in sorted({lost[task.node_id] for task in engine.tasks_left(stack) if task.node_id in lost}):
        say(f"{name} is down and not waited for: what ran there is stopped when that host is back")


def _remove_networks(engine: Engine, stack: str) -> int:
    """How many are still there: in use until the last container on any host has gone, and then for a moment."""
    left = engine.networks(stack)
    for network in left:
        with suppress(InUse, Missing):
            engine.remove_network(network)
    return len(left)


def _await_gone(left: Callable[[], int], what: str, stack: str, say: Say) -> None:
    deadline, pacing, told = time.monotonic() + DOWN_SECONDS, Event(), False
    while (number := left()) > 0:
        if time.monotonic() > deadline:
            raise CommandFailed(
                f"{number} {what} of {stack} are still there after {DOWN_SECONDS:g} s. A host that is down? "
                "(docker node ls) Something attached to the network? (docker network inspect) Then try again",
                exit_status=None,
                timed_out=True,
            )
        if not told:
            say(f"waiting until the {what} are gone")
            told = True
        pacing.wait(LOOK_SECONDS)


def remove_volumes(engine: Engine, stack: str, image: str, say: Say) -> bool:
    """On all hosts; says which hosts could not be reached or did not do it. Is none left anywhere?"""
    argv = ["python3", "-m", "rmqcluster.swarm.volumes", stack]
    found = containers.on_hosts(engine, stack, image, argv, VOLUMES_SECONDS)
    by_hand = f"docker volume ls -q --filter label=com.docker.stack.namespace={stack} | xargs -r docker volume rm"
    done = True
    for node in engine.nodes():
        said = found.get(node.id)
        if said is not None and said.code == 0:
            say(f"  {node.name}: no volume of {stack} is left")
            continue
        done = False
        trouble = "unreachable" if said is None else f"not all could be removed ({said.err})"
        say(f"  {node.name}: {trouble}. Type there:  {by_hand}")
    return done
