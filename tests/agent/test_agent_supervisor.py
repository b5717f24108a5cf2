"""The supervisor's loop with real signals and real children, and a scripted mind."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rmqcluster.agent.supervisor import RESERVE_SECONDS, SHARE_SECONDS_MIN, StopBudget, Supervisor
from rmqcluster.core.actions import ExitProcess
from rmqcluster.core.model import Exit
from rmqcluster.errors import CommandFailed, ConfigurationError, ExitCode, IdentityRefused
from rmqcluster.process.children import Child, Children
from rmqcluster.process.notify import NotifySocket
from rmqcluster.process.procfs import identify
from rmqcluster.process.signals import Wakeup

DONE = ExitProcess(ExitCode.OK, "done")
STUBBORN = ("python3", "-c", "import signal\nsignal.signal(15, signal.SIG_IGN)\nprint(flush=True)\nsignal.pause()")


class OneChild:
    """A broker that is any program."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._child: Child | None = None
        self._reader, self.writer = os.pipe()
        self.exits: tuple[Exit, ...] = ()

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    def start(self, *argv: str) -> int:
        self._child = self._children.spawn(argv, env=dict(os.environ), stdout=self.writer)
        return self._child.pid

    def kill(self) -> None:
        if self._child:
            self._child.signal(signal.SIGKILL)

    def output_fileno(self) -> int:
        return self._reader

    def on_readable(self) -> None:
        return

    def on_notify(self, fields: Mapping[str, str]) -> None:
        return

    def on_exit(self, status: int | None) -> None:
        self._child = None
        self.exits = (*self.exits, Exit(status, f"status {status}", False, time.monotonic()))

    def close(self) -> None:
        os.close(self._reader)
        os.close(self.writer)


class Mind:
    """Answers each tick with what `decide` says; remembers what it was told."""

    def __init__(self, broker: OneChild) -> None:
        self._broker = broker
        self.published = None
        self.ticks = 0
        self.stop_asked_at: float | None = None
        self.events: list[str] = []
        self.decide: Callable[[], ExitProcess | None] = lambda: DONE

    def ask_stop(self) -> None:
        self.stop_asked_at = self.stop_asked_at or time.monotonic()

    def broker_exits(self) -> tuple[Exit, ...]:
        return self._broker.exits

    def event(self, kind: str, _text: str) -> None:
        self.events.append(kind)

    def tick(self) -> ExitProcess | None:
        self.ticks += 1
        return self.decide()


class Bench:
    """A supervisor and what it needs; a Redis that hangs takes every second that it is given."""

    def __init__(
        self, wakeup: Wakeup, notify: NotifySocket, stop_seconds: float = 8.0, redis_hangs: bool = False
    ) -> None:
        self.children = Children()
        self.broker = OneChild(self.children)
        self.mind = Mind(self.broker)
        self.said: list[str] = []
        journal: Any = SimpleNamespace(say=lambda text, **_kinds: self.said.append(text))
        worker: Any = SimpleNamespace(drain=time.sleep if redis_hangs else lambda _seconds: True)
        mind: Any = self.mind
        budget = StopBudget(stop_seconds, time.monotonic)
        self.supervisor = Supervisor(mind, self.broker, self.children, wakeup, notify, worker, [], journal, budget)

    def in_turn(self, *steps: Exception | ExitProcess | None) -> None:
        """What the ticks do, one after the other."""
        left = list(steps)

        def decide() -> ExitProcess | None:
            step = left.pop(0)
            if isinstance(step, Exception):
                raise step
            return step

        self.mind.decide = decide


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    with Wakeup() as wakeup:
        notify = NotifySocket(tmp_path)
        yield lambda **options: Bench(wakeup, notify, **options)
        notify.close()


@pytest.fixture
def bench(make: Callable[..., Bench]) -> Bench:
    return make()


