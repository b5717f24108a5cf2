"""What the tests of the stack share: an engine that answers, and the command line against it."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine_server import EngineServer, engine_server

from rmqcluster.cli.main import run as run_command
from rmqcluster.swarm.engine import Engine

Run = Callable[..., tuple[int, str, str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Docker's SDK leaves its sockets to the garbage collector, which is told as a warning."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))


@pytest.fixture(scope="module", autouse=True)
def tidy() -> Iterator[None]:
    """What the SDK left is collected here, and not in somebody else's test."""
    yield
    gc.collect()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EngineServer]:
    with engine_server(tmp_path) as running:
        yield running


@pytest.fixture
def engine(server: EngineServer) -> Iterator[Engine]:
    made = Engine(server.environment)
    yield made
    made.close()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in an empty directory, with the variables that are given and no engine unless one is."""
    for name in list(os.environ):
        if name.startswith(("RMQCLUSTER_", "REDIS_", "RABBITMQ_", "MQ_", "POSTGRES_", "DOCKER_", "STACK", "SINGLE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    here = tmp_path / "project"
    here.mkdir()
    monkeypatch.chdir(here)

    def call(*arguments: str, **variables: str) -> tuple[int, str, str]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        code = run_command(["swarm", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call
