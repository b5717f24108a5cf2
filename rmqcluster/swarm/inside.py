"""What is asked inside the stack: by the containers of this host, else by one-shot containers in their place."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from rmqcluster.swarm import containers
from rmqcluster.swarm.containers import Said
from rmqcluster.swarm.engine import Engine
from rmqcluster.swarm.facts import EngineUnavailable, Missing

BROKERS = ("rabbitmq1", "rabbitmq2", "rabbitmq3")
REDIS, POSTGRES = "redis", "postgres"
# Passwords come from the container's secrets, and are in no argument.
_REDIS_CLI = 'REDISCLI_AUTH="$(cat /run/secrets/redis_pass)" exec redis-cli -h redis "$@"'
_POSTGRES_TOOL = (
    'export PGPASSWORD="$(cat "$POSTGRES_PASSWORD_FILE")" PGDATABASE="$POSTGRES_DB" PGCONNECT_TIMEOUT=5; '
    'tool=$1; shift; exec "$tool" -h postgres -U "$POSTGRES_USER" "$@"'
)
# A one-shot container has no volume, so its home has no cookie yet.
_MEMBER_SHELL = (
    '[ -s "$HOME/.erlang.cookie" ] || (umask 077 && cat /run/secrets/rabbitmq_erlang_cookie >"$HOME/.erlang.cookie"); '
    'cd /tmp; echo "rmqcluster status; rabbitmqctl -n rabbit@rabbitmq1 cluster_status"; '
    "exec $(command -v bash || echo sh)"
)


def redis_cli(*arguments: str) -> list[str]:
    return ["sh", "-c", _REDIS_CLI, "redis-cli", *arguments]


def postgres_tool(tool: str, *arguments: str) -> list[str]:
    return ["sh", "-c", _POSTGRES_TOOL, "postgres", tool, *arguments]


def member_shell() -> list[str]:
    return ["sh", "-c", _MEMBER_SHELL]


class Inside:
    """One-shot containers are kept until `close`, so that a watcher needs one; one that has ended is made anew.

    Methods raise EngineUnavailable.
    """

    def __init__(self, engine: Engine, stack: str) -> None:
        self._engine, self._stack = engine, stack
        self._ends = ExitStack()
        self._visits: dict[str, str] = {}

    def close(self) -> None:
        self._ends.close()

    def __enter__(self) -> "Inside":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def container(self, *services: str) -> str:
        """One of these services on this host, else a one-shot container in place of the first that is deployed."""
        for service in services:
            found = containers.local(self._engine, self._stack, service)
            if found is not None:
                return found
        deployed = self._engine.services(self._stack)
        chosen = next((service for service in services if service in deployed), None)
        if chosen is None:
            raise Missing(f"{' and '.join(services)} of stack {self._stack} is not deployed. Type:  make up")
        if chosen not in self._visits or not containers.is_running(self._engine, self._visits[chosen]):
            visit = containers.one_shot(self._engine, self._stack, chosen)
            self._visits[chosen] = self._ends.enter_context(visit)
        return self._visits[chosen]

    def run(self, service: str, argv: Sequence[str]) -> Said:
        return containers.run(self._engine, self.container(service), argv)

    def rmqcluster(self, *arguments: str) -> Said:
        """A command of rmqcluster in the place of a member."""
        return containers.run(self._engine, self.container(*BROKERS), ["rmqcluster", *arguments])

    def status(self) -> Mapping[str, Any] | None:
        """`status --json`; None while nobody can be asked."""
        try:
            found = json.loads(self.rmqcluster("status", "--json").out)
        except (EngineUnavailable, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def attach(self, services: Sequence[str], argv: Sequence[str], *, terminal: bool = False) -> int:
        """A command with this process' own input and output; its exit code."""
        flags = ["-i", "-t"] if terminal else ["-i"]
        command = [self._engine.program(), "exec", *flags, self.container(*services), *argv]
        return subprocess.run(command, env=self._engine.program_environment(), check=False).returncode
