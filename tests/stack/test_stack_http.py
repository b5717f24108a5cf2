"""What runs inside the image: emptying queues over the management API, removing volumes over the engine's socket."""

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from engine_server import EngineServer

from rmqcluster.swarm import purge, volumes

LOGIN = f"Basic {base64.b64encode(b'admin:the-password ').decode()}"  # a space at its end is part of it


class Management(http.server.ThreadingHTTPServer):
    """A broker's management API: its queues, what was purged, and what is answered to a purge of a queue."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.queues: list[dict[str, Any]] = []
        self.refused: dict[str, int] = {}
        self.purged: list[str] = []


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Management

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        allowed = self.headers["Authorization"] == LOGIN
        self._answer(200 if allowed else 401, json.dumps(self.server.queues).encode())

    def do_DELETE(self) -> None:
        _, _, _, vhost, name, contents = self.path.split("/")
        assert contents == "contents"
        if name not in self.server.refused:
            self.server.purged.append(f"{unquote(vhost)} {unquote(name)}")
        self._answer(self.server.refused.get(name, 204), b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def management(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Management]:
    """The only broker that answers, and the one that is asked second."""
    (tmp_path / "password").write_text("the-password \n")
    monkeypatch.setenv("MQ_ADMIN_USER", "admin")
    monkeypatch.setenv("MQ_ADMIN_PASS_FILE", str(tmp_path / "password"))
    with Management() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        monkeypatch.setattr(purge, "HOSTS", ("127.0.0.2", "127.0.0.1"))
        monkeypatch.setattr(purge, "PORT", server.server_port)
        yield server
        server.shutdown()
        thread.join(10)


def queue(name: str, kind: str = "quorum", vhost: str = "/fog", **more: Any) -> dict[str, Any]:
    return {"name": name, "vhost": vhost, "type": kind, **more}


def test_every_queue_is_purged(management: Management, capsys: pytest.CaptureFixture[str]) -> None:
    """Classic and quorum queues of all vhosts, whatever their names hold; the first broker that answers does it."""
    management.queues = [queue("a", messages_ready=3), queue("b/c d", "classic", vhost="/")]

    assert purge.main() == 0
    assert management.purged == ["/fog a", "/ b/c d"]
    assert capsys.readouterr().out.splitlines() == [
        *("/fog a: purged (3 ready)", "/ b/c d: purged (unknown ready)", "2 queues")
    ]


def test_streams_are_left_alone(management: Management, capsys: pytest.CaptureFixture[str]) -> None:
    """RabbitMQ cannot purge a stream, and it is said that its messages stay."""
    management.queues = [queue("s", "stream")]

    assert purge.main() == 0
    assert management.purged == []
    assert "/fog s: a stream, left alone" in capsys.readouterr().out


def test_a_queue_that_refuses_does_not_save_the_others(
    management: Management, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest is purged, the refusal is told, and the exit code says that not all was done."""
    management.queues = [queue("a"), queue("b"), queue("c")]
    management.refused = {"b": 405}

    assert purge.main() == 1
    assert management.purged == ["/fog a", "/fog c"]
    assert "/fog b: not purged (HTTP 405)" in capsys.readouterr().out


def test_no_queue_is_fine(management: Management, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing to do is success, and is said."""
    assert purge.main() == 0
    assert capsys.readouterr().out == "there is no queue\n"


def test_a_wrong_login_purges_nothing(
    management: Management, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Words with the reason and the exit code for what cannot be reached; the password is not in them."""
    (tmp_path / "password").write_text("other-password")
    management.queues = [queue("a")]

    assert purge.main() == 69
    said = capsys.readouterr()
    assert said.err == "nothing was purged, or not all: 127.0.0.1: HTTP 401\n"
    assert management.purged == []


def test_nobody_to_ask_is_told(management: Management, capsys: pytest.CaptureFixture[str]) -> None:
    """With no broker in reach the command ends, and says so."""
    management.shutdown()
    management.server_close()

    assert purge.main() == 69
    assert "127.0.0.1: " in capsys.readouterr().err


@pytest.fixture
def host(server: EngineServer, monkeypatch: pytest.MonkeyPatch) -> EngineServer:
    """One host's engine, with two volumes of the stack."""
    monkeypatch.setattr(volumes, "SOCKET", str(server.socket))
    monkeypatch.setattr(volumes, "LOOK_SECONDS", 0.01)
    server.answers |= {
        "GET /volumes": (200, {"Volumes": [{"Name": "fog_a"}, {"Name": "fog_b"}]}),
        "DELETE /volumes/fog_a": (204, b""),
        "DELETE /volumes/fog_b": (204, b""),
    }
    return server


def test_all_volumes_of_the_stack_go(host: EngineServer) -> None:
    """Each volume with the stack's label is removed, and that is success."""
    assert volumes.main("fog") == 0
    assert host.changes == ["DELETE /volumes/fog_a", "DELETE /volumes/fog_b"]
    assert host.asked[0] == '/volumes?filters={"label": ["com.docker.stack.namespace=fog"]}'


@pytest.mark.parametrize("none", [[], None])
def test_no_volume_is_fine(host: EngineServer, none: list[object] | None) -> None:
    """A host that never had one is done, whichever way the engine says nothing."""
    host.answers["GET /volumes"] = (200, {"Volumes": none})

    assert volumes.main("fog") == 0
    assert host.changes == []


def test_a_volume_in_use_is_tried_again(host: EngineServer) -> None:
    """Containers of the stack may still stop: the volume goes when they have ended; one that has gone is gone."""
    states = iter([409, 409, 204])
    host.answers["DELETE /volumes/fog_a"] = lambda: (next(states), b"")
    host.answers["DELETE /volumes/fog_b"] = (404, {})

    assert volumes.main("fog") == 0
    assert host.changes.count("DELETE /volumes/fog_a") == 3
    assert host.changes.count("DELETE /volumes/fog_b") == 1


def test_a_volume_that_stays_in_use_is_told(
    host: EngineServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the deadline it is named, and the exit code says that something is left."""
    monkeypatch.setattr(volumes, "IN_USE_SECONDS", 0.05)
    host.answers["DELETE /volumes/fog_a"] = (409, b"")

    assert volumes.main("fog") == 1
    assert capsys.readouterr().err == "fog_a could not be removed\n"


def test_an_error_is_not_waited_for(host: EngineServer, capsys: pytest.CaptureFixture[str]) -> None:
    """What no waiting mends ends at once; the other volumes have been removed."""
    host.answers["DELETE /volumes/fog_a"] = (500, b"")

    assert volumes.main("fog") == 1
    assert host.changes == ["DELETE /volumes/fog_a", "DELETE /volumes/fog_b"]
    assert capsys.readouterr().err == "fog_a could not be removed\n"


def test_an_engine_that_refuses_is_told(host: EngineServer) -> None:
    """No list of volumes is no empty list."""
    host.answers["GET /volumes"] = (500, b"")

    with pytest.raises(SystemExit, match="the engine answered HTTP 500"):
        volumes.main("fog")
    assert host.changes == []
