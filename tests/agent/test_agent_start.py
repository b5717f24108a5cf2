"""From the start of the process to the first tick: signals, the health check, the data directory."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from support import wait_until

from rmqcluster.agent.wiring import LockingSpawner, heed_stop, lock_directory
from rmqcluster.api.server import ApiServer
from rmqcluster.config.settings import Secret, Settings
from rmqcluster.core.model import Policy
from rmqcluster.errors import ConfigurationError, ExitCode, Stopped
from rmqcluster.process.children import Children
from rmqcluster.process.lock import DirectoryLock
from rmqcluster.process.signals import Wakeup


class Start:
    """Two instances of one member: `other` has the data directory first."""

    def __init__(self, directory: Path, wakeup: Wakeup, http_port: int = 0) -> None:
        self.settings = Settings(
            node="rabbit@a",
            cookie=Secret("c"),
            policy=Policy(ttl_seconds=10.0),
            http_bind="127.0.0.1",
            http_port=http_port,
        )
        self.http = ApiServer(self.settings)
        self.lock, self.other = DirectoryLock(directory, "new"), DirectoryLock(directory, "old")
        self.said: list[str] = []
        self.journal: Any = SimpleNamespace(say=lambda text, **_kinds: self.said.append(text))
        self._wakeup = wakeup

    def lock_directory(self) -> None:
        lock_directory(self.settings, self.journal, self._wakeup, self.lock, self.http)

    def ask(self, path: str) -> tuple[int, str]:
        try:
            with urlopen(f"http://127.0.0.1:{self.http.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()

    def close(self) -> None:
        self.http.stop()
        self.lock.close()
        self.other.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Start]]:
    made: list[Start] = []
    with Wakeup() as wakeup:

        def start(**options: Any) -> Start:
            made.append(Start(tmp_path, wakeup, **options))
            return made[-1]

        yield start
        for one in made:
            one.close()


def test_the_health_check_is_answered_while_waiting_for_the_directory(make: Callable[..., Start]) -> None:
    """The wait may last longer than a health check's patience: /livez is green, /readyz says whom it waits for."""
    start = make()
    start.other.acquire(0, print)
    answers: dict[str, tuple[int, str]] = {}

    def look() -> None:
        wait_until(lambda: bool(start.said), 5, "the wait is told")
        answers.update({path: start.ask(path) for path in ("/livez", "/readyz")})
        os.kill(os.getpid(), signal.SIGTERM)

    looking = threading.Thread(target=look)
    looking.start()
    with pytest.raises(Stopped, match="while waiting for the data directory"):
        start.lock_directory()
    looking.join(5)

    assert answers["/livez"][0] == 200
    assert answers["/readyz"][0] == 503
    assert "instance old" in answers["/readyz"][1]


def test_the_old_instance_may_still_have_the_http_port(make: Callable[..., Start]) -> None:
    """An instance that ends gives up directory and port; the new one takes both when they are free."""
    old = make()
    old.http.start()
    old.other.acquire(0, print)
    new = make(http_port=old.http.port)

    def leave() -> None:
        wait_until(lambda: bool(new.said), 5, "the wait is told")
        old.http.stop()
        old.other.close()

    leaving = threading.Thread(target=leave)
    leaving.start()
    new.lock_directory()
    leaving.join(5)

    assert new.ask("/livez")[0] == 200


def test_a_strangers_http_port_is_told_once_the_directory_is_ours(make: Callable[..., Start]) -> None:
    """Nobody gives that port up, so it is a matter of configuration."""
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ConfigurationError, match="RMQCLUSTER_HTTP_BIND/_PORT"),
    ):
        make(http_port=taken.getsockname()[1]).lock_directory()


def test_a_stop_before_anything_runs_is_an_orderly_end() -> None:
    """A SIGTERM that comes early is kept until somebody asks, and ends the start with exit 0."""
    with Wakeup() as wakeup:
        heed_stop(wakeup, "never")
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped) as caught:
            heed_stop(wakeup, "before anything was started")

    assert caught.value.exit_code is ExitCode.OK


def test_an_entrypoint_that_is_stopped_while_loading_exits_0(tmp_path: Path) -> None:
    """The signal is caught from the first moment, also while a slow disk is still being handed over."""
    program = (
        "import os, signal, sys\n"
        "from rmqcluster.agent import wiring\n"
        "from rmqcluster.config.settings import Secret, Settings\n"
        "def load(_environment):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return Settings('rabbit@a', Secret('c'))\n"
        "wiring.load, wiring.step_down = load, lambda *_: False\n"
        "sys.exit(wiring.run_entrypoint({}))\n"
    )
    done = Children().run(
        [sys.executable, "-c", program], env={"PYTHONPATH": os.pathsep.join(sys.path)}, deadline_seconds=20
    )

    assert (done.status, done.stderr) == (0, b"")
    assert b"stopped on request before anything was started" in done.stdout


def test_a_broker_that_cannot_be_recorded_is_still_ours(tmp_path: Path) -> None:
    """A full disk under the lock file is told; the broker that runs already is not lost sight of."""

    class FullLock(DirectoryLock):
        def record_broker(self, pid: int | None) -> None:
            if pid is not None:
                raise OSError(28, "No space left on device")
            super().record_broker(pid)

    (tmp_path / "rabbitmq-server").write_text("#!/bin/sh\nexec sleep 300\n")
    (tmp_path / "rabbitmq-server").chmod(0o755)
    lock, children, said = FullLock(tmp_path, "me"), Children(), list[str]()
    journal: Any = SimpleNamespace(say=lambda text, **_kinds: said.append(text))
    lock.acquire(0, print)
    child: Any = LockingSpawner(children, lock, journal).spawn(
        [str(tmp_path / "rabbitmq-server")], env=dict(os.environ)
    )
    try:
        assert child.exit_status is None
        assert "No space left" in said[0]
    finally:
        children.end(child)
        lock.close()


def test_the_sign_of_life_ages() -> None:
    """A start that hangs is not called alive for ever."""
    now = time.monotonic()
    http = ApiServer(Settings("rabbit@a", Secret("c"), http_bind="127.0.0.1", http_port=0), monotonic=lambda: now)
    http.start()
    try:
        http.starting("waits")
        now += 9.0
        assert _livez(http.port) == 200
        now += 2.0
        assert _livez(http.port) == 503
        http.starting("waits on")
        assert _livez(http.port) == 200
    finally:
        http.stop()


def _livez(port: int) -> int:
    try:
        with urlopen(f"http://127.0.0.1:{port}/livez", timeout=5) as answer:
            return int(answer.status)
    except HTTPError as refused:
        with refused:
            return refused.code
