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
    found = []
    for pid in (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()):
        process = None if pid == os.getpid() else identify(pid)
        if process is not None and any(entry.startswith(wanted) for entry in _read(pid, "environ").split(b"\0")):
            found.append(process)
    return sorted(found, key=lambda process: (process.start_ticks, process.pid))


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
        reap(left)
        left = [process for process in left if process.is_alive()]
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(POLL_SECONDS)


def reap(processes: Iterable[ProcessId]) -> None:
    """Take the exit status of those that are children of this very process."""
    for process in processes:
        try:
            os.waitpid(process.pid, os.WNOHANG)
        except ChildProcessError:
            continue


def end(processes: Iterable[ProcessId], term_seconds: float, kill_seconds: float = 10.0) -> list[ProcessId]:
    """SIGTERM, wait, SIGKILL, wait; returns what is still there (a process stuck in the kernel)."""
    left = list(processes)
    if term_seconds > 0:
        send(left, signal.SIGTERM)
        send(left, signal.SIGCONT)
        left = wait_gone(left, term_seconds)
    send(left, signal.SIGKILL)
    return wait_gone(left, kill_seconds)


def _read(pid: int, name: str) -> bytes:
    try:
        return (PROC / str(pid) / name).read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""  # gone, or another user's
