"""One bounded HTTP question to a management API: a deadline for the whole answer, a limit to its size."""

import base64
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue

from rmqcluster.config.settings import Secret
from rmqcluster.errors import BrokerRefused, BrokerUnavailable

REPLY_BYTES_MAX = 4 * 1024 * 1024


def get_json(
    address: str, path: str, user: str, password: Secret, *, deadline_seconds: float, also_accept: int = 200
) -> object:
    """GET `path` at `address` ("host:port"). Raises BrokerRefused (401, 403) or BrokerUnavailable."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise BrokerUnavailable(f"{address!r} is no management address (host:port)")
    deadline = time.monotonic() + deadline_seconds
    credentials = base64.b64encode(f"{user}:{password.value}".encode()).decode()
    with _connection(host.strip("[]"), int(port), deadline_seconds) as connection:
        used = connection.sock  # the response goes on using it when the connection object lets go of it
        connection.request("GET", path, headers={"Authorization": f"Basic {credentials}"})
        with connection.getresponse() as response:
            body = _read(used, response, deadline, address)
            status = response.status
    if status in (401, 403):
        raise BrokerRefused(f"the broker at {address} does not accept the account {user} (HTTP {status})")
    if status not in (200, also_accept):
        raise BrokerUnavailable(f"the broker at {address} answered {path} with HTTP {status}")
    try:
        return json.loads(body)
    except ValueError as error:
        raise BrokerUnavailable(f"the broker at {address} answered {path} with something that is not JSON") from error


@contextmanager
def _connection(host: str, port: int, timeout_seconds: float) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(host, port, timeout=timeout_seconds)
    try:
        connection.sock = _connected(_resolved(host, port, timeout_seconds), timeout_seconds)
        yield connection
    except (OSError, http.client.HTTPException) as error:
        words = str(error) or type(error).__name__
        raise BrokerUnavailable(f"the management API at {host}:{port} gave no timely answer: {words}") from error
    finally:
        connection.close()


def _resolved(host: str, port: int, seconds: float) -> list[tuple[str, int]]:
    """In time: nothing else limits how long the resolver waits for a name server that is gone. Raises OSError."""
    answers: SimpleQueue[list[tuple[str, int]] | OSError] = SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.put([(str(where[0]), port) for *_, where in found])
        except OSError as error:
            answers.put(error)

    threading.Thread(target=ask, name=f"resolve {host}", daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except Empty:
        raise TimeoutError("its name could not be resolved in time") from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def _connected(addresses: Sequence[tuple[str, int]], seconds: float) -> socket.socket:
    """To the first that accepts. Raises OSError."""
    trouble: OSError = OSError("its name has no address")
    for address in addresses:
        try:
            return socket.create_connection(address, seconds)
        except OSError as error:
            trouble = error
    raise trouble


def _read(used: socket.socket, response: http.client.HTTPResponse, deadline: float, address: str) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise BrokerUnavailable(f"the answer of the management API at {address} took too long")
        used.settimeout(left)
        chunk = response.read1(65536)
        if not chunk:
            return b"".join(chunks)
        size += len(chunk)
        if size > REPLY_BYTES_MAX:
            raise BrokerUnavailable(f"the answer of the management API at {address} is larger than 4 MiB")
        chunks.append(chunk)
