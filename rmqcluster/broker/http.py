"""One bounded HTTP question to a management API: a deadline for the whole answer, a limit to its size."""

import base64
import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

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
        connection.connect()
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
        yield connection
    except (OSError, http.client.HTTPException) as error:
        words = str(error) or type(error).__name__
        raise BrokerUnavailable(f"the management API at {host}:{port} gave no timely answer: {words}") from error
    finally:
        connection.close()


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
