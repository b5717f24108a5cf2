"""Trouble while a broker is started, and what its end is taken for; no broker is run here."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from signal import SIGKILL, Signals
from types import SimpleNamespace
from typing import Any

import pytest
from broker_rig import free_ports

from rmqcluster.agent.ports import Boot
from rmqcluster.broker.boot import RabbitProcess
from rmqcluster.broker.version import Scripts
from rmqcluster.config.settings import Paths, Secret, Settings
from rmqcluster.core.model import BrokerPhase, Purpose
from rmqcluster.errors import CommandFailed

FOUND = Boot(Purpose.FOUND, "c")
DENIED = 'HTTP access denied: user "x",eacces - invalid credentials'


class OddSpawner:
    """Starts nothing; programs named in `failing` cannot be started."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.started: list[str] = []

    def spawn(self, argv: Sequence[str], **_options: Any) -> Any:
        name = Path(argv[0]).name
        if name in self.failing:
            raise CommandFailed(f"{name} cannot be started: Resource temporarily unavailable", exit_status=None)
        self.started.append(name)
        return SimpleNamespace(pid=4711, exit_status=None, signal=lambda _number: True)


class Bench:
    """A broker process whose children are only pretended."""

    def __init__(self, root: Path) -> None:
        self.root, self.now, self.lines = root, 100.0, list[str]()
        (root / "bin").mkdir()
        (root / "bin" / "epmd").write_text("#!/bin/sh\n")
        (root / "bin" / "epmd").chmod(0o755)
        (epmd_port,) = free_ports(1)
        self.spawner = OddSpawner()
        self.process = RabbitProcess(
            Settings("one@localhost", Secret("c"), paths=Paths(mnesia_base=root, config_files=root / "conf.d")),
            self.spawner,
            Scripts(root, "3.10.8"),
            inherited={"PATH": str(root / "bin"), "ERL_EPMD_PORT": str(epmd_port)},
            monotonic=lambda: self.now,
            conf_directory=root / "generated",
            forward=self.lines.append,
        )

    def says(self, line: str) -> None:
        self.process.output.tail.add(line)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.process.close()


def test_a_failed_fork_is_one_more_end(bench: Bench) -> None:
    """A broker that cannot be started counts as an unexpected end in words, and is no mistake in a file."""
    bench.spawner.failing.add("rabbitmq-server")
    bench.process.start(FOUND)
    state = bench.process.state()

    assert (state.phase, bench.process.pid) == (BrokerPhase.DOWN, None)
    (ended,) = state.exits
    assert "Resource temporarily unavailable" in ended.reason
    assert (ended.configuration, ended.at, ended.status) == (False, 100.0, None)

    bench.spawner.failing.clear()
    bench.process.start(FOUND)
    assert bench.process.state().phase is BrokerPhase.STARTING


def test_a_configuration_that_cannot_be_written_is_one_more_end(bench: Bench) -> None:
    """A full or broken volume ends neither the supervisor nor the hope that it gets better."""
    (bench.root / "generated").write_text("a file in the directory's place")
    bench.process.start(FOUND)
    (ended,) = bench.process.state().exits

    assert "could not be written" in ended.reason
    assert not ended.configuration
    assert "rabbitmq-server" not in bench.spawner.started


def test_a_failed_epmd_is_only_told(bench: Bench) -> None:
    """RabbitMQ can start its own: the broker is started all the same."""
    bench.spawner.failing.add("epmd")
    bench.process.start(FOUND)

    assert bench.process.pid == 4711
    assert bench.process.state().exits == ()
    assert "epmd could not be started" in bench.lines[0]
    assert "epmd could not be started" in bench.process.waits_for()


def test_words_of_clients_decide_nothing(bench: Bench) -> None:
    """Once a boot was ready, no line from before or after makes its end a matter of configuration."""
    bench.process.start(FOUND)
    bench.says("Cookie file /x must be accessible by owner only")
    bench.process.on_notify({"READY": "1"})
    bench.says(DENIED)
    bench.process.on_exit(1)
    (ended,) = bench.process.state().exits

    assert "Cookie" not in ended.reason
    assert not ended.configuration


def test_the_same_words_count_while_starting(bench: Bench) -> None:
    """A boot that never was ready and names a file's fault would fail the same way again."""
    bench.process.start(FOUND)
    bench.says("Cookie file /x must be accessible by owner only")
    bench.process.on_exit(1)
    (ended,) = bench.process.state().exits

    assert ended.configuration


@pytest.mark.parametrize("status", [-SIGKILL, 128 + SIGKILL, -Signals.SIGTERM])
def test_a_killed_broker_was_killed(bench: Bench, status: int) -> None:
    """Whatever stands in its log, the signal is what ended it."""
    bench.process.start(FOUND)
    bench.says(DENIED)
    bench.process.on_exit(status)
    (ended,) = bench.process.state().exits

    assert "SIGKILL" in ended.reason or "SIGTERM" in ended.reason
    assert not ended.configuration
