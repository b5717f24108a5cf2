"""What the history adds to a status: since when somebody is lost or stopped, and where the master label came from.

The times are those of Redis and of this machine: good enough for people, never for a decision.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from rmqcluster.agent.ports import Event
from rmqcluster.core.status import Moved

LOST = re.compile(r"LOST ([^\s:]+):")
MOVED = re.compile(r"master (\S+) \(was (\S+)\)")
STOP_ASKED = "stop requested"


@dataclass(slots=True)
class Past:
    """All ages are in seconds."""

    lost_seconds: dict[str, float] = field(default_factory=dict)
    stopped_seconds: dict[str, float] = field(default_factory=dict)
    minority_seconds: float | None = None
    moved: Moved | None = None


def read_past(events: Iterable[Event], unix_seconds: float) -> Past:
    """`events` oldest first, as the store gives them; what cannot be understood is left out."""
    past = Past()
    for event in events:
        age = max(0.0, unix_seconds - event.at)
        if event.kind == "RemoveMember" and (found := LOST.match(event.text)):
            past.lost_seconds[found[1]] = age
        elif event.kind == "SetMaster" and (found := MOVED.match(event.text)):
            past.moved = Moved(found[2], found[1], event.at, event.epoch)
        elif event.kind == "stop" and event.text == STOP_ASKED:
            past.stopped_seconds[event.actor] = age
        elif event.kind == "boot":
            past.stopped_seconds.pop(event.actor, None)
        elif event.kind == "ReleaseLease" and "majority" in event.text:
            past.minority_seconds = age
        elif event.kind == "TakeLease":
            past.minority_seconds = None
    return past
