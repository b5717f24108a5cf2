"""One data directory, one supervisor: twins, brokers that outlive their supervisor, bounded waits."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import wait_until

from rmqcluster.errors import ConfigurationError, ExitCode, IdentityRefused
from rmqcluster.process.lock import FILE_NAME, DirectoryLock, read_holder
from rmqcluster.process.procfs import ProcessId, identify

ROOT = Path(__file__).parents[2]

# A supervisor that takes the lock, starts a broker that holds it too, and says both pids.
SUPERVISOR = """
import os, signal, sys
from pathlib import Path
from rmqcluster.process.children import Children
from rmqcluster.process.lock import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]), "old-instance")
lock.acquire(0, print)
broker = "none"
if sys.argv[2:]:
    child = Children().spawn(sys.argv[2:], env=dict(os.environ), pass_fds=(lock.fileno(),), tied=False)
    lock.record_broker(child.pid)
    broker = child.pid
print(broker, flush=True)
signal.pause()
"""


class Supervisor:
    """Another process that holds a directory."""

    def __init__(self, directory: Path, *broker: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, str(directory), *broker], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline().strip()
        self.broker = None if said == "none" else identify(int(said))

    def kill(self) -> None:
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()

    def close(self) -> None:
        self.kill()
        if self.broker is not None and self.broker.is_alive():
            os.kill(self.broker.pid, signal.SIGKILL)


@pytest.fixture
def supervisor(tmp_path: Path):
    made: list[Supervisor] = []

    def make(*broker: str) -> Supervisor:
        made.append(Supervisor(tmp_path, *broker))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def lock(tmp_path: Path):
    made = DirectoryLock(tmp_path, "new-instance")
    yield made
    made.close()


def test_free_directory_is_taken_at_once_and_says_by_whom(lock: DirectoryLock, tmp_path: Path):
    """Nobody is waited for, and the file names instance, supervisor, pid namespace and boot for people."""
    told: list[str] = []
    lock.acquire(0, told.append)
    record = json.loads((tmp_path / FILE_NAME).read_text())

    assert told == []
    assert record["instance"] == "new-instance"
    assert record["supervisor"]["pid"] == os.getpid()
    assert record["broker"] is None
    assert record["pid_namespace"].startswith("pid:[")
    assert record["boot_id"]
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_twin_is_refused_in_time_and_named(lock: DirectoryLock, tmp_path: Path, supervisor):
    """A second supervisor waits only as long as told, then refuses, naming the first and what to do."""
    first = supervisor()
    told: list[str] = []
    began = time.monotonic()
    with pytest.raises(IdentityRefused) as caught:
        lock.acquire(0.5, told.append)

    assert 0.5 <= time.monotonic() - began < 5
    assert caught.value.exit_code is ExitCode.IDENTITY
    for words in (str(tmp_path), "old-instance", f"pid {first.process.pid}", "Stop that one"):
        assert words in str(caught.value)
    assert len(told) == 1
    assert "old-instance" in told[0]
    assert first.process.poll() is None


def test_wait_succeeds_when_the_holder_ends(lock: DirectoryLock, supervisor):
    """A task that is still stopping is waited for, and the directory taken as soon as it is gone."""
    first = supervisor()
    lock.acquire(20, lambda _text: first.process.terminate())
    assert first.process.wait(10) == -signal.SIGTERM


def test_broker_keeps_the_lock_after_its_supervisor_was_killed(lock: DirectoryLock, tmp_path: Path, supervisor):
    """kill -9 of the supervisor leaves the directory locked while its broker runs, whatever the file says."""
    first = supervisor("sleep", "300")
    (tmp_path / FILE_NAME).write_text("{}")
    first.kill()

    assert first.broker is not None
    assert first.broker.is_alive()
    with pytest.raises(IdentityRefused, match="a process that did not say who it is"):
        lock.acquire(0.3, lambda _text: None)
    assert first.broker.is_alive()


def test_outlived_broker_is_stopped_and_the_directory_taken(lock: DirectoryLock, supervisor):
    """A broker whose supervisor is proven dead is ended, then the directory is ours."""
    first = supervisor("sleep", "300")
    first.kill()
    told: list[str] = []
    lock.acquire(20, told.append)

    assert not first.broker.is_alive()
    assert "whose supervisor is dead" in told[0]


def test_outlived_broker_that_ignores_sigterm_is_killed(
    lock: DirectoryLock, supervisor, monkeypatch: pytest.MonkeyPatch
):
    """The grace of a stale broker is bounded."""
    monkeypatch.setattr("rmqcluster.process.lock.STALE_BROKER_GRACE_SECONDS", 0.3)
    first = supervisor("python3", "-c", "import signal\nsignal.signal(15, signal.SIG_IGN)\nwhile 1: signal.pause()")
    wait_until(lambda: _ignores_sigterm(first.broker), 10, "the broker to ignore SIGTERM")
    first.kill()
    lock.acquire(20, lambda _text: None)

    assert not first.broker.is_alive()


def test_a_stale_broker_that_cannot_be_ended_is_not_waited_for_for_ever(
    lock: DirectoryLock, supervisor, monkeypatch: pytest.MonkeyPatch
):
    """One that is stuck in the kernel, or another user's: the wait ends when its time is over (S10)."""
    monkeypatch.setattr("rmqcluster.process.lock.stop_process", lambda *_: False)
    first = supervisor("sleep", "300")
    first.kill()
    with pytest.raises(IdentityRefused):
        lock.acquire(0.3, lambda _text: None)


