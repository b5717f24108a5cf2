"""Who may load the metadata of a cluster whose members all died at once, and some of whom never return. Pure.

Mnesia (3.10 to 4.2) loads a table where it knows that it outlived all others that have it, or when all are there.
Members that lost power at the same instant know nothing of each other's end, so two of three wait for the third for
ever (measured on 3.10.8), though all that was committed under `pause_minority` is on a majority of the disks: each
majority holds a member that was there to the end.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What the Mnesia of one booting member says, and those of the members it is connected to."""

    members: frozenset[str] = frozenset()  # who has a copy of the schema
    connected: frozenset[str] = frozenset()  # members whose Mnesia runs, myself included
    waiting: Mapping[str, int | None] = field(default_factory=dict)  # member -> tables that it could not load
    outlived: Mapping[str, frozenset[str] | None] = field(default_factory=dict)  # member -> whose end it has seen


def why_not_load(facts: TableFacts, me: str) -> str:
    """Why I may not load the tables from my own disk; "" when it is my part. None of the answers: nobody loads."""
    present = facts.connected & facts.members
    if not facts.waiting.get(me):
        return "no table waits"
    if me not in present or len(present) <= len(facts.members) // 2:
        return f"a majority of {', '.join(sorted(facts.members))} is needed"
    silent = sorted(n for n in present if facts.waiting.get(n) is None or facts.outlived.get(n) is None)
    if silent:
        return f"no answer from {', '.join(silent)}"
    loaded = sorted(n for n in present if facts.waiting[n] == 0)
    if loaded:
        return f"{', '.join(loaded)} has its tables"
    older = {dead for n in present for dead in (facts.outlived[n] or frozenset()) & present}
    newest = sorted(present - older)
    if not newest:
        return f"each of {', '.join(sorted(present))} says that it outlived another: nobody knows whose disk is newer"
    return "" if newest[0] == me else f"{newest[0]} loads them"
