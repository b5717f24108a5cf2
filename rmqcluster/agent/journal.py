"""What happened: one log line for each change, never for each tick.

Lines go through a bounded queue to one writer thread: a blocked or closed standard output costs lines, which
are counted, and never a heartbeat.
"""

import json
import queue
import sys
import threading
from datetime import UTC, datetime

LINE_LIMIT = 2000
QUEUE_LIMIT = 2000


def printable(text: str) -> str:
    """One line without control characters: values from outside cannot forge log lines."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:LINE_LIMIT])


class Journal:
    """Formats lines as text or JSON. Never raises and never blocks."""

    def __init__(self, actor: str, style: str) -> None:
        self._actor, self._style = actor, style
        self._queue: queue.Queue[str | None] = queue.Queue(QUEUE_LIMIT)
        self._lost = 0
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float = 1.0) -> None:
        """Write what is queued, waiting at most `seconds`."""
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(seconds)

    def say(self, text: str, *, kind: str = "note", rule: int = 0, epoch: int = 0) -> None:
        now = datetime.now(UTC)
        if self._style == "json":
            record = {"time": now.isoformat(), "node": self._actor, "kind": kind, "text": printable(text)}
            self._put(json.dumps(record | {"rule": rule, "epoch": epoch}))
            return
        by = f" [{rule}]" if rule else ""
        self._put(f"{now:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + f"Z rmqcluster {kind}{by} {printable(text)}")

    def broker_line(self, line: str) -> None:
        """A line of the broker's own output, passed on as it is in text style."""
        if self._style == "json":
            self.say(line, kind="broker")
        else:
            self._put(printable(line))

    def _put(self, line: str) -> None:
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self._lost += 1

    def _write(self) -> None:
        while (line := self._queue.get()) is not None:
            if self._lost:
                line, self._lost = f"{line}\n({self._lost} log lines were lost: nobody read)", 0
            try:
                sys.stdout.write(line + "\n")
                sys.stdout.flush()
            except (OSError, ValueError):
                self._lost += 1