def test_broker_of_a_living_supervisor_is_never_touched(lock: DirectoryLock, supervisor):
    """While the supervisor lives its broker is its own affair."""
    first = supervisor("sleep", "300")
    with pytest.raises(IdentityRefused):
        lock.acquire(0.3, lambda _text: None)

    assert first.broker.is_alive()


@pytest.mark.parametrize("change", ["pid_namespace", "boot_id", "start_ticks"])
def test_process_that_cannot_be_proven_is_never_stopped(lock: DirectoryLock, tmp_path: Path, supervisor, change: str):
    """Ids of another namespace or boot, or of a pid that was used again, are nobody we may end."""
    first = supervisor("sleep", "300")
    first.kill()
    record = json.loads((tmp_path / FILE_NAME).read_text())
    if change == "start_ticks":
        record["broker"]["start_ticks"] += 1
    else:
        record[change] = "another"
    (tmp_path / FILE_NAME).write_text(json.dumps(record))
    with pytest.raises(IdentityRefused):
        lock.acquire(0.3, lambda _text: None)

    assert first.broker.is_alive()


def test_directory_emptied_under_the_holder_is_not_a_lock(tmp_path: Path):
    """A lock on a deleted file is no lock: who comes next locks the file that is there, and both are consistent."""
    first, second = DirectoryLock(tmp_path, "first"), DirectoryLock(tmp_path, "second")
    first.acquire(0, print)
    (tmp_path / FILE_NAME).unlink()
    second.acquire(0, print)

    holder = read_holder(tmp_path / FILE_NAME)
    assert holder is not None
    assert holder.instance == "second"
    first.close()
    second.close()


def test_file_that_is_replaced_while_waiting_is_noticed(lock: DirectoryLock, tmp_path: Path):
    """Each look opens the file anew, so a waiter gets a directory whose lock file was made again."""
    first = DirectoryLock(tmp_path, "first")
    first.acquire(0, print)
    lock.acquire(20, lambda _text: (tmp_path / FILE_NAME).unlink())
    first.close()

    assert os.path.samestat(os.fstat(lock.fileno()), (tmp_path / FILE_NAME).stat())


def test_closing_leaves_the_lock_to_the_broker(tmp_path: Path, lock: DirectoryLock):
    """Letting go by closing does not unlock what a broker still holds."""
    first = DirectoryLock(tmp_path, "first")
    first.acquire(0, print)
    broker = subprocess.Popen(["sleep", "300"], pass_fds=(first.fileno(),))
    first.close()
    try:
        with pytest.raises(IdentityRefused):
            lock.acquire(0.2, lambda _text: None)
    finally:
        broker.kill()
        broker.wait(10)
    lock.acquire(10, lambda _text: None)


def test_wait_can_be_given_up(lock: DirectoryLock, supervisor):
    """Whoever paces the waiting may end it: a stop that is asked for is not delayed by a twin."""
    supervisor()

    def stop_asked(_seconds: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        lock.acquire(60, lambda _text: None, pause=stop_asked)


def test_a_stubborn_broker_does_not_delay_a_stop(lock: DirectoryLock, supervisor):
    """While a stale broker is given time to end, a stop that is asked for is obeyed at once."""
    first = supervisor("python3", "-c", "import signal\nsignal.signal(15, signal.SIG_IGN)\nwhile 1: signal.pause()")
    wait_until(lambda: _ignores_sigterm(first.broker), 10, "the broker to ignore SIGTERM")
    first.kill()

    def stop_asked(_seconds: float) -> None:
        raise InterruptedError

    began = time.monotonic()
    with pytest.raises(InterruptedError):
        lock.acquire(60, lambda _text: None, pause=stop_asked)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff", b'{"instance": 1}', b'{"supervisor": {"pid": "1"}}', b"9" * 9000],
)
def test_unreadable_holder_is_unknown(tmp_path: Path, content: bytes):
    """A half-written or foreign lock file names nobody, and never raises."""
    (tmp_path / "lock").write_bytes(content)
    assert read_holder(tmp_path / "lock") is None
    assert read_holder(tmp_path / "gone") is None


def test_holder_words_are_harmless(tmp_path: Path):
    """Words from the file reach a terminal only printable and short."""
    process = {"pid": 1, "start_ticks": 1}
    record = {
        "instance": "a\x1b[2J" + "x" * 500,
        "supervisor": process,
        "broker": None,
        "pid_namespace": "p",
        "boot_id": "b",
        "host": "h\nj",
    }
    (tmp_path / "lock").write_text(json.dumps(record))
    holder = read_holder(tmp_path / "lock")

    assert holder is not None
    assert str(holder).isprintable()
    assert len(holder.instance) == 80
    assert "another container or on another machine (h?j)" in str(holder)


def test_unusable_directory_is_a_configuration_error(tmp_path: Path):
    """A directory that is not there, or a link in the lock file's place, is told with the mend."""
    with pytest.raises(ConfigurationError, match="must exist and belong to"):
        DirectoryLock(tmp_path / "gone", "x").acquire(0, print)
    (tmp_path / FILE_NAME).symlink_to(tmp_path / "target")
    with pytest.raises(ConfigurationError, match="cannot be locked"):
        DirectoryLock(tmp_path, "x").acquire(0, print)
    assert not (tmp_path / "target").exists()


def _ignores_sigterm(process: ProcessId) -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("SigIgn"))
    return bool(int(line.split()[1], 16) & 1 << (signal.SIGTERM - 1))
