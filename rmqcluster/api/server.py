"""The HTTP server of a supervisor: the standard library's, with every resource bounded.

Bounded are: threads, seconds per connection (a slow sender is cut off), size of a request. One request per
connection. Nothing is redirected, nothing is allowed across origins, no version is told.
"""

import re
import socket
import sys
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import urlsplit

from rmqcluster.agent.published import Published
from rmqcluster.api.routes import TEXT, Answer, Request, Scene, answer
from rmqcluster.config.settings import Settings
from rmqcluster.errors import ConfigurationError

REQUEST_SECONDS = 5.0
REMOTE_CONNECTIONS_MAX = 8
CONNECTIONS_MAX = 12  # the rest is for this host: strangers cannot keep its health check out
BODY_BYTES_MAX = 64 * 1024
STOP_SECONDS = 2.0
POLL_SECONDS = 0.25  # how soon the end of a slow connection is noticed
HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")


class ApiServer:
    """Serves what `published` returns. `start` binds; `port` is the bound port (settings may ask for port 0).

    `published` may be set later: until then there is nothing to show but that the start goes on (`starting`).
    """

    def __init__(
        self,
        settings: Settings,
        published: Callable[[], Published | None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self.published = published
        self._monotonic = monotonic
        self._sign: tuple[float, str] = (0.0, "")
        self._server: _Server | None = None
        self._thread: Thread | None = None

    @property
    def port(self) -> int:
        return self._settings.http_port if self._server is None else int(self._server.server_address[1])

    @property
    def is_running(self) -> bool:
        return self._server is not None

    def starting(self, waits_for: str) -> None:
        """A sign of life from a supervisor whose loop does not turn yet, with what it waits for."""
        self._sign = (self._monotonic(), waits_for)

    def start(self) -> None:
        """Raises ConfigurationError when the address cannot be bound."""
        address = (self._settings.http_bind.strip("[]"), self._settings.http_port)
        self.starting(self._sign[1])
        try:
            self._server = _Server(address, self.respond)
        except OSError as error:
            raise ConfigurationError(
                f"RMQCLUSTER_HTTP_BIND/_PORT {address[0]}:{address[1]} cannot be used: {error.strerror or error}. "
                "Choose a free port, or end what listens there"
            ) from error
        self._thread = Thread(target=self._server.serve_forever, name="http", args=(POLL_SECONDS,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and cut what is open; may be called twice."""
        if self._server is None or self._thread is None:
            return
        self._server.socket.shutdown(socket.SHUT_RDWR)  # ends the poll at once: a stop budget is short
        self._server.shutdown()
        self._thread.join(STOP_SECONDS)
        self._server.server_close()
        self._server.cut(older_than_seconds=0.0)
        self._server = self._thread = None

    def respond(self, request: Request) -> Answer:
        return answer(request, Scene(self._settings, self.published(), self._monotonic(), *self._sign))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64  # the kernel makes those beyond it wait a whole second

    def __init__(self, address: tuple[str, int], respond: Callable[[Request], Answer]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.respond = respond
        self._lock = Lock()
        self._open: dict[socket.socket, float] = {}
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """As a plain TCP server: the stock one looks its own name up in DNS, which may hang."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Too many at once: the newcomer is closed without a word."""
        local = client_address[0] in ("127.0.0.1", "::1", "::ffff:127.0.0.1")
        with self._lock:
            if len(self._open) >= (CONNECTIONS_MAX if local else REMOTE_CONNECTIONS_MAX):
                return False
            self._open[request] = time.monotonic()
            return True

    def service_actions(self) -> None:
        """Called by `serve_forever` at every poll and after each request."""
        self.cut(older_than_seconds=REQUEST_SECONDS)

    def cut(self, older_than_seconds: float) -> None:
        """Shut connections that last too long, so that their threads end."""
        now = time.monotonic()
        with self._lock:
            for connection, since in self._open.items():
                if now - since >= older_than_seconds:
                    _shut(connection)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that went away or was cut off is no news; anything else is a mistake of ours and is printed."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # already gone


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = REQUEST_SECONDS
    protocol_version = "HTTP/1.0"
    default_request_version = "HTTP/1.0"  # what cannot be understood is answered with a status line, too

    def version_string(self) -> str:
        return "rmqcluster"

    def parse_request(self) -> bool:
        """Any method comes to `_serve`: the routes decide, not the names of this class's methods."""
        if super().parse_request():
            self._serve()
        return False

    def _serve(self) -> None:
        trouble = self._malformed()
        if trouble is not None:
            self._send(trouble)
            return
        path = urlsplit(self.path).path if self.path.startswith("/") else ""
        found = self.server.respond(Request(self.command, path, self.headers.get("Authorization")))
        self._send(found)

    def _malformed(self) -> Answer | None:
        """What no route should see; what is sent along is read and thrown away, within bounds."""
        hosts = self.headers.get_all("Host") or []
        if len(hosts) > 1 or any(HOST.fullmatch(host) is None for host in hosts):
            return Answer(400, TEXT, "the Host header is not usable\n")
        if self.headers.get("Transfer-Encoding") is not None:
            return Answer(501, TEXT, "send a Content-Length\n")
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()):
            return Answer(400, TEXT, "the Content-Length is not a number\n")
        if len(length) > 9 or int(length) > BODY_BYTES_MAX:
            return Answer(413, TEXT, f"a body has {BODY_BYTES_MAX} bytes at most\n")
        self.rfile.read(int(length))
        return None

    def _send(self, found: Answer) -> None:
        body = found.body.encode("utf-8", "replace")
        self.send_response(found.status)
        self.send_header("Content-Type", found.content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Connection", "close")
        for name, value in found.headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, *_: str | None, **__: str | None) -> None:
        """What the base class refuses; the sender's own words are not sent back."""
        self._send(Answer(int(code), TEXT, f"{HTTPStatus(code).phrase}\n"))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Requests are not logged: health checks would fill the log, and their text is a stranger's."""
