"""Who a process id is, read from /proc: an id alone is reused, an id with its start time is not."""

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_STATE, _THREADS, _START_TICKS = (
    0,
    17,
    19,
)  # fields 3, 20 and 22 of proc(5) stat, counted from behind the command's name


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process for all time (of one boot, in one pid namespace)."""

    pid: int
    start_ticks: int

    def is_alive(self) -> bool:
        """A zombie is not alive once its last thread has ended: then it holds no file and answers nothing."""
        return identify(self.pid) == self


def identify(pid: int) -> ProcessId | None:
    """The process that has this id now; None when there is none, or only its zombie."""
    try:
        text = (_PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name may hold spaces and brackets; only the last bracket is certain.
    fields = text.rpartition(")")[2].split()
    ended = fields[_STATE] in "ZX" and int(fields[_THREADS]) <= 1
    return None if ended else ProcessId(pid, int(fields[_START_TICKS]))


def myself() -> ProcessId:
    found = identify(os.getpid())
    assert found is not None, "/proc is not mounted for this process"
    return found


def pid_namespace() -> str:
    """Names the pid namespace; ids of another one say nothing here."""
    return str((_PROC / "self/ns/pid").readlink())


def boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
