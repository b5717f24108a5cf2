"""The tables of a cluster that lost power are loaded by one member, the newest of a majority, or by nobody."""

from typing import Any

import pytest

from rmqcluster.core.tables import TableFacts, why_not_load

A, B, C = "rabbit@a", "rabbit@b", "rabbit@c"


def facts(**changes: Any) -> TableFacts:
    """A and B wait for C, who has not returned; none of them saw the end of another but C's."""
    known: dict[str, Any] = {
        "members": frozenset({A, B, C}),
        "connected": frozenset({A, B}),
        "waiting": {A: 9, B: 9},
        "outlived": {A: frozenset({C}), B: frozenset({C})},
    }
    return TableFacts(**{**known, **changes})


def test_of_two_that_died_at_once_one_loads() -> None:
    """B5: neither outlived the other, so both disks hold the same: the first by name loads, the other follows."""
    assert why_not_load(facts(), A) == ""
    assert "rabbit@a loads" in why_not_load(facts(), B)


def test_who_outlived_the_other_loads() -> None:
    """B5: the newer disk is that of the member who saw the other's end."""
    outlived = {A: frozenset({C}), B: frozenset({A, C})}

    assert why_not_load(facts(outlived=outlived), B) == ""
    assert "rabbit@b loads" in why_not_load(facts(outlived=outlived), A)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"connected": frozenset({A})}, "a majority"),
        ({"connected": frozenset()}, "a majority"),
        ({"connected": frozenset({A, "rabbit@x"})}, "a majority"),
        ({"waiting": {A: 0, B: 9}}, "no table waits"),
        ({"waiting": {}}, "no table waits"),
        ({"waiting": {A: 9, B: 0}}, "rabbit@b has its tables"),
        ({"waiting": {A: 9, B: None}}, "no answer from rabbit@b"),
        ({"waiting": {A: 9}}, "no answer from rabbit@b"),
        ({"outlived": {A: frozenset(), B: None}}, "no answer from rabbit@b"),
        ({"outlived": {A: frozenset({B}), B: frozenset({A})}}, "nobody knows"),
    ],
)
def test_nobody_loads_in_doubt(changes: dict[str, Any], words: str) -> None:
    """S2: a minority, an unknown, somebody who serves, or a contradiction: no disk is preferred to another."""
    assert words in why_not_load(facts(**changes), A)
