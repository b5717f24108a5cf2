"""A real redis-server for tests: its own directory, a free port, ended by its process id."""

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from support import wait_until


class RedisServer:
    """One server process on 127.0.0.1."""

    def __init__(self, directory: Path, *options: str, name: str = "redis", configuration: Path | None = None) -> None:
        self.port = free_port()
        self._log = directory / f"{name}.log"
        command = ["redis-server", *([str(configuration)] if configuration else [])]
        command += ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(directory)]
        command += [*(() if configuration else ("--save", "", "--appendonly", "no")), *options]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def wait_ready(self) -> None:
        wait_until(self._answers, 10, f"redis-server answers on port {self.port}; log: {self._log.read_text()[-300:]}")

    def admin(self, **login: str) -> "redis.Redis":
        return redis.Redis(
            port=self.port, decode_responses=True, socket_timeout=5, retry=Retry(NoBackoff(), 0), **login
        )

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.thaw()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            with self.admin() as client:
                client.ping()
        except redis.AuthenticationError:
            return True
        except redis.ConnectionError:
            return False
        return True


@contextmanager
def redis_server(
    directory: Path, *options: str, name: str = "redis", configuration: Path | None = None
) -> Iterator[RedisServer]:
    """Runs until the block ends; `configuration` is a file that a Sentinel needs, since it rewrites it."""
    server = RedisServer(directory, *options, name=name, configuration=configuration)
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
