"""The rule table as data: first match wins, every row has a number, named conditions and one sentence why."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rmqcluster.core.model import Decision, Observation

Condition = Callable[[Observation], bool]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a row asks for. `text` is the sentence shown; the row's why stands in when it is empty."""

    actions: tuple[object, ...] = ()
    text: str = ""
    state: str = ""
    held: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    number: int
    when: tuple[Condition, ...]
    then: Callable[[Observation], Outcome]
    why: str


def decide(rules: Sequence[Rule], o: Observation) -> Decision:
    """The first row whose conditions all hold. The last row of each table holds always."""
    for rule in rules:
        if all(condition(o) for condition in rule.when):
            outcome = rule.then(o)
            return Decision(rule.number, outcome.text or rule.why, outcome.actions, outcome.state, outcome.held)
    raise AssertionError("a rule table must end in a row that always holds")


def check(rules: Sequence[Rule]) -> list[str]:
    """What is wrong with a table: numbers that do not rise, a last row that may not hold, a missing why."""
    found = [f"{b.number} does not rise" for a, b in pairwise(rules) if b.number <= a.number]
    found += [f"{r.number} has no why" for r in rules if not r.why]
    if rules[-1].when:
        found.append(f"{rules[-1].number} is last and has conditions")
    return found


def render(title: str, rules: Sequence[Rule]) -> str:
    """The table for people, one row a rule."""
    lines = [title]
    for r in rules:
        when = " and ".join(c.__name__.lstrip("_") for c in r.when) or "always"
        lines.append(f"{r.number}  when {when}\n     {r.then.__name__.lstrip('_')}: {r.why}")
    return "\n".join(lines)


def render_tables() -> str:
    """Both tables, as `explain` prints them."""
    from rmqcluster.core.member_rules import MEMBER_RULES
    from rmqcluster.core.monitor_rules import MONITOR_RULES

    return (
        render("What a member does with its own broker", MEMBER_RULES)
        + "\n\n"
        + render("What the lease holder does for the cluster", MONITOR_RULES)
    )
