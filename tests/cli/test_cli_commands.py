"""The commands against a real Redis: exit codes, words, JSON, questions asked."""

import io
import json
import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cli_bench import CLUSTER_ID, NODES, Bench, Run
from redis_server import free_port

from rmqcluster.cli.main import cli
from rmqcluster.core.model import BrokerPhase, DiskKind, View

pytestmark = pytest.mark.redis


def test_status_of_a_healthy_cluster(bench: Bench, run: Run) -> None:
    """Three proven members: healthy, exit 0, in text and in the contract's JSON."""
    bench.form()
    code, text, _ = run("status")
    json_code, document, _ = run("status", "--json")
    found = json.loads(document)

    assert (code, json_code) == (0, 0)
    assert text.startswith("HEALTHY  3 of 3 members serve.")
    assert (found["verdict"], found["master"], found["cluster_id"]) == ("healthy", "rabbit@a", CLUSTER_ID)


def test_status_of_a_lost_member_says_since_when(bench: Bench, run: Run) -> None:
    """A removed member is degraded, exit 1, with the time since its removal from the history."""
    bench.form()
    bench.raw.delete("rabbitmq:node:rabbit@c:heartbeat", "rabbitmq:node:rabbit@c:announcement")
    bench.raw.srem("rabbitmq:cluster:members", "rabbit@c")
    for node in NODES[:2]:
        bench.beat(node, view=View(frozenset(NODES), frozenset(NODES[:2])))
    bench.event("RemoveMember", "LOST rabbit@c: no heartbeat, and the brokers do not see it")
    code, document, _ = run("status", "--json")
    lost = json.loads(document)["reasons"][0]

    assert code == 1
    assert re.fullmatch(r"rabbit@c LOST \d+s: no heartbeat, 2 of 2 peers do not see it", lost)


def test_health_report(bench: Bench, run: Run) -> None:
    """The report has the contract's lines; without PostgreSQL configured it says so."""
    bench.form()
    code, text, _ = run("health")

    assert code == 0
    assert text.splitlines() == [
        "Service Health",
        "a: healthy",
        "b: healthy",
        "c: healthy",
        "redis: healthy",
        "Redis Coordinator",
        "Members: rabbit@a rabbit@b rabbit@c",
        "Master:  rabbit@a",
        "postgres: not configured",
    ]


@contextmanager
def one_answer(answer: bytes) -> Iterator[int]:
    """A server that answers one question with `answer`."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(8)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(listening.getsockname()[1])
        thread.join(5)


@pytest.mark.parametrize(
    ("answer", "word", "expected"), [(b"S", "healthy", 0), (b"N", "healthy", 0), (b"H", "unhealthy", 1)]
)
def test_postgres_is_asked_in_its_own_protocol(
    bench: Bench, run: Run, monkeypatch: pytest.MonkeyPatch, answer: bytes, word: str, expected: int
) -> None:
    """PostgreSQL's answer to the handshake counts; anything else on its port is unhealthy."""
    bench.form()
    with one_answer(answer) as port:
        monkeypatch.setenv("POSTGRES_HOST", "127.0.0.1")
        monkeypatch.setenv("POSTGRES_PORT", str(port))
        code, text, _ = run("health")

    assert code == expected
    assert text.splitlines()[-1].startswith(f"postgres: {word}")


