"""Swarms for the tests of this room, with the images of one Debian suite (`SUITE=sid`, see `images`) on every host.

The fixtures `single` and `three` are the same swarm for all tests of a module: each leaves it as it found it. A test
that breaks more makes its own, `with Swarm(3, images)`.
"""

import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "matrix"))

from images import Images, build
from network import why_impossible
from swarms import Swarm

DEFAULT_SUITE = "sid"
BUILT = pytest.StashKey[Images]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Images are made before the first test begins: the first time takes longer than a test may."""
    wanted = any("images" in getattr(item, "fixturenames", ()) for item in session.items)
    if not wanted or session.config.option.collectonly or why_impossible() is not None:
        return
    try:
        session.config.stash[BUILT] = build(os.environ.get("SUITE") or DEFAULT_SUITE)
    except AssertionError as error:
        pytest.exit(f"the images could not be built:\n{error}", returncode=pytest.ExitCode.INTERNAL_ERROR)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections += [("the swarm", one.describe()) for one in Swarm.living]
    return report


@pytest.fixture(scope="session")
def images(request: pytest.FixtureRequest) -> Images:
    reason = why_impossible()
    if reason is not None:
        pytest.skip(reason)
    return request.config.stash[BUILT]


@pytest.fixture(scope="module")
def single(images: Images) -> Iterator[Swarm]:
    """One manager without labels."""
    with Swarm(1, images) as swarm:
        yield swarm


@pytest.fixture(scope="module")
def three(images: Images) -> Iterator[Swarm]:
    """Three managers with the stack's labels."""
    with Swarm(3, images) as swarm:
        yield swarm
