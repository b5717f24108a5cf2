"""The parent's side of one command: feeds its input, keeps its output within a limit, notices its end."""

import os
import selectors
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 65536


class Pipes:
    """Pipes to and from one child, and the descriptor that tells of its end. Used by one thread."""

    def __init__(self, pid: int | None, input_bytes: bytes = b"", limit_bytes: int = 0) -> None:
        self._selector = selectors.DefaultSelector()
        self._input = memoryview(input_bytes)
        self._limit = limit_bytes
        self._kept: dict[int, bytearray] = {}
        self._open: set[int] = set()
        self._end: int | None = None
        self.truncated = False
        self.child_ends: tuple[int, int, int] = (-1, -1, -1)
        if pid is None:
            self._make_pipes()
        else:
            self._watch_end(pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._selector.close()
        for descriptor in self._open:
            os.close(descriptor)

    @property
    def stdout(self) -> bytes:
        return bytes(self._kept[self._stdout])

    @property
    def stderr(self) -> bytes:
        return bytes(self._kept[self._stderr])

    @property
    def sees_end(self) -> bool:
        """Does a turn end as soon as the child ends? Not where the kernel has no pidfd."""
        return self._end is not None

    def started(self, pid: int) -> None:
        """Close the child's ends, so that its own closing is seen, and watch for its end."""
        for descriptor in self.child_ends:
            self._close(descriptor)
        self._watch_end(pid)

    def turn(self, seconds: float) -> None:
        """Wait until something can be read or written or the child has ended, at most so long."""
        for key, _ in self._selector.select(seconds):
            if key.fd == self._end:
                continue
            if key.fd in self._kept:
                self._read(key.fd)
            else:
                self._write(key.fd)

    def drain(self) -> None:
        """Read what the child has left in the pipes; orphans that hold them open are not waited for."""
        for descriptor in self._kept:
            # A pipe holds less than 64 chunks; an orphan that goes on writing is cut off there.
            for _ in range(64):
                if descriptor not in self._open or not self._read(descriptor):
                    break

    def _make_pipes(self) -> None:
        flags = os.O_CLOEXEC
        (child_in, to_child), (self._stdout, child_out), (self._stderr, child_err) = (os.pipe2(flags) for _ in range(3))
        self.child_ends = (child_in, child_out, child_err)
        self._open |= {child_in, to_child, self._stdout, child_out, self._stderr, child_err}
        for descriptor in (to_child, self._stdout, self._stderr):
            os.set_blocking(descriptor, False)
        for descriptor in (self._stdout, self._stderr):
            self._kept[descriptor] = bytearray()
            self._selector.register(descriptor, selectors.EVENT_READ)
        if self._input:
            self._selector.register(to_child, selectors.EVENT_WRITE)
        else:
            self._close(to_child)

    def _watch_end(self, pid: int) -> None:
        try:
            self._end = os.pidfd_open(pid)
        except OSError:
            return  # collected already, or an old kernel or a container's filter: the caller looks by time
        self._open.add(self._end)
        self._selector.register(self._end, selectors.EVENT_READ)

    def _read(self, descriptor: int) -> bool:
        """Read once; False when there is nothing now or nothing more."""
        try:
            data = os.read(descriptor, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._close(descriptor)
            return False
        kept = self._kept[descriptor]
        room = self._limit - len(kept)
        kept += data[:room]
        self.truncated = self.truncated or len(data) > room
        return True

    def _write(self, descriptor: int) -> None:
        try:
            written = os.write(descriptor, self._input[:_CHUNK_BYTES])
        except BlockingIOError:
            return
        except BrokenPipeError:
            written = len(self._input)  # it does not want the rest; its exit status tells whether that is bad
        self._input = self._input[written:]
        if not self._input:
            self._close(descriptor)

    def _close(self, descriptor: int) -> None:
        if descriptor not in self._open:
            return
        self._open.remove(descriptor)
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)
        os.close(descriptor)
