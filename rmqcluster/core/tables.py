"""Who may load the metadata of a cluster whose members all died at once, and some of whom never return. Pure.

Mnesia (3.10 to 4.2) loads a table where it knows that it outlived all others that have it, or when all are there.
Members that lost power at the same instant know nothing of each other's end, so two of three wait for the third for
ever (measured on 3.10.8), though all that was committed under `pause_minority` is on a majority of the disks: each
majority holds a member that was there to the end.

Who was there to the end is on the supervisors' own disks: Mnesia forgets whose end it has seen as soon as that member
is connected again (`mnesia_recover:log_mnesia_up`), long before anybody would ask.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rmqcluster.core import evidence as e
from rmqcluster.core.model import Observation, View

STANDING = "RabbitMQ is stopped in it, and nothing starts it"
APART = "its Mnesia is connected to no other member"
Missed = Mapping[str, frozenset[str] | None]  # member -> whom it missed when it last ran with a majority; None unknown


@dataclass(frozen=True, slots=True)
class TableFacts:
    """What the Mnesia of one booting member says, and those of the members it is connected to."""

    members: frozenset[str] = frozenset()  # who has a copy of the schema
    connected: frozenset[str] = frozenset()  # members whose Mnesia runs, myself included
    waiting: Mapping[str, int | None] = field(default_factory=dict)  # member -> tables that it could not load
    stands: bool = False  # RabbitMQ neither runs nor boots, and does not wait for its peers to boot again


def missed_now(view: View, before: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """What belongs on my disk: whom my broker misses; without a majority it commits nothing, and `before` stands."""
    return tuple(sorted(view.members - view.running)) if view.sees_majority() else before


def missed_by(o: Observation) -> Missed:
    """What my disk and the announcements say."""
    mine = o.disk.marker.missed if o.disk.marker is not None else None
    return {n: a.missed for n, a in e.others(o).items()} | {o.me: None if mine is None else frozenset(mine)}


def why_not_load(facts: TableFacts, missed: Missed, me: str) -> str:
    """Why I may not load the tables from my own disk; "" when it is my part. Not known who is newer: nobody loads."""
    if facts.stands:
        return STANDING
    present = facts.connected & facts.members
    if present == {me} != facts.members:
        return APART
    if not facts.waiting.get(me):
        return "no table waits"
    if me not in present or len(present) <= len(facts.members) // 2:
        return f"a majority of {', '.join(sorted(facts.members))} is needed"
    silent = sorted(n for n in present if facts.waiting.get(n) is None or missed.get(n) is None)
    if silent:
        return f"no answer from {', '.join(silent)}"
    loaded = sorted(n for n in present if facts.waiting[n] == 0)
    if loaded:
        return f"{', '.join(loaded)} has its tables"
    older = {away for n in present for away in (missed[n] or frozenset()) & present}
    newest = sorted(present - older)
    if not newest:
        return f"each of {', '.join(sorted(present))} missed another at the end: nobody knows whose disk is newer"
    return "" if newest[0] == me else f"{newest[0]} loads them"
