"""Asks for one operation and follows it to its end: the record in Redis is lock and request, an event is the answer.

Who carries it out is the subject's supervisor or the holder of the monitor lease; this only writes and reads.
"""

import getpass
import os
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event as Pacing

from rmqcluster.agent.ports import Event
from rmqcluster.cli import guards
from rmqcluster.cli.session import Session
from rmqcluster.core.actions import StartOperation
from rmqcluster.core.model import Operation, OperationKind, StoreView
from rmqcluster.core.operations import deadline_seconds, executor_of
from rmqcluster.core.status import shown
from rmqcluster.errors import ExitCode, RmqclusterError, StoreUnavailable
from rmqcluster.store.redis_store import RedisStore

ID_DIGITS = 12  # as the store draws them
LOOK_SECONDS = 1.0
LAST_WORD_SECONDS = 0.2
SOON_SECONDS = 1.0  # a record that goes so shortly before its deadline has reached it
TELLING_SECONDS = 2.0  # beyond one beat: within that an end is told, and a lost record written down again
ENDS = ("failed", "refused")
Say = Callable[[str], None]


class Busy(RmqclusterError):
    """Another operation is under way; nothing was asked."""

    exit_code = ExitCode.TRY_AGAIN


class Refused(RmqclusterError):
    """A guard did not hold; nothing was asked."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asks for."""

    kind: OperationKind
    subject: str = ""  # "" for the whole cluster
    consent: bool = False
    target: str | None = None
    why: str = ""

    @property
    def words(self) -> str:
        to = f" to {self.target}" if self.target else ""
        return f"{self.kind} {self.subject}".strip() + to


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended. `word` is done, failed, refused, asked (nobody waited) or unknown."""

    operation: str
    wish: Wish
    by: str
    word: str
    text: str
    exit_code: ExitCode

    def as_json(self) -> dict[str, object]:
        return {
            "operation": self.operation,
            "kind": self.wish.kind.value,
            "subject": self.wish.subject,
            "target": self.wish.target,
            "by": self.by,
            "outcome": self.word,
            "text": self.text,
        }


def operator() -> str:
    """Who asks, for people. The process makes it unique: two of the same person are two askers."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.getuid()}"
    return f"operator {user}@{socket.gethostname()} pid {os.getpid()}"


def ask(session: Session, wish: Wish, *, follow: bool, say: Say) -> Outcome:
    """Write the record and wait for its end, at most until its deadline.

    Raises Busy when another operation is under way, StoreUnavailable when Redis is silent until the deadline.
    """
    store, by = session.store, operator()
    seconds, drawn = deadline_seconds(wish.kind, session.settings.policy), uuid.uuid4().hex[:ID_DIGITS]
    last = store.recent_events(1)
    start = StartOperation(
        kind=wish.kind,
        subject=wish.subject,
        seconds=seconds,
        by=by,
        executor=executor_of(wish.kind, wish.subject),
        consent=wish.consent,
        target=wish.target,
        why=wish.why,
        id=drawn,
    )
    try:
        taken = store.apply(start)
    except StoreUnavailable as error:
        words = (
            f"{error}. {wish.words} may have been asked for all the same: see rmqcluster status before you try again"
        )
        raise StoreUnavailable(words) from error
    if not taken:
        raise Busy(guards.busy(store.snapshot()) or "busy: another operation has just ended. Try again")
    try:
        text = wish.words + (f": {wish.why}" if wish.why else "")
        _record(store, Event(by, "operation", text, operation=drawn), say)
        if not follow:
            return Outcome(drawn, wish, by, "asked", f"{wish.words} was asked for", ExitCode.OK)
        say(f"asked for {wish.words}; {_executor(store.snapshot(), wish)} carries it out, within {seconds:.0f} s")
        return _Following(session, wish, by, drawn, seconds, say).to_the_end(last[-1].id if last else "0-0")
    except KeyboardInterrupt:
        text = f"nobody waits for it any more, but {wish.words} goes on. See: rmqcluster status"
        return Outcome(drawn, wish, by, "unknown", text, ExitCode.UNAVAILABLE)


def _record(store: RedisStore, event: Event, say: Say) -> None:
    """History is for people: an operation that is asked for goes on without it."""
    try:
        store.record_event(event)
    except StoreUnavailable as error:
        say(f"the history does not have it: {shown(str(error))}")


