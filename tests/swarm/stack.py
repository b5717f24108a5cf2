"""The stack as a person deploys it: with make on one host of a swarm, and an `.env` of its own.

stack = Stack(swarm, directory)          # make env
stack.make("up")                         # what it printed; another exit code than 0 fails the test
stack.fails("up")                        # the other way round
with stack.under_load() as ledger:       # publishes meanwhile; no confirmed message may be missing afterwards
    ...
stack.await_whole()
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from failover.ledger import Ledger
from failover.scenario import await_whole
from failover.swarm import SwarmTarget
from hosts import Host
from images import PROJECT
from support import wait_until
from swarms import Swarm

from rmqcluster.swarm.inside import BROKERS, POSTGRES, REDIS, redis_cli

NAME = "fog"
SERVICES = (*BROKERS, REDIS, POSTGRES)
MAKE_SECONDS = 600.0
GLIMPSE_SECONDS = 8.0
SERVE_SECONDS = 60.0
WHOLE_SECONDS = 180.0
WARM_UP_MESSAGES = 50


class Stack:
    """One stack in one swarm. On one host it is deployed with SINGLE_HOST=1."""

    def __init__(self, swarm: Swarm, directory: Path, **variables: str) -> None:
        self.swarm = swarm
        self.env_file = directory / "stack.env"
        single = {"SINGLE_HOST": "1"} if len(swarm.hosts) == 1 else {}
        self._variables = {"ENV_FILE": str(self.env_file), "YES": "1", **single, **variables}
        self.make("env")

    # What a person types

    def make(self, *targets: str, host: Host | None = None, said: str = "", **variables: str) -> str:
        done = self.run_make(*targets, host=host, said=said, **variables)
        assert done.returncode == 0, (
            f"make {' '.join(targets)} exited with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
        return done.stdout + done.stderr

    def fails(self, *targets: str, host: Host | None = None, said: str = "", **variables: str) -> str:
        """What it printed on the way to another exit code than 0."""
        done = self.run_make(*targets, host=host, said=said, **variables)
        assert done.returncode != 0, f"make {' '.join(targets)} succeeded:\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def glimpse(self, target: str, seconds: float = GLIMPSE_SECONDS) -> str:
        """What a target that goes on for ever shows until somebody types Ctrl-C."""
        done = self.run_make(target, before=("timeout", "--signal=INT", f"{seconds:g}"))
        return done.stdout + done.stderr

    def run_inside(self, *words: str, host: Host | None = None) -> "subprocess.CompletedProcess[str]":
        """A command of rmqcluster inside the stack, as a person on that host gives it."""
        command = [sys.executable, "-m", "rmqcluster", "swarm", "run", "--", *words]
        return (host or self.swarm.manager).run(*command, seconds=MAKE_SECONDS)

    def run_make(
        self, *targets: str, host: Host | None = None, said: str = "", before: Sequence[str] = (), **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        given = {**self._variables, **variables}
        words = [f"{name}={value}" for name, value in given.items() if value]
        command = [*before, "make", "--directory", str(PROJECT), "--no-print-directory", *targets, *words]
        return (host or self.swarm.manager).run(*command, seconds=MAKE_SECONDS, said=said)

    def render(self) -> str:
        """The stack file as `make up` would deploy it now."""
        command = [sys.executable, "-m", "rmqcluster", "swarm", "render"]
        done = self.swarm.manager.run(*command, environment={k: v for k, v in self._variables.items() if v})
        assert done.returncode == 0, done.stderr
        return done.stdout

    def set(self, **variables: str) -> None:
        """A line in `.env`, in place of one that is there."""
        lines = [line for line in self.env_file.read_text().splitlines() if line.partition("=")[0] not in variables]
        lines += [f"{name}={value}" for name, value in variables.items()]
        self.env_file.write_text("\n".join(lines) + "\n")

    def secrets(self) -> dict[str, str]:
        found = dict(line.partition("=")[::2] for line in self.env_file.read_text().splitlines())
        return {name: value for name, value in found.items() if re.search(r"_(PASS|COOKIE|TOKEN)$", name) and value}

    # What it is asked

    @contextmanager
    def target(self, host: Host | None = None) -> Iterator[SwarmTarget]:
        """The members' own ports, through a gate on that host."""
        chosen = host or self.swarm.manager
        environ = {**os.environ, **chosen.environment(), **{k: v for k, v in self._variables.items() if v}}
        target = SwarmTarget(lambda words: None, environ)
        try:
            yield target
        finally:
            target.close()

    @contextmanager
    def under_load(self, host: Host | None = None, seconds: float = WHOLE_SECONDS) -> Iterator[Ledger]:
        """Publishes meanwhile. Then the cluster has to get whole, and no confirmed message may be missing."""
        with self.target(host) as target, loaded(target) as ledger:
            yield ledger
            settle(target, ledger, seconds)

    def await_whole(self, host: Host | None = None, seconds: float = WHOLE_SECONDS) -> None:
        wait_until(lambda: self.is_whole(host), seconds, "every member serves and all replicas have caught up")

    def is_whole(self, host: Host | None = None) -> bool:
        return self.ask("wait", "--whole", "--timeout", "0", host=host).returncode == 0

    def status(self, host: Host | None = None) -> dict[str, Any]:
        """`status --json` as a container on that host gives it; empty while none does."""
        try:
            found = json.loads(self.ask("status", "--json", host=host).stdout)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def ask(self, *arguments: str, host: Host | None = None) -> "subprocess.CompletedProcess[str]":
        """A command of rmqcluster in the first broker's container on that host."""
        chosen = host or self.swarm.manager
        for name in BROKERS:
            container = self.container(name, chosen)
            if container:
                return chosen.run("docker", "exec", container, "rmqcluster", *arguments)
        return subprocess.CompletedProcess(arguments, 1, "", f"no broker runs on {chosen.name}")

    def container(self, service: str, host: Host) -> str:
        """Id of the running container of a service on a host, or nothing."""
        label = f"label=com.docker.swarm.service.name={NAME}_{service}"
        return host.run("docker", "ps", "--quiet", "--filter", label).stdout.strip()

    def host_of(self, service: str) -> Host | None:
        """Where it runs, by what the engines themselves say; None while it runs nowhere, or cannot be seen."""
        seen = [host for host in self.swarm.hosts if host.is_running() and not host.is_cut]
        return next((host for host in seen if self.container(service, host)), None)

    def await_host_of(self, service: str, not_on: Host, seconds: float = SERVE_SECONDS) -> Host:
        """Until it runs on another host."""

        def found() -> Host | None:
            host = self.host_of(service)
            return host if host is not not_on else None

        host = wait_until(found, seconds, f"{service} runs on another host than {not_on.name}")
        assert host is not None
        return host

    def redis(self, *words: str) -> str:
        """What redis-cli answers; nothing while Redis runs nowhere or does not answer."""
        host = self.host_of(REDIS)
        if host is None:
            return ""
        return host.run("docker", "exec", self.container(REDIS, host), *redis_cli(*words)).stdout.strip()

    def history(self, host: Host | None = None) -> list[str]:
        """What happened, as far as the coordinator remembers it."""
        return self.ask("history", host=host).stdout.splitlines()

    def await_new_container(self, service: str, host: Host, old: str, seconds: float = SERVE_SECONDS) -> str:
        return wait_until(
            lambda: new if (new := self.container(service, host)) and new != old else "",
            seconds,
            f"{service} has a new container on {host.name}",
        )


