"""RabbitMQ's tools and management API seen through fakes: deadlines, words, wrong answers."""

import base64
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rmqcluster.agent.ports import BrokerFacts
from rmqcluster.broker.ctl import Ctl
from rmqcluster.broker.http import get_json
from rmqcluster.broker.management import ManagementApi, parse_view
from rmqcluster.broker.version import Scripts
from rmqcluster.config.settings import Secret, Settings
from rmqcluster.errors import BrokerRefused, BrokerUnavailable, CommandFailed

ME = "rabbit@one"


@dataclass
class Done:
    status: int | None = 0
    stdout: bytes = b""
    stderr: bytes = b""
    timed_out: bool = False


@dataclass
class Tools:
    """Answers commands by their name and remembers them."""

    answers: dict[str, Done] = field(default_factory=dict)
    ran: list[list[str]] = field(default_factory=list)
    inputs: list[bytes] = field(default_factory=list)

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        deadline_seconds: float,
        input_bytes: bytes = b"",
        cwd: Path | None = None,
    ) -> Done:
        self.ran.append(list(argv[1:]))
        self.inputs.append(input_bytes)
        return self.answers.get(argv[1], Done())


def ctl(tools: Tools) -> Ctl:
    return Ctl(Settings(ME, Secret("canary-cookie")), tools, Scripts(Path("/opt"), "3.10.8"), {})


def term(value: object) -> bytes:
    return b'<<"' + base64.b64encode(json.dumps(value).encode()) + b'">>\n'


def listing(*members: str) -> Done:
    return Done(stdout=term({"members": members, "running": members, "ours": None, "users": []}))


def test_the_answer_is_the_last_term() -> None:
    """4.x prints the server's log lines on the tools' stdout."""
    tools = Tools({"eval": Done(stdout=b"2026 [info] hello\n" + term(1) + b"2026 [info] more\n" + term({"a": 2}))})

    assert ctl(tools).eval_json("x") == {"a": 2}


@pytest.mark.parametrize("stdout", [b"", b"{error,foo}\n", b'<<"no base64!">>\n', b'<<"bm90IGpzb24=">>\n'])
def test_an_unusable_answer_is_a_failure(stdout: bytes) -> None:
    """`eval` exits 0 whatever it says."""
    with pytest.raises(CommandFailed, match="no usable answer"):
        ctl(Tools({"eval": Done(stdout=stdout)})).eval_json("x")


def test_a_timeout_is_unknown_not_failed() -> None:
    """A command that was still running at its deadline may have taken effect."""
    with pytest.raises(CommandFailed, match="its effect is unknown") as failed:
        ctl(Tools({"stop_app": Done(None, timed_out=True)})).run("rabbitmqctl", "stop_app", deadline_seconds=1)
    assert failed.value.timed_out


def test_definitions_go_in_by_stdin_alone() -> None:
    """A bare `eval` (with more words 4.x has no stdin); nothing of the content in arguments or errors."""
    tools = Tools({"eval": Done(stdout=term("{error,no_vhost}"))})
    with pytest.raises(CommandFailed, match=r"refused the definitions: \{error,no_vhost\}") as failed:
        ctl(tools).import_definitions(b'{"users": "canary"}')

    assert tools.ran == [["eval"]]
    assert base64.b64encode(b'{"users": "canary"}') in tools.inputs[0]
    assert b"\n" not in tools.inputs[0]
    assert "canary" not in str(failed.value)


def test_an_import_that_was_taken_says_nothing() -> None:
    """The broker's `ok` is empty; anything else is its reason."""
    tools = Tools({"eval": Done(stdout=term(""))})
    ctl(tools).import_definitions(b"{}")
    assert tools.ran == [["eval"]]


def test_join_never_touches_a_member() -> None:
    """`join_cluster` on a member resets it on Khepri, so a broker that lists others is left alone."""
    tools = Tools({"eval": listing(ME, "rabbit@two")})
    with pytest.raises(CommandFailed, match="already lists rabbit@two"):
        ctl(tools).join("rabbit@three")

    assert [command[0] for command in tools.ran] == ["eval"]


