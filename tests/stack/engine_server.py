"""An HTTP server on a socket that answers as an engine does, and remembers what it was asked to change."""

import fcntl
import http.server
import json
import socketserver
import struct
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from support import wait_until

Answer = tuple[int, Any]  # status, and what is sent as JSON; bytes are sent as they are
VERSION = {"ApiVersion": "1.41", "MinAPIVersion": "1.12", "Version": "20.10"}
INFO = {"Swarm": {"LocalNodeState": "active", "ControlAvailable": True, "NodeID": "id-manager1"}}


@dataclass
class EngineServer:
    """`answers` by method and path, without the API's version; a callable is asked each time."""

    socket: Path
    answers: dict[str, Answer | Callable[[], Answer]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)  # every address, as a person reads it
    answered: list[str] = field(default_factory=list)  # "GET /services"
    changes: list[str] = field(default_factory=list)  # every request that is no GET: "DELETE /services/x"
    bodies: list[Any] = field(default_factory=list)  # of those
    commands: list[bytes | None] = field(default_factory=list)  # what each command in a container says; None: it hangs

    @property
    def environment(self) -> dict[str, str]:
        return {"DOCKER_HOST": f"unix://{self.socket}"}

    def answer(self, method: str, path: str) -> Answer:
        found = self.answers.get(f"{method} {path}")
        if found is None:
            return 404, {"message": f"no such thing: {method} {path}"}
        return found() if callable(found) else found


def frame(text: str | bytes, stream: int = 1) -> bytes:
    """Words of a command: 1 is its output, 2 its errors."""
    words = text if isinstance(text, bytes) else text.encode()
    return struct.pack(">BxxxL", stream, len(words)) + words


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine: EngineServer

    def address_string(self) -> str:
        return "a socket"

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._do("GET")

    def do_POST(self) -> None:
        self._do("POST")

    def do_DELETE(self) -> None:
        self._do("DELETE")

    def _do(self, method: str) -> None:
        self.engine.asked.append(unquote(self.path))
        path = unquote(urlsplit(self.path).path)
        parts = path.split("/")
        if len(parts) > 1 and parts[1].startswith("v1."):
            path = "/" + "/".join(parts[2:])
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if method != "GET":
            self.engine.changes.append(f"{method} {path}")
            self.engine.bodies.append(json.loads(body) if body else None)
        if path.startswith("/exec/") and path.endswith("/start"):
            self._command()
            return
        status, said = self.engine.answer(method, path)
        self.engine.answered.append(f"{method} {path}")
        out = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)

    def _command(self) -> None:
        """The connection becomes the command's."""
        said = self.engine.commands.pop(0)
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "tcp")
        self.end_headers()
        # A real command says nothing so early. The SDK would lose what comes in one piece with the headers.
        wait_until(self._all_is_read, 10, "the headers are read")
        if said is None:
            self.connection.settimeout(20)
            self.rfile.read(1)  # until the asker gives up
        else:
            self.wfile.write(said)
        self.close_connection = True

    def _all_is_read(self) -> bool:
        left = fcntl.ioctl(self.connection, termios.TIOCOUTQ, b"\0" * 4)
        return struct.unpack("i", left) == (0,)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """An asker that goes away is none; anything else is told."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


@contextmanager
def engine_server(directory: Path) -> Iterator[EngineServer]:
    """An engine that is a manager of a Swarm in which nothing runs."""
    engine = EngineServer(directory / "engine.sock")
    engine.answers |= {"GET /version": (200, VERSION), "GET /info": (200, INFO)}
    engine.answers |= {f"GET /{what}": (200, []) for what in ("services", "tasks", "nodes", "secrets", "configs")}
    engine.answers |= {"GET /networks": (200, []), "GET /containers/json": (200, [])}
    handler = type("Handler", (_Handler,), {"engine": engine})
    with _Server(str(engine.socket), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield engine
        finally:
            server.shutdown()
            thread.join(10)
