"""Clusters for the failure matrix; what a failed test's nodes said last is shown with it."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

from cluster import Cluster
from netcluster import NetCluster
from network import why_impossible

logging.getLogger("pika").setLevel(logging.CRITICAL)  # every lost connection would be ten lines


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:
        report.sections += [("the nodes", one.describe()) for one in Cluster.living]
    return report


@pytest.fixture(scope="module")
def formed() -> Iterator[Cluster]:
    """Three members, shared by the tests of one module: each leaves them as it found them."""
    made = Cluster()
    try:
        made.form()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def networked() -> Iterator[NetCluster]:
    """Three members and Redis on machines of their own, shared by the tests of one module."""
    reason = why_impossible()
    if reason is not None:
        pytest.skip(reason)
    made = NetCluster()
    try:
        made.form()
        yield made
    finally:
        made.close()
