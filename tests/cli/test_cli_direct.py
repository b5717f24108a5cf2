"""What the command line still knows when Redis is gone: supervisors asked directly, whom they name, and no more."""

import json

import pytest
from cli_bench import Run, Serve


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
