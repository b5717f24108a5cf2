"""What a booting broker says of its tables is read as it is; nothing is loaded on half an answer."""

from typing import Any

import pytest

from rmqcluster.broker.tables import Tables, parse
from rmqcluster.core.tables import Missed

A, B = "rabbit@a", "rabbit@b"
WAITING = {"members": [A, B], "connected": [A, B], "waiting": {A: 3, B: 3}}
NOBODY: Missed = {A: frozenset(), B: frozenset()}


class Tools:
    def __init__(self, answer: Any) -> None:
        self.answer, self.asked = answer, 0

    def eval_json(self, expression: str, *, deadline_seconds: float) -> Any:
        self.asked += 1
        return self.answer

    def run(self, *arguments: str, deadline_seconds: float) -> str:
        raise AssertionError(arguments)


def test_loads_once_when_it_is_its_part() -> None:
    """One question, one act."""
    tools = Tools(WAITING)

    assert Tables(tools, A).load(NOBODY) == ""
    assert tools.asked == 2


@pytest.mark.parametrize("answer", [None, "yes", {}, {**WAITING, "waiting": {A: 3, B: None}}])
def test_does_nothing_on_half_an_answer(answer: Any) -> None:
    """Unknown is never taken for no."""
    tools = Tools(answer)

    assert Tables(tools, A).load(NOBODY)
    assert tools.asked == 1


def test_unknown_stays_unknown() -> None:
    """null is not zero, and what is not said of a stopped application is not taken for its end."""
    assert parse({"waiting": {A: None}}).waiting == {A: None}
    assert not parse({"stands": None}).stands
    assert parse({"stands": True}).stands