def test_postgres_that_is_gone(bench: Bench, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection is told, and counts as degraded."""
    bench.form()
    monkeypatch.setenv("POSTGRES_HOST", "127.0.0.1")
    monkeypatch.setenv("POSTGRES_PORT", str(free_port()))
    code, text, _ = run("health")

    assert code == 1
    assert "postgres: unreachable" in text


def test_wait_ends_when_the_members_are_there(bench: Bench, run: Run) -> None:
    """Enough mutual registered members: exit 0 at once, and who they are."""
    bench.form()

    assert run("wait", "--nodes", "3", "--timeout", "5")[:2] == (0, "3 members: rabbit@a rabbit@b rabbit@c\n")


def test_wait_for_the_whole_cluster_wants_the_monitors_word(bench: Bench, run: Run) -> None:
    """Three mutual members are not enough: the lease holder must have seen all replicas with these very instances."""
    runs = frozenset(f"i-{node}" for node in NODES)
    bench.form()
    bench.lease()
    for seen in (frozenset(), runs - {"i-rabbit@c"}, frozenset({*runs, "i-old"}) - {"i-rabbit@b"}):
        bench.beat(NODES[0], whole=seen)
        code, out, said = run("wait", "--whole", "--timeout", "0")
        assert (code, out) == (69, "")
        assert "the cluster is whole: the monitor has not seen yet that all replicas have caught up" in said
    bench.beat(NODES[0], whole=runs)

    assert run("wait", "--whole", "--timeout", "0")[:2] == (0, "3 members: rabbit@a rabbit@b rabbit@c\n")


def test_wait_for_the_whole_cluster_wants_it_healthy(bench: Bench, run: Run) -> None:
    """What makes the cluster degraded keeps it from being whole, and is what is told."""
    bench.form()
    bench.lease()
    bench.lose(NODES[2])
    bench.beat(
        NODES[0], whole=frozenset(f"i-{node}" for node in NODES), view=View(frozenset(NODES), frozenset(NODES[:2]))
    )
    code, _, said = run("wait", "--whole", "--nodes", "2", "--timeout", "0")

    assert code == 69
    assert "waiting until the cluster is whole: rabbit@c LOST" in said
    assert run("wait", "--nodes", "2", "--timeout", "0")[0] == 0


def test_wait_says_what_it_waits_for(bench: Bench, run: Run) -> None:
    """At the deadline it exits 69, having said whom it has and whom it misses."""
    bench.beat("rabbit@a")
    bench.beat("rabbit@b", registered=False, mutual=None, view=None, broker=BrokerPhase.STARTING, state="joining")
    code, _, said = run("wait", "--nodes", "2", "--timeout", "0.2")

    assert code == 69
    assert "waiting for 2 mutual registered members: rabbit@a" in said
    assert "rabbit@b joining" in said


@pytest.mark.parametrize("typed", ["", "n\n"])
def test_clear_without_a_yes_changes_nothing(
    bench: Bench, run: Run, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    """The confirmation says what will follow; a no, or nobody there to answer, deletes nothing."""
    bench.form()
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    code, _, said = run("clear")

    assert code == 1
    assert "This deletes members (rabbit@a, rabbit@b, rabbit@c)" in said
    assert bench.raw.scard("rabbitmq:cluster:members") == 3


def test_clear_keeps_identity_and_epoch(bench: Bench, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a yes the labels and heartbeats are gone; the record and the epoch stay."""
    bench.form()
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    code, text, _ = run("clear")

    assert (code, text.splitlines()[-1]) == (0, "cleared: members, master, heartbeats")
    assert not bench.raw.exists("rabbitmq:cluster:members", "rabbitmq:cluster:master")
    assert not bench.raw.keys("rabbitmq:node:*:heartbeat")
    assert bench.raw.exists("rabbitmq:cluster:record") == 1
    assert bench.raw.get("rabbitmq:cluster:epoch") == "7"


def test_clear_identity_is_refused_while_anybody_is_there(bench: Bench, run: Run) -> None:
    """A live member or an announced data disk keeps the identity, whatever was typed; nothing is deleted."""
    bench.form()
    code, _, said = run("clear", "--identity", "--yes", "--id", CLUSTER_ID)

    assert code == 1
    assert "refused: rabbit@a, rabbit@b, rabbit@c still live or hold data" in said
    assert bench.raw.scard("rabbitmq:cluster:members") == 3


def test_clear_identity_wants_the_right_id(bench: Bench, run: Run) -> None:
    """With nobody there, the wrong id changes nothing and the right one forgets the cluster but not the epoch."""
    bench.form()
    for node in NODES:
        bench.raw.delete(f"rabbitmq:node:{node}:heartbeat")
        bench.raw.delete(f"rabbitmq:node:{node}:announcement")
    bench.beat("rabbit@a", registered=False, disk=DiskKind.BLANK, cluster_id=None, mutual=None, view=None)

    assert run("clear", "--identity", "--yes", "--id", "another")[0] == 1
    assert bench.raw.exists("rabbitmq:cluster:record") == 1
    assert run("clear", "--identity", "--yes", "--id", CLUSTER_ID)[0] == 0
    assert bench.raw.exists("rabbitmq:cluster:record") == 0
    assert bench.raw.get("rabbitmq:cluster:epoch") == "7"
    assert run("clear", "--identity", "--yes", "--id", CLUSTER_ID)[0] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("clear", "--identity", "--yes"),
        ("clear", "--id", "x"),
        ("wait", "--nodes", "0"),
        ("status", "--nonsense"),
        ("nonsense",),
        ("status", "extra"),
    ],
)
def test_usage_errors_exit_64(bench: Bench, run: Run, arguments: tuple[str, ...]) -> None:
    """A command that cannot be meant is refused before anything is touched."""
    assert run(*arguments)[0] == 64


