"""Bugs planted on purpose: the checkers must find each of them, or they prove nothing."""

from collections.abc import Callable
from dataclasses import dataclass

from fakes.memory_store import MemoryState, MemoryStore

from rmqcluster.core.engine import Rule
from rmqcluster.core.member_rules import MEMBER_RULES
from rmqcluster.core.model import Policy
from rmqcluster.core.monitor_rules import MONITOR_RULES

StoreMaker = Callable[[MemoryState, str, str, Policy], MemoryStore]


@dataclass(frozen=True, slots=True)
class Plant:
    """What the members of a world run; `NOTHING` is production."""

    name: str
    member_rules: tuple[Rule, ...] = MEMBER_RULES
    monitor_rules: tuple[Rule, ...] = MONITOR_RULES
    store: StoreMaker = MemoryStore
    volume_checks: bool = True


NOTHING = Plant("nothing")
