"""The few threads of a supervisor. Each repeats one step, or runs one long act; none of them decides anything."""

import threading
from collections.abc import Callable

from rmqcluster.agent.journal import Journal


class Stepper:
    """Repeats `step`, which returns the seconds until it is due again, until it is stopped.

    A step handles all expected trouble itself. Anything else is a bug: it is reported, and the loop that owns
    this thread starts it again, so that a heartbeat does not end with a mistake elsewhere.
    """

    def __init__(self, name: str, step: Callable[[], float], journal: Journal) -> None:
        self._name, self._step, self._journal = name, step, journal
        self._due = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start, or start again when it has died; nothing happens while it lives."""
        if self._stopping or (self._thread is not None and self._thread.is_alive()):
            return
        self._thread = threading.Thread(target=self._repeat, name=self._name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """The next step is due now."""
        self._due.set()

    def stop(self, seconds: float) -> None:
        """Ask for the end and wait at most `seconds`; a call that hangs is left to end with the process."""
        self._stopping = True
        self._due.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def _repeat(self) -> None:
        try:
            while not self._stopping:
                pause = self._step()
                self._due.wait(max(0.0, pause))
                self._due.clear()
        finally:
            if not self._stopping:
                self._journal.say(f"worker {self._name} ended by a bug; it is started again", kind="bug")


class LongActRunner:
    """At most one long act at a time, each in a thread of its own."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self._on_end = on_end
        self._busy: str | None = None

    @property
    def busy(self) -> str | None:
        return self._busy

    def run(self, name: str, act: Callable[[], None]) -> None:
        """Start `act`. The caller has seen that nothing is busy; the loop is the only caller."""
        assert self._busy is None, "one long act at a time"
        self._busy = name

        def do() -> None:
            try:
                act()
            finally:
                self._busy = None
                self._on_end()

        threading.Thread(target=do, name=f"long-{name}", daemon=True).start()
