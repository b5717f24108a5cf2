"""One descriptor that becomes readable when a signal has come or another thread wants attention.

A `select` loop watches it; nothing is done inside a signal handler but to remember the signal.
"""

import os
import select
import signal
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Self

DEFAULT_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP)


class Wakeup:
    """Takes over the given signals until closed. Create, drain and close it in the main thread."""

    def __init__(self, signals: Sequence[signal.Signals] = DEFAULT_SIGNALS) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._seen: set[signal.Signals] = set()
        # The kernel may hand a signal to any thread; only this descriptor ends a `select` in the main one.
        self._old_descriptor = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._old_handlers = {number: signal.signal(number, self._remember) for number in signals}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        return self._reader

    def wake(self) -> None:
        """End the loop's wait; from any thread."""
        try:
            os.write(self._writer, b"\0")
        except BlockingIOError:
            return  # full: the loop is awake already

    def wait(self, seconds: float) -> bool:
        """Wait until woken, at most so long; True when woken. Nothing is drained."""
        return bool(select.select([self._reader], [], [], max(0.0, seconds))[0])

    def drain(self) -> frozenset[signal.Signals]:
        """The signals that came since the last call, each once; the descriptor is quiet afterwards."""
        with suppress(BlockingIOError):  # nothing is left in it
            while os.read(self._reader, 4096):
                pass
        seen, self._seen = self._seen, set()
        return frozenset(seen)

    def close(self) -> None:
        """Give the signals back to whoever had them."""
        for number, handler in self._old_handlers.items():
            # None stands for a handler that Python did not set and cannot set again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._old_descriptor)
        os.close(self._reader)
        os.close(self._writer)

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        self._seen.add(signal.Signals(number))
        # Python runs this some time after its byte was written, perhaps after that byte was drained.
        self.wake()
