"""Every child process: started, signalled and waited for here and nowhere else.

A PID 1 inherits the orphans of its container and must wait for all children, so `reap` collects whatever has
ended. All waiting is done under one lock that also covers starting and signalling: no child can be collected
before it is known, and no signal can reach the next owner of a pid. `run` collects its own child itself and
so needs no main loop.
"""

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals

from rmqcluster.process import prctl
from rmqcluster.process.launch import Program, launch
from rmqcluster.process.pipes import Pipes

OUTPUT_BYTES_MAX = 4 * 1024 * 1024
TERM_GRACE_SECONDS = 2.0
KILL_GRACE_SECONDS = 5.0  # a process in an uninterruptible system call does not end even by SIGKILL
_REAP_MAX = 256  # one call stays short even while orphans pour in; the caller comes back each turn
_LOOK_SECONDS = 0.05  # where the kernel has no pidfd


class Child:
    """One child. `exit_status` is None while it lives, else its exit code, or minus the signal that ended it."""

    def __init__(self, pid: int, argv: Sequence[str], lock: threading.Lock) -> None:
        self.pid = pid
        self.argv = tuple(argv)
        self.exit_status: int | None = None
        self.ended = threading.Event()
        self.end_group = False  # kill what is left of its process group when it ends
        self._lock = lock

    def signal(self, number: Signals) -> bool:
        """Send a signal; False when it was collected already (its pid may be somebody else's by now)."""
        with self._lock:
            if self.exit_status is not None:
                return False
            os.kill(self.pid, number)
            return True

    def signal_group(self, number: Signals) -> bool:
        """The same for the child and all its descendants that stayed in its process group."""
        with self._lock:
            if self.exit_status is not None:
                return False
            os.killpg(self.pid, number)
            return True


@dataclass(frozen=True, slots=True)
class Ended:
    """One collected process; `child` is None for an orphan that was never ours."""

    pid: int
    exit_status: int
    child: Child | None


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended. `status` is None when it was not seen to end (then `timed_out`)."""

    status: int | None
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    truncated: bool = False  # more was written than is kept


class Children:
    """The children of this process; one object per process.

    `adopt_orphans`: become the parent of all descendants' orphans (a supervisor that is not PID 1).
    """

    def __init__(self, *, adopt_orphans: bool = False) -> None:
        self._lock = threading.Lock()
        self._living: dict[int, Child] = {}
        if adopt_orphans and os.getpid() != 1:
            prctl.adopt_orphans()

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int | None = None,
        stderr: int | None = None,
        user: str | None = None,
        pass_fds: Sequence[int] = (),
        tied: bool = True,
        end_group: bool = False,
    ) -> Child:
        """Start a program and return at once. stdin, stdout and stderr are descriptors (None: ours).

        `tied`: it gets SIGTERM when this process ends in any way. The kernel looks at the starting *thread*,
        so a long-lived child must be started from the main thread. `end_group`: when it ends, the rest of its
        process group is killed. Raises `CommandFailed` when it cannot start.
        """
        if tied and threading.current_thread() is not threading.main_thread():
            raise RuntimeError("a tied child would end with this thread; start it from the main thread")
        child = self._start(Program(argv, env, cwd, user, pass_fds, tied), stdin, stdout, stderr)
        child.end_group = end_group
        return child

    def reap(self) -> list[Ended]:
        """Collect every child that has ended, orphans too; never blocks. Call it at each SIGCHLD."""
        ended: list[Ended] = []
        while len(ended) < _REAP_MAX:
            with self._lock:
                pid = _ended_pid(os.P_ALL, 0)
                if pid is None:
                    break
                ended.append(self._collect(pid))
        return ended

    def wait(self, child: Child, seconds: float) -> int | None:
        """The child's exit status as soon as it ends; None when it lives on after so many seconds."""
        deadline = time.monotonic() + seconds
        with Pipes(child.pid) as pipes:
            while self._poll(child) is None and (left := deadline - time.monotonic()) > 0:
                pipes.turn(left if pipes.sees_end else min(left, _LOOK_SECONDS))
        return child.exit_status

    def end(self, child: Child, grace_seconds: float = TERM_GRACE_SECONDS) -> int | None:
        """SIGTERM to its process group, then SIGKILL; its exit status, None if even that did not end it."""
        child.end_group = True
        child.signal_group(SIGTERM)
        if self.wait(child, grace_seconds) is None:
            child.signal_group(SIGKILL)
        return self.wait(child, KILL_GRACE_SECONDS)

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        deadline_seconds: float,
        input_bytes: bytes = b"",
        cwd: Path | None = None,
        user: str | None = None,
        output_bytes_max: int = OUTPUT_BYTES_MAX,
    ) -> Completed:
        """Run a program to its end, from any thread; at the deadline its whole process group is ended.

        At most `output_bytes_max` of each output is kept, the rest is read and dropped. Output that orphans
        of the program write after its end is not waited for. Raises `CommandFailed` when it cannot start.
        """
        deadline = time.monotonic() + deadline_seconds
        with Pipes(None, input_bytes, output_bytes_max) as pipes:
            child = self._start(Program(argv, env, cwd, user), *pipes.child_ends)
            pipes.started(child.pid)
            while self._poll(child) is None and (left := deadline - time.monotonic()) > 0:
                pipes.turn(left if pipes.sees_end else min(left, _LOOK_SECONDS))
            timed_out = child.exit_status is None
            if timed_out:
                self.end(child)
            pipes.drain()
            return Completed(child.exit_status, pipes.stdout, pipes.stderr, timed_out, pipes.truncated)

    def _start(self, program: Program, stdin: int, stdout: int | None, stderr: int | None) -> Child:
        with self._lock:
            pid = launch(program, stdin, stdout, stderr)
            child = self._living[pid] = Child(pid, program.argv, self._lock)
            return child

    def _poll(self, child: Child) -> int | None:
        with self._lock:
            if child.exit_status is None and _ended_pid(os.P_PID, child.pid) is not None:
                self._collect(child.pid)
            return child.exit_status

    def _collect(self, pid: int) -> Ended:
        """Take the status of a process that has ended; under the lock."""
        child = self._living.pop(pid, None)
        if child is not None and child.end_group:
            _kill_group(pid)  # while its zombie still keeps the number from being used again
        _, raw = os.waitpid(pid, 0)
        status = os.waitstatus_to_exitcode(raw)
        if child is not None:
            child.exit_status = status
            child.ended.set()
        return Ended(pid, status, child)


def _ended_pid(kind: int, pid: int) -> int | None:
    """A child that has ended and is not collected yet; it is only looked at."""
    try:
        found = os.waitid(kind, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found else None


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # nobody is left in it, or only processes that changed to another user
