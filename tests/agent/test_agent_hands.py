"""Every action has exactly one executor, and both tables only ask for actions that exist."""

from typing import get_args

from rmqcluster.agent.act import STORE_ACTIONS, Hands
from rmqcluster.core import actions as act


class Anything:
    """Takes every call; the executors are only looked up here."""

    def __getattr__(self, name: str) -> "Anything":
        return self


def flattened(kinds: object) -> set[type]:
    """The classes of a union of unions."""
    found: set[type] = set()
    for kind in get_args(kinds):
        found |= flattened(kind) if get_args(kind) else {kind}
    return found


def test_every_action_has_an_executor() -> None:
    """An action that nobody can carry out would be a decision without effect."""
    hands = Hands(*[Anything() for _ in range(10)])  # type: ignore[arg-type]

    assert set(hands._executors) == flattened(act.Action)


def test_store_actions_are_the_ones_with_a_condition() -> None:
    """What goes to Redis is exactly what the port `Store` promises to apply."""
    assert set(STORE_ACTIONS) == flattened(act.StoreAction)
