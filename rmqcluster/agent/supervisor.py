"""PID 1: turns the loop, collects children, hands signals on, and ends with a code that says why.

Nothing in the loop waits for Redis, a broker or a disk that hangs: those have workers. The loop itself only
waits for a descriptor or for the next turn.
"""

import selectors
import time
from collections.abc import Callable, Mapping, Sequence
from signal import SIGINT, SIGTERM
from typing import Protocol

from rmqcluster.agent.agent import Agent
from rmqcluster.agent.journal import Journal
from rmqcluster.agent.store_worker import StoreWorker
from rmqcluster.agent.threads import Stepper
from rmqcluster.core.actions import ExitProcess
from rmqcluster.core.model import Exit
from rmqcluster.errors import ConfigurationError, ExitCode, IdentityRefused, RmqclusterError
from rmqcluster.process.children import Children
from rmqcluster.process.notify import NotifySocket
from rmqcluster.process.signals import Wakeup

STEADY_TURN_SECONDS = 2.0
UNSETTLED_TURN_SECONDS = 0.25
STOPPING_TURN_SECONDS = 0.1
FAREWELL_SECONDS = 1.0  # how long the last words to Redis may take
KILLED_SECONDS = 2.0  # how long a process may take to end after SIGKILL
RESERVE_SECONDS = 0.8  # of a stop: for the HTTP server, the log and the interpreter to end
SHARE_SECONDS_MIN = 0.05


class StopBudget:
    """The time that one stop may take, whatever hangs."""

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        self._seconds, self._monotonic = seconds, monotonic
        self._ends_at: float | None = None

    @property
    def has_begun(self) -> bool:
        return self._ends_at is not None

    def begin(self) -> None:
        if self._ends_at is None:
            self._ends_at = self._monotonic() + self._seconds

    def share(self, seconds: float) -> float:
        """At most so long, and so that what comes after has its time; without a stop there is no hurry."""
        if self._ends_at is None:
            return seconds
        left = self._ends_at - RESERVE_SECONDS - self._monotonic()
        return max(SHARE_SECONDS_MIN, min(seconds, left))


class SupervisedBroker(Protocol):
    """What the loop does with the broker process besides the port `BrokerProcess`."""

    @property
    def pid(self) -> int | None: ...

    def output_fileno(self) -> int: ...

    def on_readable(self) -> None: ...

    def on_notify(self, fields: Mapping[str, str]) -> None: ...

    def on_exit(self, status: int | None) -> None: ...

    def kill(self) -> None: ...

    def close(self) -> None: ...


class Supervisor:
    """One member's process. `run` returns its exit code."""

    def __init__(
        self,
        agent: Agent,
        broker: SupervisedBroker,
        children: Children,
        wakeup: Wakeup,
        notify: NotifySocket,
        worker: StoreWorker,
        steppers: Sequence[Stepper],
        journal: Journal,
        budget: StopBudget,
    ) -> None:
        self._agent, self._broker, self._children = agent, broker, children
        self._wakeup, self._notify, self._worker = wakeup, notify, worker
        self._steppers, self._journal, self._budget = steppers, journal, budget
        self._trouble = ""
        self._has_ticked = False
        self._told_exit: Exit | None = None
        self._selector = selectors.DefaultSelector()
        self._selector.register(wakeup, selectors.EVENT_READ)
        self._selector.register(notify, selectors.EVENT_READ)
        self._selector.register(broker.output_fileno(), selectors.EVENT_READ)

    def run(self) -> int:
        """Turn until a rule asks to end the process; no broker of ours runs when this returns or raises."""
        leaving: ExitProcess | None = None
        try:
            self._agent.event("start", "supervisor started")
            while leaving is None:
                for stepper in self._steppers:
                    stepper.start()
                leaving = self._tick()
                self._tell_new_exit()
                if leaving is None:
                    self._turn()
            return self._leave(leaving)
        finally:
            self._end_broker()
            self._broker.close()
            self._selector.close()
            for stepper in self._steppers:
                stepper.stop(0.0)

    def _tick(self) -> ExitProcess | None:
        """One tick. Trouble (a full disk, a command that failed) never costs a running broker; it is tried again."""
        try:
            leaving = self._agent.tick()
        except RmqclusterError as error:
            if self._broker.pid is None and self._is_final(error):
                raise
            if str(error) != self._trouble:
                self._trouble = str(error)
                goes_on = "it is tried again" if self._broker.pid is None else "the broker goes on"
                self._journal.say(f"{error}; {goes_on}", kind="trouble")
            return None
        self._trouble, self._has_ticked = "", True
        return leaving

    def _is_final(self, error: RmqclusterError) -> bool:
        """What worked before is not wrongly configured: it is short of space or out of reach, and may come back."""
        return isinstance(error, IdentityRefused) or (isinstance(error, ConfigurationError) and not self._has_ticked)

    def _turn(self) -> None:
        published = self._agent.published
        steady = published is not None and published.registered and published.decision.rule >= 630
        seconds = STEADY_TURN_SECONDS if steady else UNSETTLED_TURN_SECONDS
        self._selector.select(STOPPING_TURN_SECONDS if self._budget.has_begun else seconds)
        if {SIGTERM, SIGINT} & self._wakeup.drain():
            self._budget.begin()
            self._agent.ask_stop()
        self._broker.on_readable()
        for fields in self._notify.read():
            self._broker.on_notify(fields)
        self._collect()

    def _collect(self) -> None:
        for ended in self._children.reap():
            if ended.pid == self._broker.pid:
                self._broker.on_exit(ended.exit_status)
        self._tell_new_exit()

    def _tell_new_exit(self) -> None:
        """An end that nobody asked for is told once; a start that failed is one, too."""
        exits = self._agent.broker_exits()
        if exits and exits[-1] != self._told_exit:
            self._told_exit = exits[-1]
            self._agent.event("crash", f"the broker ended: {exits[-1].reason}")

    def _leave(self, leaving: ExitProcess) -> int:
        level = "stopped" if leaving.code == ExitCode.OK else "exit"
        self._agent.event(level, leaving.reason)
        self._end_broker()
        self._worker.drain(self._budget.share(FAREWELL_SECONDS))
        self._journal.say(f"exit {int(leaving.code)}: {leaving.reason}", kind=level)
        return int(leaving.code)

    def _end_broker(self) -> None:
        """Whoever leaves while a broker is there has signalled it, or does not know what it does any more."""
        if self._broker.pid is None:
            return
        self._broker.kill()
        deadline = time.monotonic() + self._budget.share(KILLED_SECONDS)
        while self._broker.pid is not None and time.monotonic() < deadline:
            self._selector.select(STOPPING_TURN_SECONDS)
            self._wakeup.drain()
            self._broker.on_readable()
            self._collect()
