"""The stack as its files and `.env` describe it: variables, names of secrets and configs, services."""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from rmqcluster.errors import ConfigurationError
from rmqcluster.swarm import environment, rendering
from rmqcluster.swarm.facts import BROKER_ROLE, ROLE_LABEL

COMPOSE, PUBLISH, EXAMPLE = "compose.yml", "compose.publish.yml", ".env.example"
HASH_DIGITS = 12
YES = ("1", "yes", "true")
ON_ANY_MANAGER = "node.role == manager"
SINGLE_HOST_PLACEMENTS = dict.fromkeys(
    ("RABBITMQ1_PLACEMENT", "RABBITMQ2_PLACEMENT", "RABBITMQ3_PLACEMENT", "POSTGRES_PLACEMENT"), ON_ANY_MANAGER
)


@dataclass(frozen=True, slots=True)
class Project:
    """One checkout with its variables: the environment first, then `.env`."""

    directory: Path
    variables: Mapping[str, str]

    @property
    def stack(self) -> str:
        return self.variables.get("STACK") or "fog"

    @property
    def network(self) -> str:
        return self.variables.get("FOG_NETWORK") or "fog-network"

    @property
    def is_single_host(self) -> bool:
        return self.variables.get("SINGLE_HOST", "").lower() in YES

    def having(self, more: Mapping[str, str]) -> "Project":
        return replace(self, variables={**self.variables, **more})

    def without_secrets(self) -> list[str]:
        """Secrets of the stack that have no value."""
        return [name.upper() for name in self._declared("secrets") if not self.variables.get(name.upper())]

    def secrets(self) -> dict[str, str]:
        """Name in Swarm -> value."""
        hashes = self._hashes()
        declared = {key: str(one["name"]) for key, one in self._declared("secrets").items()}
        return {
            rendering.fill(name, {**self.variables, **hashes}, COMPOSE): self.variables[key.upper()]
            for key, name in declared.items()
        }

    def render(self) -> rendering.Stack:
        """The stack with all variables filled in. Raises ConfigurationError."""
        variables = {**(SINGLE_HOST_PLACEMENTS if self.is_single_host else {}), **self.variables, **self._hashes()}
        stack = rendering.load(self.directory / COMPOSE, variables)
        if self.variables.get("PUBLISH", "").lower() in YES:
            stack = rendering.merged(stack, rendering.load(self.directory / PUBLISH, variables))
        return stack

    def _hashes(self) -> dict[str, str]:
        found = {}
        for key, one in self._declared("configs").items():
            found[f"HASH_{key.upper()}"] = hashlib.sha256(self._read(str(one["file"]))).hexdigest()[:HASH_DIGITS]
        for key in self._declared("secrets"):
            found[f"HASH_{key.upper()}"] = _slow_hash(self.stack, self.variables.get(key.upper(), ""))
        return found

    def _declared(self, what: str) -> dict[str, Any]:
        try:
            document = YAML(typ="safe", pure=True).load(self.directory / COMPOSE)
        except OSError as error:
            raise ConfigurationError(f"{self.directory / COMPOSE} cannot be read: {error}") from error
        return dict(document.get(what) or {})

    def _read(self, name: str) -> bytes:
        try:
            return (self.directory / name).read_bytes()
        except OSError as error:
            raise ConfigurationError(f"{name}, which {COMPOSE} names, cannot be read: {error}") from error


def dotenv(directory: Path, environ: Mapping[str, str]) -> Path:
    """`.env`, or what ENV_FILE names: one for each stack where there are several."""
    return directory / (environ.get("ENV_FILE") or ".env")


def variables_here(directory: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """As `find`, but whoever looks at what runs needs no `.env`."""
    path = dotenv(directory, environ)
    return environment.read(path, environ) if path.exists() else dict(environ)


def find(directory: Path, environ: Mapping[str, str]) -> Project:
    """The project in `directory`. Raises ConfigurationError when its files or its `.env` are missing."""
    return Project(directory, environment.read(dotenv(directory, environ), environ))


def brokers(stack: rendering.Stack) -> list[str]:
    """The services that are members of the cluster."""
    services: dict[str, Any] = stack["services"]
    return [name for name, one in services.items() if one["deploy"].get("labels", {}).get(ROLE_LABEL) == BROKER_ROLE]


@functools.lru_cache(maxsize=64)
def _slow_hash(stack: str, value: str) -> str:
    """Part of a name that everybody may read: too slow to try out what a person might have chosen as a password."""
    return hashlib.scrypt(value.encode(), salt=f"rmqcluster {stack}".encode(), n=2**14, r=8, p=1).hex()[:HASH_DIGITS]
