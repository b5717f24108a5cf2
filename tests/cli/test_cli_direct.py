"""What the command line still knows when Redis is gone: supervisors asked directly, whom they name, and no more."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator

import pytest
from cli_bench import Run

Serve = Callable[[bytes], int]


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


def row(node: str, port: int | None = None, **changes: object) -> dict[str, object]:
    known: dict[str, object] = {"node": node, "running": True, "mutual": True, "state": "running", "held": None}
    return known | {"version": "3.10.8", "management": None, "http": port and f"127.0.0.1:{port}"} | changes


def document(*rows: dict[str, object]) -> bytes:
    return json.dumps({"cluster_id": "id-1", "members": rows, "redis": {"last_contact_seconds": 12.5}}).encode()


def test_supervisors_tell_what_redis_cannot(
    bare: None, run: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The local supervisor and those that it names are asked; each is believed about itself."""
    far = serve(document(row("rabbit@b", state="running"), row("rabbit@localhost", running=False)))
    near = serve(document(row("rabbit@localhost"), row("rabbit@b", far, running=False), row("rabbit@c", 9)))
    monkeypatch.setenv("RMQCLUSTER_HTTP_PORT", str(near))
    code, text, _ = run("status", "--json")
    found = json.loads(text)

    assert code == 1
    assert found["verdict"] == "degraded"
    assert found["cluster_id"] == "id-1"
    assert found["redis"]["reachable"] is False
    assert found["redis"]["last_contact_seconds"] == 12.5
    running = {one["node"]: one["running"] for one in found["members"]}
    assert running == {"rabbit@localhost": True, "rabbit@b": True, "rabbit@c": None}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"null",
        b'{"members": 5}',
        b'{"members": [1, null, {"node": 7, "http": []}], "redis": []}',
        b"\xff",
    ],
)
def test_nonsense_from_a_supervisor_is_unknown(
    bare: None, run: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    """An answer of another shape proves nothing and breaks nothing."""
    monkeypatch.setenv("RMQCLUSTER_HTTP_PORT", str(serve(body)))
    code, text, _ = run("status", "--json")

    assert code == 2
    assert json.loads(text)["verdict"] == "unknown"
