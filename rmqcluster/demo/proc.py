"""Processes of the demo: found again by an environment marker when nobody remembers them, and ended for sure."""

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from rmqcluster.process.procfs import ProcessId, identify

PROC = Path("/proc")
POLL_SECONDS = 0.02


def marked(marker: str) -> list[ProcessId]:
    """All processes whose environment holds an entry that begins with `marker`, except this one; oldest first."""
    wanted = marker.encode()
    return [
        process
        for process in _everyone()
        if any(entry.startswith(wanted) for entry in _read(process.pid, "environ").split(b"\0"))
    ]


def working_in(directory: Path, command: str) -> list[ProcessId]:
    """All processes of this name whose working directory this is: Redis writes its title over its environment."""
    return [
        process
        for process in _everyone()
        if command_name(process) == command and _working_directory(process.pid) == str(directory)
    ]


def command_name(process: ProcessId) -> str:
    return _read(process.pid, "comm").decode("utf-8", "replace").strip()


def arguments(process: ProcessId) -> list[str]:
    return _read(process.pid, "cmdline").decode("utf-8", "replace").split("\0")


def send(processes: Iterable[ProcessId], number: signal.Signals) -> None:
    """Signal those that still live."""
    for process in processes:
        if process.is_alive():
            try:
                os.kill(process.pid, number)
            except ProcessLookupError:
                continue


def wait_gone(processes: Iterable[ProcessId], seconds: float) -> list[ProcessId]:
    """Wait until all are gone; returns those that are still there after `seconds`."""
    deadline = time.monotonic() + seconds
    left = list(processes)
    while True:
        left = [process for process in left if process.is_alive() or not _is_collected(process)]
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(POLL_SECONDS)


def _is_collected(process: ProcessId) -> bool:
    """Take the exit status of a child of this very process: it is there when its last thread has ended, not before."""
    try:
        return os.waitpid(process.pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True  # nobody's, or another's


def end(processes: Iterable[ProcessId], term_seconds: float, kill_seconds: float = 10.0) -> list[ProcessId]:
    """SIGTERM, wait, SIGKILL, wait; returns what is still there (a process stuck in the kernel)."""
    left = list(processes)
    if term_seconds > 0:
        send(left, signal.SIGTERM)
        send(left, signal.SIGCONT)
        left = wait_gone(left, term_seconds)
    send(left, signal.SIGKILL)
    return wait_gone(left, kill_seconds)


def _everyone() -> list[ProcessId]:
    pids = sorted(int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())
    found = [process for pid in pids if pid != os.getpid() and (process := identify(pid)) is not None]
    return sorted(found, key=lambda process: (process.start_ticks, process.pid))


def _working_directory(pid: int) -> str | None:
    try:
        return str((PROC / str(pid) / "cwd").readlink())
    except OSError:
        return None  # gone, or another user's


def _read(pid: int, name: str) -> bytes:
    try:
        return (PROC / str(pid) / name).read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""  # gone, or another user's
