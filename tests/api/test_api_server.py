"""The server on a real socket: what it serves, what it bears, and what it leaves behind."""

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from scenes import NOW, TOKEN, published, settings
from support import wait_until

from rmqcluster.api import server as server_module
from rmqcluster.api.server import ApiServer
from rmqcluster.errors import ConfigurationError


@pytest.fixture
def server() -> Iterator[ApiServer]:
    running = ApiServer(settings(), published, lambda: NOW)
    running.start()
    yield running
    running.stop()


def talk(port: int, sent: bytes, seconds: float = 10.0, *, ends: bool = False) -> bytes:
    """Everything that comes back until the server closes; `ends` tells it that nothing more is sent."""
    with socket.create_connection(("127.0.0.1", port), seconds) as connection:
        answer = b""
        try:
            connection.sendall(sent)
            if ends:
                connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                answer += part
        except OSError:
            return answer  # reset, or closed before we were done
        return answer


def status_of(answer: bytes) -> bytes:
    return answer.split(b" ", 2)[1]


def test_serves_and_hides_its_versions(server: ApiServer) -> None:
    """A plain GET is answered; the headers tell no version, allow no other origin, and end the connection."""
    answer = talk(server.port, b"GET /readyz?x=1 HTTP/1.1\r\nHost: a:15680\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")

    assert status_of(answer) == b"200"
    assert body == b"ready\n"
    assert b"Server: rmqcluster\r\n" in head
    assert b"Python" not in head
    assert b"Access-Control" not in head
    assert b"Location" not in head


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"HEAD /livez HTTP/1.1\r\nHost: a\r\n\r\n", b"200"),
        (b"GET /livez HTTP/1.0\r\n\r\n", b"200"),
        (b"GET http://evil/livez HTTP/1.1\r\nHost: a\r\n\r\n", b"404"),
        (b"GET //evil/livez HTTP/1.1\r\nHost: a\r\n\r\n", b"404"),
        (b"GET /livez HTTP/1.1\r\nHost: a b\r\n\r\n", b"400"),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400"),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", b"413"),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"501"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", b"401"),
        (f"POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode(), b"405"),
        (b"BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", b"401"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"431"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/9.9\r\n\r\n", b"505"),
    ],
)
def test_request_table(server: ApiServer, sent: bytes, status: bytes) -> None:
    """Well-formed requests reach their route; everything else is refused with the fitting status."""
    assert status_of(talk(server.port, sent)) == status


def test_garbage_does_not_hurt(server: ApiServer) -> None:
    """Two hundred rubbish requests later the server still answers, and no thread is left behind."""
    draw = random.Random(7)
    start = (b"", b"GET ", b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nContent-Length: 5\r\n", b"\x16\x03\x01")
    for _ in range(200):
        sent = draw.choice(start) + draw.randbytes(draw.randrange(200)) + draw.choice((b"\r\n\r\n", b"\r\n\r\n12345"))
        talk(server.port, sent, ends=True)

    assert status_of(talk(server.port, b"GET /livez HTTP/1.0\r\n\r\n")) == b"200"
    wait_until(lambda: threading.active_count() <= 2, 10, "the handlers' threads end")


def test_slow_senders_are_cut_off(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who sends a byte now and then loses the connection at the deadline."""
    monkeypatch.setattr(server_module, "REQUEST_SECONDS", 0.5)
    with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
        connection.settimeout(0.1)
        deadline = time.monotonic() + 10

        def is_cut() -> bool:
            try:
                connection.sendall(b"G")
                return connection.recv(1) == b""
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        wait_until(is_cut, deadline - time.monotonic(), "the slow connection is cut")


def test_strangers_cannot_take_all_connections(server: ApiServer) -> None:
    """More connections than allowed are closed at once, and those that end make room again."""
    silent = [socket.create_connection(("127.0.0.1", server.port), 5) for _ in range(server_module.CONNECTIONS_MAX)]
    try:
        wait_until(lambda: talk(server.port, b"GET /livez HTTP/1.0\r\n\r\n") == b"", 5, "newcomers are refused")
    finally:
        for connection in silent:
            connection.close()

    wait_until(lambda: talk(server.port, b"GET /livez HTTP/1.0\r\n\r\n").startswith(b"HTTP/"), 5, "there is room again")


def test_stop_waits_for_no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor's stop budget is short: its server ends at once, whatever time its next poll is due."""
    monkeypatch.setattr("rmqcluster.api.server.POLL_SECONDS", 60.0)
    running = ApiServer(settings(), published, lambda: NOW)
    running.start()
    began = time.monotonic()
    running.stop()

    assert time.monotonic() - began < 10


def test_stop_frees_the_port_and_cuts_connections() -> None:
    """After stop nothing listens, open connections are cut, and a second stop does nothing."""
    running = ApiServer(settings(), published, lambda: NOW)
    running.start()
    port = running.port
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(b"GET")
        wait_until(lambda: threading.active_count() >= 3, 5, "the connection is served")
        running.stop()
        running.stop()

        with suppress(ConnectionResetError):  # what it had sent was not read yet
            assert connection.recv(10) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1)


def test_taken_port_is_a_configuration_error() -> None:
    """A port that somebody has is named with its variable, before anything else starts."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        running = ApiServer(settings(port=taken.getsockname()[1]), published, lambda: NOW)

        with pytest.raises(ConfigurationError, match="RMQCLUSTER_HTTP_BIND/_PORT"):
            running.start()
