"""Virtual time, one heap of events, one random generator, and threads that can be paused inside a call.

A paused call runs the rest of the world recursively until its time has passed and then goes on, with its call
stack intact: that is a SIGSTOP between two lines of the code under test. A long act has a call stack of its own
(a fiber), so that it holds up nobody who waits beside it; still only one of all runs at any moment.
"""

import heapq
import random
import threading
from collections.abc import Callable

DEPTH_LIMIT = 12  # so many pauses inside each other; more would only be slower


class Crash(BaseException):
    """The process of this call stack was killed; no handler of expected trouble may catch it."""


class Violation(AssertionError):
    """A promise was broken: the rule's name, and what happened."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(f"{rule}: {text}")
        self.rule = rule


class Kernel:
    def __init__(self, seed: int, tracing: bool = False) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self.depth = 0
        self.events = 0
        self.interrupt: tuple[int, Callable[[], None]] | None = None  # do this once so many events have happened
        self.lines: list[str] | None = [] if tracing else None
        self.fiber: Fiber | None = None  # the one that runs now
        self.fibers: dict[Fiber, None] = {}  # begun and not ended
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._sequence = 0

    def at(self, time: float, act: Callable[[], object]) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (time, self._sequence, act))

    def after(self, seconds: float, act: Callable[[], object]) -> None:
        self.at(self.now + seconds, act)

    def run_until(self, end: float) -> None:
        """Let everything happen that is due until `end`."""
        heap = self._heap
        while heap and heap[0][0] <= end:
            time, _, act = heapq.heappop(heap)
            self.now = max(self.now, time)
            self.events += 1
            if self.interrupt is not None and self.events >= self.interrupt[0]:
                interrupt, self.interrupt = self.interrupt[1], None
                interrupt()
            act()
        self.now = max(self.now, end)

    def nap(self, seconds: float) -> None:
        """The caller stands still for so long, the others do not."""
        if self.fiber is not None:
            self.fiber.sleep(seconds)
            return
        if self.depth >= DEPTH_LIMIT:
            return
        self.depth += 1
        try:
            self.run_until(self.now + seconds)
        finally:
            self.depth -= 1

    def close(self) -> None:
        """End what is still under way; a world that is not needed any more keeps no thread."""
        for fiber in tuple(self.fibers):
            fiber.end()

    def log(self, who: str, text: str) -> None:
        if self.lines is not None:
            self.lines.append(f"{self.now:8.2f} {who:<12} {text}")


class Fiber:
    """One act with a call stack of its own. It runs only while the kernel waits for it, so the order is the heap's."""

    def __init__(self, kernel: Kernel, act: Callable[[], None], may_run: Callable[[], float | None]) -> None:
        self._kernel, self._act, self._may_run = kernel, act, may_run
        self._mine, self._kernels = threading.Semaphore(0), threading.Semaphore(0)
        self._killed = False
        self._failure: BaseException | None = None
        kernel.fibers[self] = None
        threading.Thread(target=self._main, daemon=True).start()
        kernel.after(0.02, self._resume)

    def sleep(self, seconds: float) -> None:
        """Called from inside. Raises Crash when its process is no more."""
        if not self._killed:
            self._kernel.after(seconds, self._resume)
            self._kernels.release()
            self._mine.acquire()
        if self._killed:
            raise Crash

    def end(self) -> None:
        """Its process is no more."""
        self._killed = True
        self._go()

    def _resume(self) -> None:
        if self not in self._kernel.fibers:
            return
        wait = self._may_run()
        if wait is None:
            self.end()
        elif wait > 0:
            self._kernel.after(max(wait, 0.2), self._resume)
        else:
            self._go()

    def _go(self) -> None:
        self._kernel.fiber = self
        self._mine.release()
        self._kernels.acquire()
        self._kernel.fiber = None
        if self._failure is not None:
            raise self._failure

    def _main(self) -> None:
        self._mine.acquire()
        try:
            if not self._killed:
                self._act()
        except Crash:
            pass  # the process of this call stack was killed
        except BaseException as error:  # told by whoever waits for it
            self._failure = error
        finally:
            self._kernel.fibers.pop(self, None)
            self._kernels.release()


class Thread:
    """Repeats a step of one process; the step returns the seconds until the next."""

    __slots__ = ("_due", "_kernel", "_running", "_step", "_token", "may_run")

    def __init__(self, kernel: Kernel, step: Callable[[], float], may_run: Callable[[], float | None]) -> None:
        self._kernel, self._step, self.may_run = kernel, step, may_run
        self._token, self._due, self._running = 0, float("inf"), False

    def wake(self) -> None:
        self.due_in(0.02)

    def due_in(self, seconds: float) -> None:
        """Run no later than in so many seconds."""
        time = self._kernel.now + seconds
        if time >= self._due:
            return
        self._token += 1
        token, self._due = self._token, time
        self._kernel.at(time, lambda: self._fire(token))

    def _fire(self, token: int) -> None:
        if token != self._token:
            return
        self._due = float("inf")
        wait = self.may_run()
        if wait is None:
            return
        if wait > 0 or self._running:
            self.due_in(max(wait, 0.2))
            return
        self._running = True
        try:
            pause = self._step()
        except Crash:
            return
        finally:
            self._running = False
        self.due_in(pause)
