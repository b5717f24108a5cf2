"""Clusters for the tests; what a failed test's nodes said last is shown with it."""

import shutil
from collections.abc import Callable, Iterator, Mapping

import pytest
from cluster import Cluster

HAS_SERVERS = bool(
    shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin:/usr/sbin:/usr/bin:/opt/rabbitmq/sbin")
    and shutil.which("redis-server")
)
Make = Callable[..., Cluster]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "integration":
            item.add_marker(pytest.mark.broker)
            if not HAS_SERVERS:
                item.add_marker(pytest.mark.skip(reason="RabbitMQ or Redis is not installed"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:
        report.sections += [("the nodes", one.describe()) for one in Cluster.living]
    return report


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three nodes of which nothing runs yet, not even Redis."""
    made = Cluster()
    yield made
    made.close()


@pytest.fixture
def make_cluster() -> Iterator[Make]:
    """Like `cluster`, of another size or with other settings."""
    made: list[Cluster] = []

    def make(size: int = 3, settings: Mapping[str, str] | None = None) -> Cluster:
        made.append(Cluster(size, settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def formed() -> Iterator[Cluster]:
    """Three members, shared by the tests of one module: each leaves them as it found them."""
    made = Cluster()
    try:
        made.form()
        yield made
    finally:
        made.close()