@pytest.mark.parametrize("target", [ME, "--help", "rabbit@a b", "x"])
def test_join_needs_another_members_name(target: str) -> None:
    """A switch or the own name is no target."""
    tools = Tools({"eval": listing(ME)})
    with pytest.raises(CommandFailed, match="not another member"):
        ctl(tools).join(target)
    assert tools.ran == []


def test_a_failed_join_starts_the_application_again() -> None:
    """Whatever join_cluster says, the broker does not stand still afterwards."""
    tools = Tools({"eval": listing(ME), "join_cluster": Done(69, stderr=b"Error:\nnodedown")})
    with pytest.raises(CommandFailed, match="nodedown"):
        ctl(tools).join("rabbit@two")

    assert [command[0] for command in tools.ran] == ["eval", "stop_app", "join_cluster", "start_app"]


@pytest.mark.parametrize("nodes", [[], {}, [{"name": 1}], [{"name": "x" * 300 + "@a"}], ["rabbit@one"]])
def test_a_strange_list_of_nodes_is_unknown(nodes: object) -> None:
    """Another shape than RabbitMQ's is no view, not an empty one."""
    with pytest.raises(BrokerUnavailable):
        parse_view(nodes, {"status": "ok"})


def test_alarms_are_named_with_their_node() -> None:
    """The words that an operator reads."""
    alarms = {"status": "failed", "alarms": [{"node": "rabbit@a", "resource": "disk space"}]}

    assert parse_view([{"name": "rabbit@a", "running": True}], alarms).alarms == ("disk rabbit@a",)


class Api:
    """A management API that answers what the test says."""

    def __init__(self) -> None:
        self.status, self.body = 200, b"[]"
        self.silent = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if outer.silent.is_set():
                    outer.released.wait(10)
                    return
                self.send_response(outer.status)
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, *arguments: Any) -> None:
                pass

        self.released = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def get(self, seconds: float = 5.0) -> object:
        return get_json(f"127.0.0.1:{self.port}", "/x", "u", Secret("canary"), deadline_seconds=seconds)


@pytest.fixture
def api() -> Iterator[Api]:
    made = Api()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, b"{}", BrokerRefused),
        (403, b"{}", BrokerRefused),
        (500, b"{}", BrokerUnavailable),
        (200, b"not json", BrokerUnavailable),
        (200, b"x" * (5 * 1024 * 1024), BrokerUnavailable),
    ],
)
def test_wrong_answers_are_trouble(api: Api, status: int, body: bytes, expected: type[Exception]) -> None:
    """A refusal is told apart from everything else that gives no facts; the password is in no message."""
    api.status, api.body = status, body
    with pytest.raises(expected) as trouble:
        api.get()
    assert "canary" not in str(trouble.value)
    assert isinstance(trouble.value, BrokerRefused) is (expected is BrokerRefused)


def test_a_silent_broker_is_unavailable_in_time(api: Api) -> None:
    """A broker that accepts and says nothing costs the deadline, no more."""
    api.silent.set()
    with pytest.raises(BrokerUnavailable, match="no timely answer"):
        api.get(0.2)


def test_without_an_account_the_fallback_is_asked_but_not_each_time(api: Api) -> None:
    """An adopted cluster is read by a command, at most every five seconds."""
    api.status = 401
    asked: list[int] = []
    now = [100.0]

    def fallback() -> BrokerFacts:
        asked.append(1)
        return BrokerFacts(stamp="")

    management = ManagementApi(
        Settings(ME, Secret("c"), management_port=api.port), fallback=fallback, monotonic=lambda: now[0]
    )
    management.facts()
    management.facts()
    assert len(asked) == 1
    now[0] += 6
    assert management.facts().stamp == ""
    assert len(asked) == 2


def test_without_a_fallback_the_refusal_is_told(api: Api) -> None:
    """BrokerRefused says whose account was refused."""
    api.status = 401
    with pytest.raises(BrokerRefused, match="rmqcluster-monitor"):
        ManagementApi(Settings(ME, Secret("c"), management_port=api.port)).facts()
