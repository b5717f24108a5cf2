"""The container's health check, as a process of its own."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from redis_server import free_port

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HEAVY = {"click", "redis", "json", "ssl", "http", "http.client", "email", "asyncio", "logging", "dotenv", "pika"}
PROBE = """
import sys
sys.argv = ["rmqcluster", "healthcheck"]
from rmqcluster.__main__ import main
code = main()
print("loaded", *sys.modules)
sys.exit(code)
"""
Serve = Callable[[bytes], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts listeners that give each caller the same bytes; empty bytes mean silence."""
    listening: list[socket.socket] = []
    kept: list[socket.socket] = []

    def start(answer: bytes) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)

        def loop() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                if not answer:
                    kept.append(connection)
                    continue
                with connection:
                    connection.recv(1000)
                    connection.sendall(answer)

        threading.Thread(target=loop, daemon=True).start()
        return int(server.getsockname()[1])

    yield start
    for server in listening:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
    for connection in kept:
        connection.close()


def check(port: object, *command: str) -> tuple[int, str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": ROOT, "RMQCLUSTER_HTTP_PORT": str(port)}
    arguments = command or ("-m", "rmqcluster", "healthcheck")
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, cwd="/", capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\nthe loop turned 0.1 s ago\nmember rule 990\n", 0, "the loop turned 0.1 s ago\n"),
        (b"HTTP/1.0 503 No\r\n\r\nthe loop has not turned for 12.0 s\n", 1, "the loop has not turned for 12.0 s\n"),
        (b"rubbish", 1, "no answer from 127.0.0.1"),
    ],
)
def test_the_answer_decides(serve: Serve, answer: bytes, code: int, words: str) -> None:
    """200 is 0, everything else is 1, and one line says why."""
    found, text = check(serve(answer))

    assert found == code
    assert text.startswith(words)


def test_nobody_listens() -> None:
    """No supervisor: 1, and where it was looked for."""
    port = free_port()
    code, text = check(port)

    assert code == 1
    assert f"127.0.0.1:{port}" in text


def test_silence_ends_at_the_deadline(serve: Serve) -> None:
    """A supervisor that accepts and says nothing is not alive, and the check ends by itself."""
    code, text = check(serve(b""))

    assert code == 1
    assert "does not answer" in text


@pytest.mark.parametrize("port", ["0", "65536", "x", "-1"])
def test_a_port_that_is_none(port: str) -> None:
    """A wrong setting is told by its name."""
    assert check(port) == (1, f"RMQCLUSTER_HTTP_PORT is {port!r}: it must be a port number\n")


def test_nothing_big_is_loaded(serve: Serve) -> None:
    """The check runs every few seconds in every container: it loads a socket and nothing heavy."""
    port = serve(b"HTTP/1.0 200 OK\r\n\r\nfine\n")
    started_at = time.monotonic()
    code, text = check(port, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {ROOT!r})\n{PROBE}")
    print(f"health check: {time.monotonic() - started_at:.3f} s")
    loaded = set(text.splitlines()[-1].split()[1:])

    assert code == 0
    assert not loaded & HEAVY