@pytest.mark.parametrize("code", [ExitCode.OK, ExitCode.IDENTITY, ExitCode.CONFIGURATION, ExitCode.UNREACHABLE])
def test_the_exit_code_is_the_rules(bench: Bench, code: ExitCode) -> None:
    """Whatever a rule ends the process with is what the container ends with, and the log says why."""
    bench.in_turn(ExitProcess(code, "so it is"))

    assert bench.supervisor.run() == code
    assert bench.said == [f"exit {int(code)}: so it is"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_for_a_stop(bench: Bench, number: signal.Signals) -> None:
    """SIGTERM and ^C reach the mind within a turn; it decides when the process ends."""
    mind = bench.mind

    def decide() -> ExitProcess | None:
        if mind.ticks == 1:
            os.kill(os.getpid(), number)
        return DONE if mind.stop_asked_at else None

    mind.decide = decide
    assert bench.supervisor.run() == 0
    assert mind.ticks == 2


def test_a_crash_is_told_once(bench: Bench) -> None:
    """A broker that ends by itself is noticed at once, recorded with its status, and told one time."""
    bench.broker.start("sh", "-c", "exit 3")
    mind, began = bench.mind, time.monotonic()
    mind.decide = lambda: DONE if bench.broker.exits and mind.ticks > 5 else None
    bench.supervisor.run()

    assert [one.status for one in bench.broker.exits] == [3]
    assert mind.events.count("crash") == 1
    assert time.monotonic() - began < 5


def test_a_start_that_failed_is_told(bench: Bench) -> None:
    """An end that is recorded while deciding, because there was nothing to start, is told as well."""
    mind = bench.mind

    def decide() -> ExitProcess | None:
        bench.broker.exits = (Exit(None, "the broker could not be started", False, 1.0),)
        return DONE if mind.ticks > 2 else None

    mind.decide = decide
    bench.supervisor.run()
    assert mind.events.count("crash") == 1


def test_other_children_are_collected(bench: Bench) -> None:
    """What ends and is not the broker leaves no zombie, and is no crash: orphans come to a PID 1 the same way."""
    stranger = bench.children.spawn(["true"], env=dict(os.environ))
    bench.mind.decide = lambda: DONE if stranger.ended.is_set() else None
    bench.supervisor.run()

    assert not Path(f"/proc/{stranger.pid}").exists()
    assert "crash" not in bench.mind.events


def test_a_failed_command_is_survived(bench: Bench) -> None:
    """Trouble in a tick is told once, and the next tick is another try, with a broker or without."""
    trouble = CommandFailed("no process could be started", exit_status=None)
    bench.in_turn(trouble, trouble, None, trouble, DONE)

    assert bench.supervisor.run() == 0
    assert bench.said[:-1] == ["no process could be started; it is tried again"] * 2


def test_a_full_disk_is_no_wrong_configuration(bench: Bench) -> None:
    """What could be written at the start and cannot be now may be possible again later."""
    bench.in_turn(None, ConfigurationError("the marker: No space left on device"), DONE)

    assert bench.supervisor.run() == 0


@pytest.mark.parametrize("error", [ConfigurationError("a directory is missing"), IdentityRefused("a foreign volume")])
def test_what_is_wrong_from_the_start_ends_it(bench: Bench, error: Exception) -> None:
    """Nothing was started yet and only a person can mend it."""
    bench.in_turn(error)

    with pytest.raises(type(error)):
        bench.supervisor.run()


def test_no_broker_is_left_behind(bench: Bench) -> None:
    """Who leaves with a broker that ignores SIGTERM has ended it before the process exits."""
    pid = bench.broker.start(*STUBBORN)
    os.read(bench.broker.output_fileno(), 1)
    bench.in_turn(ExitProcess(ExitCode.UNREACHABLE, "no master"))

    assert bench.supervisor.run() == ExitCode.UNREACHABLE
    assert identify(pid) is None


def test_no_broker_is_left_behind_by_a_bug(bench: Bench) -> None:
    """An error that nobody expects ends the process, and the broker before it."""
    pid = bench.broker.start("sleep", "300")
    bench.in_turn(KeyError("a bug"))

    with pytest.raises(KeyError):
        bench.supervisor.run()
    assert identify(pid) is None


def test_a_stop_ends_within_its_budget(make: Callable[..., Bench]) -> None:
    """With a broker that does not stop and a Redis that does not answer, there is time left for the rest."""
    bench = make(stop_seconds=3.0, redis_hangs=True)
    bench.broker.start(*STUBBORN)
    os.read(bench.broker.output_fileno(), 1)
    mind = bench.mind

    def decide() -> ExitProcess | None:
        if mind.stop_asked_at is None:
            os.kill(os.getpid(), signal.SIGTERM)
        elif time.monotonic() - mind.stop_asked_at >= 2.0:
            bench.broker.kill()
        return DONE if bench.broker.pid is None else None

    mind.decide = decide
    assert bench.supervisor.run() == 0
    assert mind.stop_asked_at is not None
    assert time.monotonic() - mind.stop_asked_at < 3.0 - RESERVE_SECONDS / 2


def test_a_budget_is_shared_out() -> None:
    """Without a stop there is no hurry; with one, everybody gets what is left, and never nothing."""
    now = 100.0
    budget = StopBudget(8.0, lambda: now)
    assert budget.share(60.0) == 60.0
    budget.begin()
    assert budget.share(60.0) == pytest.approx(8.0 - RESERVE_SECONDS)
    now = 104.0
    budget.begin()
    assert budget.share(60.0) == pytest.approx(4.0 - RESERVE_SECONDS)
    assert budget.share(1.0) == 1.0
    now = 200.0
    assert budget.share(60.0) == SHARE_SECONDS_MIN