def _executor(view: StoreView, wish: Wish) -> str:
    executor = executor_of(wish.kind, wish.subject)
    if executor:
        return f"the supervisor of {executor}"
    return f"the monitor at {view.lease.node}" if view.lease else "the monitor (nobody holds its lease now)"


class _Following:
    """One wait for one end."""

    def __init__(self, session: Session, wish: Wish, by: str, drawn: str, seconds: float, say: Say) -> None:
        self._store, self._patience = session.store, session.settings.policy.heartbeat_seconds + TELLING_SECONDS
        self._wish, self._by, self._id, self._seconds, self._say = wish, by, drawn, seconds, say
        self._started_at = time.monotonic()
        self._begun_by = ""
        self._end: Event | None = None
        self._gone_at: float | None = None
        self._silent = False

    def to_the_end(self, last_id: str) -> Outcome:
        pacing = Pacing()
        while True:
            try:
                events = self._store.wait_for_event(last_id, LOOK_SECONDS)
                present = self._store.read_operation()
            except StoreUnavailable as error:
                self._bear(error)
                pacing.wait(LOOK_SECONDS)
                continue
            self._silent = False
            last_id = events[-1].id if events else last_id
            found = self._hear(events) or self._judge(present)
            if found is not None:
                return found if self._end is None else self._last_word(last_id, found)

    def _bear(self, error: StoreUnavailable) -> None:
        """Redis may be silent for a while; the operation does not depend on it."""
        if self._elapsed > self._seconds:
            raise error
        if not self._silent:
            self._say(f"{shown(str(error))}; the operation goes on, and so does the wait")
        self._silent = True

    def _hear(self, events: list[Event]) -> Outcome | None:
        for event in events:
            if event.operation != self._id or event.actor == self._by:
                continue
            if event.kind == "done":
                return self._outcome("done", event.text, ExitCode.OK)
            if event.kind == "unknown":
                return self._outcome("unknown", event.text, ExitCode.UNAVAILABLE)
            self._begun_by = event.actor
            self._end = event if event.kind in ENDS else None
            self._say(f"{shown(event.actor, 120)} {shown(event.kind, 60)}: {shown(event.text, 1000)}")
        return None

    def _last_word(self, last_id: str, found: Outcome) -> Outcome:
        """A try that failed and the one that ended it may lie close together."""
        try:
            return self._hear(self._store.wait_for_event(last_id, LAST_WORD_SECONDS)) or found
        except StoreUnavailable:
            return found

    def _judge(self, present: Operation | None) -> Outcome | None:
        """A record goes before its end is told, so a failure that is told while it stands is tried again."""
        if present is not None and present.id == self._id:
            self._gone_at = self._end = None
            return self._overdue() if self._elapsed > self._seconds + self._patience else None
        if self._end is not None:
            return self._outcome(self._end.kind, self._end.text, ExitCode.DEGRADED)
        if self._elapsed >= self._seconds - SOON_SECONDS:
            return self._overdue()
        self._gone_at = time.monotonic() if self._gone_at is None else self._gone_at
        if time.monotonic() - self._gone_at < self._patience:
            return None
        text = "its record is gone from Redis and nobody told how it ended. See: rmqcluster status"
        return self._outcome("unknown", text, ExitCode.UNAVAILABLE)

    def _overdue(self) -> Outcome:
        if self._begun_by:
            text = f"{self._begun_by} began it and did not end it in time. See: rmqcluster status"
            return self._outcome("unknown", text, ExitCode.UNAVAILABLE)
        view = self._store.snapshot()
        executor = executor_of(self._wish.kind, self._wish.subject)
        there = executor in view.announcements if executor else view.lease is not None
        who = _executor(view, self._wish)
        text = f"nobody began it within {self._seconds:.0f} s: {who} should have"
        code = ExitCode.TRY_AGAIN if there else ExitCode.UNREACHABLE
        return self._outcome("failed", text if there else f"{text}, and is not heard", code)

    def _outcome(self, word: str, text: str, code: ExitCode) -> Outcome:
        return Outcome(self._id, self._wish, self._by, word, text, code)

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._started_at
