"""The exclusive lock of a data directory: at most one supervisor, and no broker that outlived its own.

The lock is an flock on a file in the directory. The broker inherits the descriptor (`pass_fds`), so while a
broker runs the directory stays locked even if its supervisor was killed with SIGKILL. The file says who holds
it; the flock alone decides. It protects on one machine, and across machines only where the file system
carries flock between them (NFSv4 does, many others do not).
"""

import fcntl
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rmqcluster.errors import ConfigurationError, IdentityRefused
from rmqcluster.process.procfs import ProcessId, boot_id, identify, myself, pid_namespace

FILE_NAME = ".rmqcluster.lock"
STALE_BROKER_GRACE_SECONDS = 5.0
_HOLDER_BYTES_MAX = 4096
_LOOK_SECONDS = 0.1  # flock knows no time limit, so the lock is asked for again and again


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the directory, in its own words."""

    instance: str
    supervisor: ProcessId
    broker: ProcessId | None
    pid_namespace: str
    boot_id: str
    host: str

    def is_neighbour(self) -> bool:
        """Do its process ids mean anything to us?"""
        return (self.pid_namespace, self.boot_id) == (pid_namespace(), boot_id())

    def outlived_broker(self) -> ProcessId | None:
        """Its broker, when that runs although its supervisor is proven dead."""
        if not self.is_neighbour() or self.supervisor.is_alive():
            return None
        return self.broker if self.broker and self.broker.is_alive() else None

    def __str__(self) -> str:
        place = "" if self.is_neighbour() else f" in another container or on another machine ({self.host})"
        return f"instance {self.instance}, supervisor pid {self.supervisor.pid}{place}"


class DirectoryLock:
    """The lock of one data directory; held until `close` and until every inheritor has ended."""

    def __init__(self, directory: Path, instance: str) -> None:
        self._path = directory / FILE_NAME
        self._instance = instance
        self._descriptor: int | None = None
        self.predecessor: Holder | None = None  # who held it before; proven dead once the lock is ours

    def acquire(
        self,
        wait_seconds: float,
        on_wait: Callable[[str], None],
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        """Take the lock, waiting so long for the old holder to go; `on_wait` is told once whom we wait for.

        A broker whose supervisor is dead is stopped: it serves a name and data that are now ours. `pause` is
        called between two looks and may raise to give up. Raises `IdentityRefused` naming the holder when the
        time is over, `ConfigurationError` when the directory cannot be used.
        """
        deadline = time.monotonic() + wait_seconds
        told = ""
        while not self._try():
            holder = read_holder(self._path)
            if stale := holder and holder.outlived_broker():
                on_wait(f"{self._path.parent}: stopping broker pid {stale.pid}, whose supervisor is dead")
                if stop_process(stale, STALE_BROKER_GRACE_SECONDS, pause):
                    deadline = max(deadline, time.monotonic() + STALE_BROKER_GRACE_SECONDS)  # its helpers hold it, too
                holder = None
            text = f"{self._path.parent} is in use by {holder or 'a process that did not say who it is'}"
            if time.monotonic() >= deadline:
                raise IdentityRefused(
                    f"{text}; waited {wait_seconds:g} s. Stop that one, or give this member a data directory of its own"
                )
            if text != told:
                on_wait(f"{text}; waiting up to {wait_seconds:g} s for it to end")
                told = text
            pause(_LOOK_SECONDS)
        self.predecessor = read_holder(self._path)
        self.record_broker(None)

    def fileno(self) -> int:
        """The descriptor that the broker must inherit."""
        assert self._descriptor is not None, "the lock is not held"
        return self._descriptor

    def record_broker(self, pid: int | None) -> None:
        """Write down who holds the directory, with the broker just started (None: no broker)."""
        holder = Holder(
            self._instance,
            myself(),
            None if pid is None else identify(pid),
            pid_namespace(),
            boot_id(),
            socket.gethostname(),
        )
        content = json.dumps(asdict(holder)).encode()
        # One write and then the cut: a reader sees the old text, the new one, or text that is no JSON.
        os.pwrite(self.fileno(), content, 0)
        os.ftruncate(self.fileno(), len(content))

    def close(self) -> None:
        """Let go. Never by LOCK_UN: that would also unlock for a broker that still has the directory open."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _try(self) -> bool:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"the data directory cannot be locked: {self._path}: {error.strerror}. "
                "It must exist and belong to the broker's user"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The file may have been deleted and made anew since it was opened: then we locked nothing.
            locked = _is_path_of(descriptor, self._path)
        except BlockingIOError:
            locked = False
        except OSError as error:
            os.close(descriptor)
            raise ConfigurationError(
                f"the data directory cannot be locked: {self._path}: {error.strerror}. "
                "Its file system must support flock"
            ) from error
        if locked:
            self._descriptor = descriptor
        else:
            os.close(descriptor)
        return locked


def read_holder(path: Path) -> Holder | None:
    """Who the lock file names; None when it cannot be read or makes no sense (it may be half written)."""
    try:
        with path.open("rb") as file:
            record: Any = json.loads(file.read(_HOLDER_BYTES_MAX))
        broker = record["broker"]
        return Holder(
            _word(record["instance"]),
            _process(record["supervisor"]),
            None if broker is None else _process(broker),
            str(record["pid_namespace"]),
            str(record["boot_id"]),
            _word(record["host"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def stop_process(process: ProcessId, grace_seconds: float, pause: Callable[[float], object] = time.sleep) -> bool:
    """End a process that is not our child: SIGTERM, then SIGKILL; False when it lives on or is not ours to end.

    `pause` is called between two looks and may raise to give up.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return not process.is_alive()
    try:
        if not process.is_alive():
            return True  # the id was reused before the descriptor was bound to it
        for number in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(descriptor, number)
            if _ends(descriptor, grace_seconds, pause):
                return True
        return False
    except PermissionError:
        return False
    except ProcessLookupError:
        return True
    finally:
        os.close(descriptor)


def _ends(descriptor: int, seconds: float, pause: Callable[[float], object]) -> bool:
    """Does the process of this pidfd end in time?"""
    deadline = time.monotonic() + seconds
    while not select.select([descriptor], [], [], 0.0)[0]:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        pause(min(left, _LOOK_SECONDS))
    return True


def _is_path_of(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


def _process(record: Any) -> ProcessId:
    pid, ticks = record["pid"], record["start_ticks"]
    if type(pid) is not int or type(ticks) is not int or pid < 1:
        raise ValueError("not a process")
    return ProcessId(pid, ticks)


def _word(value: Any) -> str:
    text = str(value)[:80]
    return "".join(c if c.isprintable() else "?" for c in text)
