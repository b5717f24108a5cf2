"""PID 1: turns the loop, collects children, hands signals on, and ends with a code that says why.

Nothing in the loop waits for Redis, a broker or a disk that hangs: those have workers. The loop itself only
waits for a descriptor or for the next turn.
"""

import selectors
from collections.abc import Mapping, Sequence
from signal import SIGINT, SIGTERM
from typing import Protocol

from rmqcluster.agent.agent import Agent
from rmqcluster.agent.journal import Journal
from rmqcluster.agent.store_worker import StoreWorker
from rmqcluster.agent.threads import Stepper
from rmqcluster.core.actions import ExitProcess
from rmqcluster.errors import ExitCode, RmqclusterError
from rmqcluster.process.children import Children
from rmqcluster.process.notify import NotifySocket
from rmqcluster.process.signals import Wakeup

STEADY_TURN_SECONDS = 2.0
UNSETTLED_TURN_SECONDS = 0.25
FAREWELL_SECONDS = 1.0  # how long the last words to Redis may take


class SupervisedBroker(Protocol):
    """What the loop does with the broker process besides the port `BrokerProcess`."""

    @property
    def pid(self) -> int | None: ...

    def output_fileno(self) -> int: ...

    def on_readable(self) -> None: ...

    def on_notify(self, fields: Mapping[str, str]) -> None: ...

    def on_exit(self, status: int | None) -> None: ...

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
    ) -> None:
        self._agent, self._broker, self._children = agent, broker, children
        self._wakeup, self._notify, self._worker = wakeup, notify, worker
        self._steppers, self._journal = steppers, journal
        self._trouble = ""
        self._selector = selectors.DefaultSelector()
        self._selector.register(wakeup, selectors.EVENT_READ)
        self._selector.register(notify, selectors.EVENT_READ)
        self._selector.register(broker.output_fileno(), selectors.EVENT_READ)

    def run(self) -> int:
        """Turn until a rule asks to end the process."""
        leaving: ExitProcess | None = None
        self._agent.event("start", "supervisor started")
        while leaving is None:
            for stepper in self._steppers:
                stepper.start()
            leaving = self._tick()
            if leaving is None:
                self._turn()
        return self._leave(leaving)

    def _tick(self) -> ExitProcess | None:
        """One tick. Trouble with our own files (a full disk) never costs a running broker; it is tried again."""
        try:
            leaving = self._agent.tick()
        except RmqclusterError as error:
            if self._broker.pid is None:
                raise
            if str(error) != self._trouble:
                self._trouble = str(error)
                self._journal.say(f"{error}; the broker goes on", kind="trouble")
            return None
        self._trouble = ""
        return leaving

    def _turn(self) -> None:
        published = self._agent.published
        steady = published is not None and published.registered and published.decision.rule >= 630
        self._selector.select(STEADY_TURN_SECONDS if steady else UNSETTLED_TURN_SECONDS)
        signals = self._wakeup.drain()
        if SIGTERM in signals or SIGINT in signals:
            self._agent.ask_stop()
        self._broker.on_readable()
        for fields in self._notify.read():
            self._broker.on_notify(fields)
        self._collect()

    def _collect(self) -> None:
        for ended in self._children.reap():
            if ended.pid != self._broker.pid:
                continue
            before = self._agent.broker_exits()
            self._broker.on_exit(ended.exit_status)
            after = self._agent.broker_exits()
            if len(after) > len(before):
                self._agent.event("crash", f"the broker ended: {after[-1].reason}")

    def _leave(self, leaving: ExitProcess) -> int:
        level = "stopped" if leaving.code == ExitCode.OK else "exit"
        self._agent.event(level, leaving.reason)
        self._worker.drain(FAREWELL_SECONDS)
        self._broker.close()
        for stepper in self._steppers:
            stepper.stop(0.0)
        self._journal.say(f"exit {int(leaving.code)}: {leaving.reason}", kind=level)
        return int(leaving.code)
