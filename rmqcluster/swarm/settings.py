"""What the members would refuse to start with, known before anything is restarted."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from rmqcluster.config.load import OWN_PREFIX, load
from rmqcluster.errors import ConfigurationError
from rmqcluster.swarm.project import Project, brokers
from rmqcluster.swarm.rendering import Stack

SECRETS = PurePosixPath("/run/secrets")
FILLED_IN_BY_SWARM = "{{"


def check(project: Project, stack: Stack) -> None:
    """Raises ConfigurationError with every setting that is wrong, and every name of ours that is none."""
    odd = sorted(key.upper() for key in stack["secrets"] if not project.variables.get(key.upper(), "").isprintable())
    if odd:  # Redis' would end in its log
        raise ConfigurationError(f"not ready: a line end or another control character is in {', '.join(odd)}")
    given = {name: value for name, value in project.variables.items() if name.startswith(OWN_PREFIX)}
    for name in brokers(stack):
        service = stack["services"][name]
        environment = {**given, **_of_member(service.get("environment") or {}, project.variables)}
        try:
            load(environment, None, hostname=str(service.get("hostname") or name))
        except ConfigurationError as error:
            lines = [f"  {line}" for line in str(error).splitlines()]
            raise ConfigurationError("\n".join(["not ready: the members would refuse:", *lines])) from error


def _of_member(environment: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, str]:
    """As the container has it, with the secrets themselves in place of their files."""
    found = {}
    for name, value in environment.items():
        path = PurePosixPath(str(value))
        if name.endswith("_FILE") and path.parent == SECRETS:
            found[name.removesuffix("_FILE")] = variables.get(path.name.upper(), "")
        elif FILLED_IN_BY_SWARM not in str(value):
            found[name] = str(value)
    return found
