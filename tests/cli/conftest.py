"""A real Redis and an environment of its own for the command line."""

import http.server
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "store"))

import pytest
from cli_bench import Bench, Run, Serve
from redis_server import RedisServer, free_port, redis_server

from rmqcluster.cli.main import run as run_command


@pytest.fixture(scope="session")
def cli_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("cli-redis")) as running:
        yield running


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting from outside, no `.env`, ports that nobody has, no Redis."""
    for name in list(os.environ):
        if name.startswith(("RMQCLUSTER_", "REDIS_", "RABBITMQ_", "MQ_", "POSTGRES_", "DEMO_", "ERL_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_HOST", "127.0.0.1")
    monkeypatch.setenv("REDIS_PORT", str(free_port()))
    monkeypatch.setenv("RABBITMQ_NODENAME", "rabbit@localhost")
    monkeypatch.setenv("RMQCLUSTER_HTTP_PORT", str(free_port()))
    monkeypatch.setenv("RMQCLUSTER_MANAGEMENT_PORT", str(free_port()))


@pytest.fixture
def bench(bare: None, cli_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """An empty Redis that the commands speak to."""
    monkeypatch.setenv("REDIS_PORT", str(cli_redis.port))
    raw = cli_redis.admin()
    raw.flushall()
    with Bench(raw) as made:
        yield made
    raw.close()


@pytest.fixture
def run(bare: None, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in this process."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run_command(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts HTTP servers that answer every GET with the given body."""
    running: list[http.server.ThreadingHTTPServer] = []

    def start(body: bytes) -> int:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        running.append(server)
        return server.server_port

    yield start
    for server in running:
        server.shutdown()
        server.server_close()
