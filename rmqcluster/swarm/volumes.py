"""`python3 -m rmqcluster.swarm.volumes STACK` beside one host's engine: removes the stack's volumes there.

It runs inside the image, which has no Docker SDK.
"""

import http.client
import json
import socket
import sys
import time
from threading import Event
from urllib.parse import quote

SOCKET = "/var/run/docker.sock"
STACK_LABEL = "com.docker.stack.namespace"
ANSWER_SECONDS = 20.0
IN_USE_SECONDS = 60.0  # containers of a stack that has just been removed still stop
LOOK_SECONDS = 1.0
IN_USE = 409
NOT_THERE = 404


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ANSWER_SECONDS)
        self.sock.connect(SOCKET)


def main(stack: str) -> int:
    """0: none is left on this host."""
    deadline, pacing = time.monotonic() + IN_USE_SECONDS, Event()
    left = _names(stack)
    while left:
        states = {name: _ask("DELETE", f"/volumes/{quote(name, safe='')}")[0] for name in left}
        left = [name for name, state in states.items() if state >= 300 and state != NOT_THERE]
        if any(states[name] != IN_USE for name in left) or time.monotonic() > deadline:
            break
        if left:
            pacing.wait(LOOK_SECONDS)
    for name in left:
        sys.stderr.write(f"{name} could not be removed\n")
    return int(bool(left))


def _names(stack: str) -> list[str]:
    filters = quote(json.dumps({"label": [f"{STACK_LABEL}={stack}"]}))
    state, body = _ask("GET", f"/volumes?filters={filters}")
    if state != http.client.OK:
        raise SystemExit(f"the engine answered HTTP {state}")
    return [one["Name"] for one in json.loads(body).get("Volumes") or ()]


def _ask(method: str, path: str) -> tuple[int, bytes]:
    connection = _Connection("localhost", timeout=ANSWER_SECONDS)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
