"""What the loop shows to the outside after every tick: one immutable record, swapped as a whole."""

from dataclasses import dataclass

from rmqcluster.core.model import Decision, Observation


@dataclass(frozen=True, slots=True)
class Published:
    """The newest observation and what was decided on it; `tick_at` is monotonic seconds."""

    tick_at: float
    observation: Observation
    decision: Decision
    monitor: Decision | None
    mutual: bool | None
    registered: bool
