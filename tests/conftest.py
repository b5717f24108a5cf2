"""Makes `support` and `fakes` importable for the tests of every room, and puts the slow tests last."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs no server runs first, then single brokers, then whole clusters: a mistake shows early."""
    items.sort(key=_slowness)


def _slowness(item: pytest.Item) -> int:
    if item.path.parent.name == "integration":
        return 2
    return 1 if item.get_closest_marker("broker") else 0