def test_history_is_oldest_first_and_escaped(bench: Bench, run: Run) -> None:
    """Events come with time, actor, kind, rule, epoch and words; what Redis holds cannot move the cursor."""
    bench.event("boot", "first")
    bench.event("kill", "second \x1b[2J\r\n")
    code, text, _ = run("history")
    found = json.loads(run("history", "--json")[1])
    lines = text.splitlines()

    assert code == 0
    assert len(lines) == 2
    assert "rabbit@a  boot  rule 830 epoch 7 first" in lines[0]
    assert all(line.isprintable() for line in lines)
    assert [event["kind"] for event in found] == ["boot", "kill"]


def test_history_of_nothing(bench: Bench, run: Run) -> None:
    """An empty stream is said to be empty."""
    assert run("history")[:2] == (0, "nothing has been recorded yet\n")
    assert json.loads(run("history", "--json")[1]) == []


def test_doctor_of_a_good_redis(bench: Bench, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A healthy Redis has no wrong finding of its own; a missing password is only unwise."""
    code, document, _ = run("doctor", "--json")
    found = {one["about"]: one for one in json.loads(document)}

    assert code == 0
    assert found["redis"]["level"] == "ok"
    assert found["redis auth"]["level"] == "warn"
    assert found["redis eviction"]["level"] == "ok"
    assert found["clock"]["level"] == "ok"


def test_doctor_finds_eviction_and_names_that_do_not_resolve(bench: Bench, run: Run) -> None:
    """An evicting policy and an unknown host are wrong, exit 1, each with its mend."""
    bench.raw.config_set("maxmemory-policy", "allkeys-lru")
    bench.beat("rabbit@no-such-host.invalid")
    try:
        code, document, _ = run("doctor", "--json")
    finally:
        bench.raw.config_set("maxmemory-policy", "noeviction")
    wrong = {one["about"]: one for one in json.loads(document) if one["level"] == "wrong"}

    assert code == 1
    assert set(wrong) == {"redis eviction", "dns"}
    assert all(one["mend"] for one in wrong.values())


def test_doctor_finds_differing_cookies_and_versions(bench: Bench, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cookies are compared by fingerprint and never shown; mixed versions are only unwise."""
    monkeypatch.setenv("RABBITMQ_ERLANG_COOKIE", "canary-cookie")
    bench.beat("rabbit@localhost", cookie="aaaa", version="3.10.8")
    bench.beat("other@localhost", cookie="bbbb", version="4.0.5")
    code, text, said = run("doctor")

    assert code == 1
    assert "WRONG    cookie: not the same on all members" in text
    assert "WARN     rabbitmq: members run 3.10.8, 4.0.5" in text
    assert "canary-cookie" not in text + said


def test_doctor_of_a_bad_setting_exits_78(bench: Bench, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong setting is a finding, and the exit code says configuration."""
    monkeypatch.setenv("RMQCLUSTER_SIZE", "many")
    code, document, _ = run("doctor", "--json")

    assert code == 78
    assert "RMQCLUSTER_SIZE" in json.loads(document)[0]["found"]


@pytest.mark.parametrize("command", ["status", "health", "wait", "history", "clear"])
def test_a_bad_setting_is_a_message_and_78(
    bench: Bench, run: Run, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """No traceback: the variable, what is wrong, and exit 78."""
    monkeypatch.setenv("RMQCLUSTER_SIZE", "many")
    code, _, said = run(command)

    assert code == 78
    assert "RMQCLUSTER_SIZE" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(("command", "expected"), [("history", 69), ("clear", 69), ("status", 2), ("health", 2)])
def test_without_redis(bare: None, run: Run, command: str, expected: int) -> None:
    """Who needs Redis exits 69 with a message; who only looks says what is unknown and exits 2."""
    code, out, said = run(command)

    assert code == expected
    assert "127.0.0.1" in out + said or "redis: unreachable" in out


def test_wait_without_redis_ends_in_time(bare: None, run: Run) -> None:
    """A silent Redis is waited for, and the deadline holds."""
    code, _, said = run("wait", "--timeout", "0.2")

    assert code == 69
    assert "Redis does not answer" in said


def test_commands_without_a_demo_say_so(bare: None, run: Run) -> None:
    """`--demo` before or after the command means the demo, which is not there."""
    for arguments in (("--demo", "status"), ("status", "--demo")):
        code, _, said = run(*arguments)

        assert code == 1
        assert "there is no demo" in said


def test_explain_prints_the_rules_and_who_does_not_answer(bare: None, run: Run) -> None:
    """The tables need nobody; a supervisor out of reach is said to be so."""
    code, text, _ = run("explain")

    assert code == 0
    assert "What a member does with its own broker" in text
    assert "does not answer" in text


def test_every_command_has_help(bare: None, run: Run) -> None:
    """Each command says what it is for."""
    for name, command in cli.commands.items():
        assert command.help, name
        assert run(name, "--help")[0] == 0
