"""The broker's output: read by the loop, kept in part for the reason of an end, passed on to our own output.

Reading never blocks and never stops: a broker whose pipe is full would stand still. `forward` must not block
either, however stuck the reader of our own output is.
"""

import os
import re
from collections import deque
from collections.abc import Callable

from rmqcluster.broker.reason import is_telling

LINES_KEPT = 200
TELLING_KEPT = 80
LINE_CHARACTERS_MAX = 2000
_READS_PER_TURN = 16  # of 64 KiB: one turn of the loop stays short under a flood
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class Tail:
    """The last lines, and the first telling ones: 3.10 prints hundreds of lines after the reason of its end."""

    def __init__(self) -> None:
        self._last: deque[str] = deque(maxlen=LINES_KEPT)
        self._telling: list[str] = []
        self._following = 0

    def add(self, line: str) -> None:
        self._last.append(line)
        if is_telling(line):
            self._following = 8  # what is said about it comes in the next lines
        if self._following > 0 and len(self._telling) < TELLING_KEPT:
            self._telling.append(line)
            self._following -= 1

    def clear(self) -> None:
        self._last.clear()
        self._telling.clear()
        self._following = 0

    def lines(self) -> list[str]:
        """Telling lines first, then the last ones."""
        return [*self._telling, *self._last]


class OutputPipe:
    """A pipe that outlives single boots: register `fileno()` once, call `on_readable()` when it has something."""

    def __init__(self, forward: Callable[[str], None]) -> None:
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._forward = forward
        self._partial = b""
        self.tail = Tail()

    def fileno(self) -> int:
        return self._read_end

    def on_readable(self) -> None:
        for _ in range(_READS_PER_TURN):
            try:
                chunk = os.read(self._read_end, 65536)
            except BlockingIOError:
                return
            *whole, self._partial = (self._partial + chunk).split(b"\n")
            for raw in whole:
                self._take(raw)
            if len(self._partial) > 2 * LINE_CHARACTERS_MAX:
                self._take(self._partial)
                self._partial = b""

    def _take(self, raw: bytes) -> None:
        line = clean(raw)
        self.tail.add(line)
        self._forward(line)

    def tell(self, line: str) -> None:
        """Something about the broker that it cannot say itself; passed on, and no part of its last words."""
        self._forward(line)

    def close(self) -> None:
        os.close(self._read_end)
        os.close(self.write_end)


def clean(raw: bytes) -> str:
    """One line of text: no colours, no control characters, bounded in length."""
    text = _ESCAPES.sub("", raw[: 4 * LINE_CHARACTERS_MAX].decode("utf-8", errors="replace"))
    return _CONTROL.sub("�", text.rstrip("\r"))[:LINE_CHARACTERS_MAX]