def member(status: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The row of `rabbitmq2` in a status; empty when it has none."""
    rows = [row for row in status.get("members", ()) if row["node"] == f"rabbit@{name}"]
    return dict(rows[0]) if rows else {}


def assert_rejoined(stack: Stack, name: str, seen: list[str]) -> None:
    """What has happened since: it came back with its disk, and nobody was reset, forgotten or joined anew."""
    new = [line for line in stack.history() if line not in seen]
    assert any(f"rabbit@{name}  boot" in line and "rejoins by itself" in line for line in new), new
    bad = [line for line in new if re.search(r"\b(reset|joining|forget|forgotten|replace|founding)\b", line)]
    assert not bad, bad


@contextmanager
def loaded(target: SwarmTarget) -> Iterator[Ledger]:
    """A load that runs; it ends with the block, whatever happens there."""
    ledger = Ledger(target.endpoints(), target.account(), queues=3, publishers=2, prefix="swarm")
    ledger.declare()
    wait_until(lambda: _have_replicas(target, ledger.queues), SERVE_SECONDS, "every queue has its replicas")
    ledger.start()
    try:
        wait_until(lambda: ledger.confirmed() > WARM_UP_MESSAGES, SERVE_SECONDS, "the load runs")
        yield ledger
    finally:
        ledger.stop()


def settle(target: SwarmTarget, ledger: Ledger, seconds: float = WHOLE_SECONDS) -> None:
    """The cluster has to get whole and to go on; then no confirmed message may be missing."""
    await_whole(target, ledger.queues, seconds)
    goes_on(ledger)
    ledger.stop()
    summary = ledger.drain()
    ledger.delete()
    assert not summary.lost, f"{len(summary.lost)} confirmed messages are lost: {summary.outcomes}"
    assert not summary.unexpected


def goes_on(ledger: Ledger, seconds: float = SERVE_SECONDS) -> None:
    """Messages are confirmed again."""
    before = ledger.confirmed()
    wait_until(lambda: ledger.confirmed() > before + WARM_UP_MESSAGES, seconds, "messages are confirmed again")


def _have_replicas(target: SwarmTarget, names: list[str]) -> bool:
    try:
        rows = {row.get("name"): row for row in target.queues(target.nodes()[0])}
    except OSError:
        return False
    return all(len(rows.get(name, {}).get("online") or ()) == len(BROKERS) for name in names)
