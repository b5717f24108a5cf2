"""The container's HEALTHCHECK: does the supervisor's loop turn? Loads nothing but a socket, so that it is cheap.

It asks /livez of the supervisor in the same container, which is green while the member waits, boots or is held:
restarting the container would help none of these. Only the environment is read, not `.env`.
"""

import socket
import sys
import time
from collections.abc import Mapping

DEADLINE_SECONDS = 2.0
DEFAULT_PORT = 15680
REQUEST = b"GET /livez HTTP/1.0\r\nHost: localhost\r\n\r\n"
EVERY_ADDRESS = ("", "0.0.0.0", "::", "[::]")  # noqa: S104 - compared with, never bound


def check(environ: Mapping[str, str]) -> int:
    """0 when the loop turns, 1 otherwise, and one line that says which. Waits `DEADLINE_SECONDS` at most."""
    bind = environ.get("RMQCLUSTER_HTTP_BIND", "").strip()
    host = "127.0.0.1" if bind in EVERY_ADDRESS else bind.strip("[]")
    given = environ.get("RMQCLUSTER_HTTP_PORT", "").strip()
    if given and not (given.isascii() and given.isdigit() and 0 < int(given) < 65536):
        return _answer(1, f"RMQCLUSTER_HTTP_PORT is {given!r}: it must be a port number")
    port = int(given or DEFAULT_PORT)
    try:
        head = _ask(host, port)
    except OSError as error:
        return _answer(1, f"the supervisor does not answer on {host}:{port}: {error}")
    status, _, body = head.partition(b"\r\n\r\n")
    words = body.decode("ascii", "replace").strip().split("\n", 1)[0]
    return _answer(0 if status.split(b" ", 2)[1:2] == [b"200"] else 1, words or f"no answer from {host}:{port}")


def _ask(host: str, port: int) -> bytes:
    deadline = time.monotonic() + DEADLINE_SECONDS
    with socket.create_connection((host, port), DEADLINE_SECONDS) as connection:
        connection.sendall(REQUEST)
        answer = b""
        while len(answer) < 4096:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            part = connection.recv(4096)
            if not part:
                break
            answer += part
        return answer


def _answer(code: int, words: str) -> int:
    sys.stdout.write(words + "\n")
    return code
