"""Everything a supervisor says to Redis, off the loop: the beat, then acts in order, then one reading.

A slow or dead Redis costs this worker time and nobody else. `step` does one round; in production a thread
calls it, in the simulation the scheduler does. It judges nothing; it only says since when replies are timely.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from rmqcluster.agent.ports import Beat, Clock, Event, Store
from rmqcluster.core.actions import EndOperation, Leave, StoreAction
from rmqcluster.core.model import Policy, StoreView
from rmqcluster.errors import StoreRefused, StoreUnavailable

UNSETTLED_SECONDS = 0.25  # how often Redis is read while something is on its way
REFUSED_SECONDS = 5.0  # how long to wait before asking a Redis again that refused us
EXPIRY_MARGIN_SECONDS = 0.05
QUEUE_LIMIT = 100
EVENTS_PER_ROUND = 5
LOOP_DEAD_SECONDS = 10.0  # a loop that says nothing for so long does not speak for its broker any more


@dataclass(frozen=True, slots=True)
class Reading:
    """The newest reading, and how far it can be trusted. Times are monotonic seconds."""

    view: StoreView | None = None
    trouble: str = ""
    refused: bool = False
    since: float = 0.0  # since when `view` is, or is not, there
    steady_since: float | None = None
    claim_safe_until: float = 0.0
    last_contact_at: float | None = None


class StoreWorker:
    """Owns the conversation with the store of one instance."""

    def __init__(self, store: Store, policy: Policy, clock: Clock, instance: str) -> None:
        self._store, self._policy, self._clock, self._instance = store, policy, clock, instance
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._acts: deque[StoreAction] = deque(maxlen=QUEUE_LIMIT)
        self._events: deque[Event] = deque(maxlen=QUEUE_LIMIT)
        self._announced_at = clock.monotonic()
        self._beat: Beat | None = None
        self._written: Beat | None = None
        self._refused: tuple[StoreAction, float] | None = None
        self._sequence = 0
        self._next_beat_at = clock.monotonic()
        self._reading = Reading(since=clock.monotonic())
        self.settled = False
        self.on_reading: Callable[[], None] = lambda: None
        self.on_act: Callable[[StoreAction, bool], None] = lambda _action, _done: None
        self.wake: Callable[[], None] = lambda: None

    def submit(self, act: StoreAction | Event) -> None:
        """Queue one act; the condition it carries is checked by the store when it is carried out.

        An act that was just refused is left out for a moment: decided again on every reading, it would make the
        loop and this worker wake each other without pause until its time has come.
        """
        with self._lock:
            if isinstance(act, Event):
                self._events.append(act)
            elif act in self._acts or (self._refused is not None and self._is_refused(act, *self._refused)):
                return
            else:
                self._acts.append(act)
            if isinstance(act, Leave) and self._beat is not None:
                # No beat that was put together before may register again who is leaving.
                gone = replace(self._beat, registered=False, keep_lease=False, keep_claim=False)
                self._beat = None if act.final else gone
            if isinstance(act, EndOperation) and self._beat is not None:
                self._beat = replace(self._beat, operation=None)
            self._idle.clear()
        self.wake()

    def _is_refused(self, act: StoreAction, refused: StoreAction, at: float) -> bool:
        return act == refused and self._clock.monotonic() - at < UNSETTLED_SECONDS

    def drain(self, seconds: float) -> bool:
        """Wait until every queued act was tried and every event told, at most so long."""
        with self._lock:
            if not self._acts and not self._events:
                return True
        return self._idle.wait(seconds)

    def announce(self, beat: Beat) -> None:
        """What to say from now on; a change is written at once, otherwise with the next heartbeat."""
        with self._lock:
            changed = beat != self._beat
            self._beat, self._announced_at = beat, self._clock.monotonic()
        if changed:
            self.wake()

    def reading(self) -> Reading:
        """The newest reading; its view is None when it is older than two heartbeats."""
        with self._lock:
            reading = self._reading
        limit = 2 * self._policy.heartbeat_seconds
        if reading.view is not None and self._clock.monotonic() - reading.view.at > limit:
            return replace(reading, view=None, since=reading.view.at + limit, trouble=reading.trouble or "no reply")
        return reading

    def step(self) -> float:
        """One round with the store. Returns the seconds until the next one is due."""
        asked_at = self._clock.monotonic()
        try:
            self._write_beat()  # first: an event wakes the others, who then read what was announced
            self._carry_out()
            view = replace(self._store.snapshot(), at=asked_at)
        except StoreUnavailable as error:
            self._failed(asked_at, error)
            return REFUSED_SECONDS if isinstance(error, StoreRefused) else 1.0
        self._succeeded(asked_at, view)
        return 0.0 if self._tell_events() else self._pause_seconds(view)

    def _carry_out(self) -> None:
        while True:
            with self._lock:
                act = self._acts[0] if self._acts else None
            if act is None:
                return
            done = self._store.apply(act)
            self._refused = None if done else (act, self._clock.monotonic())
            self.on_act(act, done)
            with self._lock:
                if self._acts and self._acts[0] is act:
                    self._acts.popleft()

    def _tell_events(self) -> bool:
        """Write a few events; the history never holds up a beat. Returns whether more wait.

        One that the store does not take is dropped: the log has it, and the reading just now proved that the
        store works.
        """
        for _ in range(EVENTS_PER_ROUND):
            with self._lock:
                event = self._events.popleft() if self._events else None
                if event is None and not self._acts:
                    self._idle.set()
            if event is None:
                return False
            try:
                self._store.record_event(event)
            except StoreUnavailable as error:
                self._failed(self._clock.monotonic(), error)
                return False
        return True

    def _write_beat(self) -> None:
        with self._lock:
            beat = self._beat
        if beat is None or (beat == self._written and self._clock.monotonic() < self._next_beat_at):
            return
        self._sequence += 1
        started_at = self._clock.monotonic()
        if started_at - self._announced_at > max(LOOP_DEAD_SECONDS, 2 * self._policy.heartbeat_seconds):
            beat = replace(beat, registered=False, keep_lease=False, keep_claim=False)  # nobody stands behind it
        said = beat.announcement
        numbered = replace(said, beat_sequence=self._sequence) if said is not None else None
        self._store.beat(replace(beat, announcement=numbered))
        self._written = beat
        self._next_beat_at = started_at + self._policy.heartbeat_seconds
        if beat.keep_claim:
            with self._lock:
                safe = started_at + self._policy.ttl_seconds - 1.0
                self._reading = replace(self._reading, claim_safe_until=safe)

    def _failed(self, at: float, error: StoreUnavailable) -> None:
        with self._lock:
            old = self._reading
            stale = old.view is not None and at - old.view.at > self._policy.heartbeat_seconds
            self._reading = replace(
                old,
                view=None if stale else old.view,
                since=at if stale else old.since,
                steady_since=None,
                trouble=str(error),
                refused=isinstance(error, StoreRefused),
            )
            # An act is decided again on the next reading; it must not wait here and come out of time.
            self._acts.clear()
        self._written = None
        self.on_reading()

    def _succeeded(self, at: float, view: StoreView) -> None:
        with self._lock:
            old = self._reading
            late = old.last_contact_at is None or at - old.last_contact_at > 2 * self._policy.heartbeat_seconds
            emptied = old.view is not None and view.roll_call_seconds + 1.0 < old.view.roll_call_seconds
            mine = view.claim is not None and view.claim.instance == self._instance
            self._reading = Reading(
                view=view,
                since=old.since if old.view is not None else at,
                steady_since=at if late or emptied or old.steady_since is None else old.steady_since,
                claim_safe_until=old.claim_safe_until if mine else 0.0,
                last_contact_at=self._clock.monotonic(),
            )
        if emptied:
            self._written = None
        self.on_reading()

    def _pause_seconds(self, view: StoreView) -> float:
        if not self.settled:
            return UNSETTLED_SECONDS
        pause = max(0.0, self._next_beat_at - self._clock.monotonic())
        if view.next_expiry_seconds is not None:
            pause = min(pause, view.next_expiry_seconds + EXPIRY_MARGIN_SECONDS)
        return pause
