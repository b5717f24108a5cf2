"""Changes that no roll can bring to a stack that runs; they are refused before anything is touched."""

from collections.abc import Mapping

from rmqcluster.errors import OperationRefused
from rmqcluster.swarm import rendering
from rmqcluster.swarm.engine import Engine
from rmqcluster.swarm.facts import Service
from rmqcluster.swarm.project import Project

# Secrets that all who use them must change at the same moment.
_NOT_ROLLED = {
    "rabbitmq_erlang_cookie": "members with two cookies refuse each other, and each keeps its own on its volume. "
    "Put the old one back",
    "redis_pass": "Redis would refuse the members that have not been restarted. Put the old one back, "
    "or bear an outage:  make down up",
}


def changed_secrets(project: Project, engine: Engine) -> None:
    """Raises OperationRefused."""
    there, wanted = engine.secrets(project.stack), project.secrets()
    for key, why in _NOT_ROLLED.items():
        start = f"{project.stack}_{key}_"
        old = [name for name in there if name.startswith(start)]
        if old and not any(name in wanted for name in old):
            raise OperationRefused(f"{key.upper()} in .env is not that of the stack that runs: {why}")


def two_halves(stack: rendering.Stack, services: Mapping[str, Service]) -> None:
    """On another network, or under another prefix, one half of the members would not find the other.

    Raises OperationRefused.
    """
    keys = ("environment.RMQCLUSTER_PREFIX: ", *(f"names.{key}." for key in stack.get("networks", ())))
    for name in sorted(stack["services"].keys() & services.keys()):
        found = services[name].labels.get(rendering.RENDERED_LABEL)
        for line in rendering.differences(rendering.described(stack, name), found) or ():
            if line.startswith(keys):
                raise OperationRefused(
                    f"{line}: members that differ in this do not find each other. Put the old one back, or bear an "
                    "outage:  make down up"
                )
