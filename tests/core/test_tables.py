"""The tables of a cluster that lost power are loaded by one member, the newest of a majority, or by nobody."""

from dataclasses import replace
from typing import Any

import pytest
from rule_builder import DATA, A, B, C, observe, says, stored

from rmqcluster.core.model import View
from rmqcluster.core.tables import APART, STANDING, Missed, TableFacts, missed_by, missed_now, why_not_load

C_MISSED: Missed = {A: frozenset({C}), B: frozenset({C})}


def facts(**changes: Any) -> TableFacts:
    """A and B wait for C, who has not returned."""
    known: dict[str, Any] = {
        "members": frozenset({A, B, C}),
        "connected": frozenset({A, B}),
        "waiting": {A: 9, B: 9},
    }
    return TableFacts(**{**known, **changes})


def test_of_two_that_died_at_once_one_loads() -> None:
    """B5: neither missed the other, so both disks hold the same: the first by name loads, the other follows."""
    assert why_not_load(facts(), C_MISSED, A) == ""
    assert "rabbit@a loads" in why_not_load(facts(), C_MISSED, B)


def test_who_missed_the_other_loads() -> None:
    """B5: A was away while B and C served: the newer disk is B's."""
    missed: Missed = {A: frozenset(), B: frozenset({A})}

    assert why_not_load(facts(), missed, B) == ""
    assert "rabbit@b loads" in why_not_load(facts(), missed, A)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"connected": frozenset({A})}, APART),
        ({"connected": frozenset()}, "a majority"),
        ({"connected": frozenset({A, "rabbit@x"})}, APART),
        ({"stands": True}, STANDING),
        ({"waiting": {A: 0, B: 9}}, "no table waits"),
        ({"waiting": {}}, "no table waits"),
        ({"waiting": {A: 9, B: 0}}, "rabbit@b has its tables"),
        ({"waiting": {A: 9, B: None}}, "no answer from rabbit@b"),
        ({"waiting": {A: 9}}, "no answer from rabbit@b"),
    ],
)
def test_nobody_loads_in_doubt(changes: dict[str, Any], words: str) -> None:
    """S2: a minority, an unknown, or somebody who serves: no disk is preferred to another."""
    assert words in why_not_load(facts(**changes), C_MISSED, A)


@pytest.mark.parametrize(
    ("missed", "words"),
    [
        ({A: frozenset(), B: None}, "no answer from rabbit@b"),
        ({A: frozenset()}, "no answer from rabbit@b"),
        ({A: frozenset({B}), B: frozenset({A})}, "nobody knows"),
    ],
)
def test_nobody_loads_when_it_is_not_known_who_was_away(missed: Missed, words: str) -> None:
    """S2: a member that does not say whom it missed, or two that missed each other."""
    assert words in why_not_load(facts(), missed, A)


@pytest.mark.parametrize(("running", "missed"), [({A, B}, (C,)), ({A, B, C}, ()), ({A}, (B,))])
def test_only_a_majority_tells_who_is_away(running: set[str], missed: tuple[str, ...]) -> None:
    """Whoever is cut off misses everybody, and commits nothing: what it knew before stands."""
    assert missed_now(View(frozenset({A, B, C}), frozenset(running)), (B,)) == missed


def test_whom_a_member_missed_is_on_its_disk_and_announced() -> None:
    """A marker or an announcement that does not say it is unknown, never nobody."""
    mine = replace(DATA, marker=replace(DATA.marker, missed=(C,)))  # type: ignore[type-var]
    others = says(B, missed=frozenset({A})), says(C)

    assert missed_by(observe(mine, store=stored(*others))) == {A: {C}, B: {A}, C: None}
    assert missed_by(observe(DATA, store=None)) == {A: None}
