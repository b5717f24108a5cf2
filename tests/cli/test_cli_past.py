"""What a status takes from the history, and from the brokers while an alarm lasts."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rmqcluster.agent.ports import Event
from rmqcluster.cli.alarms import alarm_facts
from rmqcluster.cli.past import read_past
from rmqcluster.config.settings import Secret, Settings
from rmqcluster.core.model import View
from rmqcluster.core.status import Moved

A, B = "rabbit@a", "rabbit@b"
NOW = 1_700_000_000.0
NODES = [
    {"name": A, "disk_free": 1932735283, "disk_free_limit": 2147483648, "mem_used": 5, "mem_limit": 10},
    {"name": B, "mem_used": 2048, "mem_limit": 1024},
]
QUEUES = {
    "items": [
        {"vhost": "/fog", "name": "tasks", "messages": 4100000, "message_bytes": 33285996544, "consumers": 0},
        {"vhost": "/", "name": "empty", "messages": 0, "message_bytes": 0, "consumers": 1},
    ]
}
Serve = Callable[[dict[str, Any]], str]


def event(age: float, kind: str, text: str, actor: str = A, epoch: int = 0) -> Event:
    return Event(actor, kind, text, epoch=epoch, at=NOW - age)


def test_last_word_on_each_member_counts() -> None:
    """The newest loss is told; who was stopped on request is told until it boots again."""
    past = read_past(
        [
            event(90, "RemoveMember", f"LOST {B}: no heartbeat"),
            event(60, "stop", "stop requested", A),
            event(50, "stop", "stop requested", B),
            event(40, "boot", "", B),
            event(30, "RemoveMember", f"LOST {B}: no heartbeat"),
            event(20, "stop", "FORGOTTEN: nobody lists it", "rabbit@c"),
        ],
        NOW,
    )

    assert past.lost_seconds == {B: 30}
    assert past.stopped_seconds == {A: 60}


def test_last_move_of_the_master() -> None:
    """From whom, to whom, when and in which epoch; a first naming moved nothing."""
    events = [
        event(9, "SetMaster", f"master {A}"),
        event(8, "SetMaster", f"master {B} (was {A}), asked by x", epoch=14),
    ]

    assert read_past(events[:1], NOW).moved is None
    assert read_past(events, NOW).moved == Moved(A, B, NOW - 8, 14)


def test_minority_ends_with_the_next_lease() -> None:
    """A lease given up for want of a majority starts the time; a lease taken ends it."""
    released = event(60, "ReleaseLease", "my broker does not see a majority, or I am not a proven member")

    assert read_past([released], NOW).minority_seconds == 60
    assert read_past([released, event(50, "TakeLease", "mine")], NOW).minority_seconds is None


@pytest.mark.parametrize("kind", ["RemoveMember", "SetMaster", "stop", "boot", "ReleaseLease", ""])
@pytest.mark.parametrize("text", ["", "LOST", "LOST :", "master", "master x (was", "\x00"])
def test_words_that_nobody_wrote_are_left_out(kind: str, text: str) -> None:
    """Events come from Redis: any text may stand there."""
    past = read_past([event(1, kind, text)], NOW)

    assert (past.lost_seconds, past.stopped_seconds, past.moved) == ({}, {}, None)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a management API that answers by path; anything else is 404."""
    running: list[http.server.ThreadingHTTPServer] = []

    def start(answers: dict[str, Any]) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = answers.get(self.path.partition("?")[0])
                self.send_response(404 if found is None else 200)
                self.end_headers()
                self.wfile.write(json.dumps(found).encode())

            def log_message(self, *_: object) -> None:
                """Quiet."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        running.append(server)
        return f"127.0.0.1:{server.server_port}"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def facts(address: str, *alarms: str) -> tuple[str, ...]:
    views = {A: View(frozenset({A, B}), frozenset({A, B}), alarms)}
    return alarm_facts(Settings(node=A, cookie=Secret("cookie")), views, {A: address})


def test_an_alarm_is_told_with_what_is_free_and_what_is_large(serve: Serve) -> None:
    """Free space and limit of the node with the alarm, and the queues that hold most; empty ones are left out."""
    address = serve({"/api/nodes": NODES, "/api/queues": QUEUES})

    assert facts(address, f"disk {A}", f"memory {B}") == (
        f"{A}: 1.8 GiB free, limit 2.0 GiB",
        f"{B}: 2.0 KiB of memory used, limit 1.0 KiB",
        "biggest: /fog tasks 31.0 GiB, 4100000 messages, 0 consumers",
    )


def test_without_an_alarm_nobody_is_asked() -> None:
    """Statistics cost the brokers something."""
    assert facts("no address at all") == ()


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"/api/nodes": None, "/api/queues": []},
        {"/api/nodes": [7, {"name": A, "disk_free": "much"}], "/api/queues": {"items": [{}, 7, {"messages": True}]}},
        {"/api/nodes": [{"name": A, "disk_free": -1, "disk_free_limit": 5}], "/api/queues": {"items": 7}},
    ],
)
def test_an_answer_of_another_shape_adds_nothing(serve: Serve, answers: dict[str, Any]) -> None:
    """What cannot be understood is no fact."""
    found = facts(serve(answers), f"disk {A}")

    assert [fact for fact in found if A in fact] == []
