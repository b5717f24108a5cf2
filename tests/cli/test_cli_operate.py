"""The operator's commands against a real Redis, with a supervisor's part played by a thread."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_bench import NODES, Bench, Executor, Run, Serve
from support import wait_until

from rmqcluster.cli import asking
from rmqcluster.core.actions import StartOperation
from rmqcluster.core.model import BrokerPhase, DiskKind, OperationKind, View

pytestmark = pytest.mark.redis

A, B, C = NODES
ROOT = Path(__file__).parent.parent.parent
OPERATION_KEY = "rabbitmq:cluster:operation"
Scene = Callable[[Bench], None]


def healthy(bench: Bench) -> None:
    bench.form()
    bench.lease()


def drained(bench: Bench) -> None:
    healthy(bench)
    bench.beat(B, drained=True)


def lost(bench: Bench) -> None:
    """rabbit@c is gone."""
    healthy(bench)
    bench.lose(C)


def wiped(bench: Bench) -> None:
    """rabbit@c came back without its data."""
    lost(bench)
    bench.beat(C, registered=False, disk=DiskKind.AMNESIC, broker=BrokerPhase.DOWN, mutual=None, view=None)


def forgotten(bench: Bench) -> None:
    """rabbit@c has data, but the others no longer list it."""
    lost(bench)
    for node in (A, B):
        bench.beat(node, view=View(frozenset((A, B)), frozenset((A, B))))
    held = "FORGOTTEN: rabbit@a, rabbit@b no longer list rabbit@c, but its disk has data."
    bench.beat(C, registered=False, broker=BrokerPhase.DOWN, mutual=None, view=None, held=held, state="held")


def alone(bench: Bench) -> None:
    """rabbit@a is the last of three."""
    bench.form()
    bench.lose(B, C)


COMMANDS: list[tuple[Scene, tuple[str, ...], OperationKind, str, str, str | None, bool]] = [
    (healthy, ("failover",), OperationKind.FAILOVER, "", "", None, False),
    (healthy, ("failover", "--to", "b"), OperationKind.FAILOVER, "", "", B, False),
    (healthy, ("rebalance",), OperationKind.REBALANCE, "", "", None, False),
    (healthy, ("drain", "b"), OperationKind.DRAIN, B, B, None, False),
    (drained, ("revive", "b"), OperationKind.REVIVE, B, B, None, False),
    (lost, ("forget", "c", "--node", C), OperationKind.FORGET, C, "", None, False),
    (lost, ("forget", "c", "--node", C, "--accept-data-loss"), OperationKind.FORGET, C, "", None, True),
    (wiped, ("replace", "c"), OperationKind.REPLACE, C, "", None, True),
    (forgotten, ("rejoin", "c"), OperationKind.REJOIN, C, C, None, True),
    (alone, ("recover", "--from", "a", "--node", A, "--accept-data-loss"), OperationKind.RECOVER, A, A, None, True),
]
IDS = [" ".join(row[1]) for row in COMMANDS]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members beat every second, so that what waits for beats ends soon."""
    monkeypatch.setenv("RMQCLUSTER_HEARTBEAT_SECONDS", "1")
    monkeypatch.setattr(asking, "TELLING_SECONDS", 0.1)


@pytest.fixture
def short(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every operation has a deadline of two seconds."""
    monkeypatch.setattr(asking, "deadline_seconds", lambda _kind, _policy: 2.0)


@pytest.mark.parametrize(("scene", "command", "kind", "subject", "executor", "target", "consent"), COMMANDS, ids=IDS)
def test_a_command_writes_one_record_and_follows_it(
    bench: Bench,
    run: Run,
    scene: Scene,
    command: tuple[str, ...],
    kind: OperationKind,
    subject: str,
    executor: str,
    target: str | None,
    consent: bool,
) -> None:
    """What the executor sees is what was asked for, by whom; its end is the command's."""
    scene(bench)
    with Executor(bench.store(A), "done") as played:
        code, text, progress = run(*command, "--yes")
    seen = played.seen[0]
    asked = [event for event in bench.store(A).recent_events(10) if event.kind == "operation"]

    assert (code, text) == (0, "done: so it ended\n")
    assert "rabbit@a begin: on it" in progress
    assert (seen.kind, seen.subject, seen.executor) == (kind, subject, executor)
    assert (seen.target, seen.consent) == (target, consent)
    assert seen.by == asking.operator() == asked[0].actor
    assert asked[0].operation == seen.id
    assert bench.raw.exists(OPERATION_KEY) == 0


@pytest.mark.parametrize(("scene", "command"), [row[:2] for row in COMMANDS], ids=IDS)
@pytest.mark.parametrize("word", ["failed", "refused"])
def test_an_end_that_is_not_good_exits_1(
    bench: Bench, run: Run, scene: Scene, command: tuple[str, ...], word: str
) -> None:
    """The executor's own words are told, in text and in JSON."""
    scene(bench)
    with Executor(bench.store(A), word):
        code, text, said = run(*command, "--yes")
        json_code, document, _ = run(*command, "--yes", "--json")
    found = json.loads(document)

    assert (code, text, said.splitlines()[-1]) == (1, "", f"{word}: so it ended")
    assert (json_code, found["outcome"], found["text"]) == (1, word, "so it ended")
    assert found["kind"] == command[0]


@pytest.mark.parametrize(("scene", "command"), [row[:2] for row in COMMANDS], ids=IDS)
def test_f10_without_redis(bare: None, run: Run, scene: Scene, command: tuple[str, ...]) -> None:
    """There is no second way around the guards: one sentence, exit 69."""
    code, text, said = run(*command, "--yes")

    assert (code, text) == (69, "")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("command", [("pause",), ("resume",)])
def test_f10_no_pause_without_redis(bare: None, run: Run, command: tuple[str, ...]) -> None:
    """A pause that nobody would see is an error."""
    assert run(*command)[0] == 69


@pytest.mark.parametrize(
    ("scene", "command"), [row[:2] for row in COMMANDS if row[1][0] not in ("revive", "forget", "recover")], ids=str
)
def test_a_no_changes_nothing(
    bench: Bench, run: Run, monkeypatch: pytest.MonkeyPatch, scene: Scene, command: tuple[str, ...]
) -> None:
    """What follows is said before it is asked; anything but a yes writes nothing, exit 1."""
    scene(bench)
    for typed in ("n\n", ""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        code, _, said = run(*command)

        assert code == 1
        assert len(said.splitlines()) >= 2
        assert bench.raw.exists(OPERATION_KEY) == 0


@pytest.mark.parametrize(
    ("scene", "command", "words"),
    [
        (healthy, ("forget", "c", "--yes", "--node", C), "rabbit@c is alive: it has a heartbeat"),
        (healthy, ("replace", "c"), "rabbit@a, rabbit@b sees its broker"),
        (healthy, ("rejoin", "c"), "was not forgotten"),
        (healthy, ("recover", "--from", "a", "--accept-data-loss"), "the cluster is healthy"),
        (healthy, ("failover", "--to", "a"), "rabbit@a is the master already"),
        (lost, ("failover", "--to", "c"), "rabbit@c is not heard"),
        (lost, ("drain", "b"), "and 2 are needed: rabbit@c is not heard"),
        (drained, ("drain", "c"), "rabbit@b is in maintenance already"),
        (lost, ("revive", "c"), "the supervisor of rabbit@c is not heard"),
        (alone, ("recover", "--from", "a", "--node", A, "--yes"), "--accept-data-loss"),
        (alone, ("recover", "--from", "b", "--node", B, "--accept-data-loss", "--yes"), "rabbit@b is not heard"),
        (lost, ("forget", "c", "--yes", "--node", "c"), "'c' is not rabbit@c"),
        (lost, ("forget", "c", "--node", B), "'rabbit@b' is not rabbit@c"),
        (alone, ("recover", "--from", "a", "--accept-data-loss", "--node", B), "'rabbit@b' is not rabbit@a"),
    ],
    ids=str,
)
def test_f2_f6_a_guard_refuses_and_nothing_is_written(
    bench: Bench, run: Run, scene: Scene, command: tuple[str, ...], words: str
) -> None:
    """Exit 1 with the reason, and no record."""
    scene(bench)
    code, text, said = run(*command)

    assert (code, text) == (1, "")
    assert words in said
    assert "Nothing was changed" in said
    assert bench.raw.exists(OPERATION_KEY) == 0


def test_rebalance_is_refused_while_an_alarm_lasts(bench: Bench, run: Run) -> None:
    """Moving leaders frees nothing."""
    healthy(bench)
    bench.beat(C, view=View(frozenset(NODES), frozenset(NODES), ("disk rabbit@c",)))
    code, _, said = run("rebalance", "--yes")

    assert code == 1
    assert "an alarm lasts (disk rabbit@c)" in said


def test_f2_forget_wants_the_name_typed(bench: Bench, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The short name is not enough, the full one is."""
    lost(bench)
    monkeypatch.setattr(sys, "stdin", io.StringIO("c\n"))

    assert run("forget", "c")[0] == 1
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{C}\n"))
    with Executor(bench.store(A), "done") as played:
        assert run("forget", "c")[0] == 0
    assert [seen.subject for seen in played.seen] == [C]


def test_f8_recover_says_who_is_given_up(bench: Bench, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is given up is said before the name is asked for, which must then be typed."""
    alone(bench)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{A}\ny\n"))
    with Executor(bench.store(A), "done"):
        code, _, said = run("recover", "--from", "a", "--accept-data-loss")

    assert code == 0
    assert "Given up: rabbit@b, rabbit@c;" in said
    assert "could NOT be read" in said


@pytest.mark.parametrize(
    "command",
    [
        ("drain",),
        ("drain", "nobody"),
        ("failover", "--to", "rabbit@nobody"),
        ("forget", "d", "--yes", "--node", "rabbit@d"),
        ("forget", "c", "--yes"),
        ("recover", "--accept-data-loss"),
        ("recover", "--from", "a", "--accept-data-loss", "--yes"),
        ("drain", "b", "--wait", "--no-wait"),
        ("drain", "b", "--wait", "--timeout", "-1"),
        ("pause", "--for", "soon"),
        ("pause", "--for", "0s"),
        ("pause", "--for", "10"),
        ("pause", "--for", "-5m"),
        ("pause", "--for", "169h"),
        ("forget", "c", "--force"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_exits_64(bench: Bench, run: Run, command: tuple[str, ...]) -> None:
    """Bad input is refused before anything is written."""
    healthy(bench)

    assert run(*command)[0] == 64
    assert bench.raw.exists(OPERATION_KEY, "rabbitmq:cluster:paused") == 0


def test_an_unknown_node_lists_the_known_ones(bench: Bench, run: Run) -> None:
    """Whoever mistypes reads what could have been typed."""
    healthy(bench)

    assert "known: rabbit@a, rabbit@b, rabbit@c" in run("drain", "rabbit@d")[2]


@pytest.mark.parametrize(("scene", "command"), [row[:2] for row in COMMANDS], ids=IDS)
def test_f7_the_second_operator_is_told_who_is_busy(
    bench: Bench, run: Run, scene: Scene, command: tuple[str, ...]
) -> None:
    """Exit 75 with who, what and since when; the record in the way stays as it is."""
    scene(bench)
    bench.store(A).apply(StartOperation(OperationKind.GROW, "", 90.0, "monitor rabbit@a"))
    before = bench.raw.get(OPERATION_KEY)
    code, _, said = run(*command, "--yes")

    assert code == 75
    assert "busy: grow (by monitor rabbit@a) since 20" in said
    assert "its deadline is in 90 s" in said or "its deadline is in 89 s" in said
    assert bench.raw.get(OPERATION_KEY) == before


def start(*command: str) -> "subprocess.Popen[str]":
    arguments = [sys.executable, "-m", "rmqcluster", *command]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        arguments,
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's `&` leaves it ignored
    )


def test_f7_of_two_at_the_same_time_one_is_busy(bench: Bench) -> None:
    """The same person on the same host, twice at once: one record, and the other is told."""
    healthy(bench)
    both = [start("rebalance", "--yes", "--no-wait") for _ in range(2)]
    said = [one.communicate(timeout=30) for one in both]

    assert sorted(one.returncode for one in both) == [0, 75], said
    assert any("busy: rebalance (by operator " in err for _, err in said)


def test_ctrl_c_leaves_the_operation_alone(bench: Bench) -> None:
    """Who stops waiting is told that it goes on; the record stays."""
    healthy(bench)
    waiting = start("drain", "b", "--yes")
    try:
        wait_until(lambda: bench.raw.exists(OPERATION_KEY), 20, "the operation is asked for")
        said = ""
        while "asked for drain rabbit@b" not in said:
            assert waiting.stderr is not None
            line = waiting.stderr.readline()
            assert line, said
            said += line
        waiting.send_signal(signal.SIGINT)
        rest = waiting.communicate(timeout=20)[1]
    finally:
        waiting.kill()
        waiting.wait(10)

    assert waiting.returncode == 2
    assert "drain rabbit@b goes on" in rest
    assert bench.raw.exists(OPERATION_KEY) == 1


def test_no_wait_returns_at_once(bench: Bench, run: Run) -> None:
    """The record is written, its id is told, nobody waits."""
    healthy(bench)
    code, document, _ = run("rebalance", "--yes", "--no-wait", "--json")
    found = json.loads(document)
    written = bench.store(A).read_operation()

    assert (code, found["outcome"]) == (0, "asked")
    assert written is not None
    assert found["operation"] == written.id


def test_a_failure_that_is_tried_again_is_not_the_end(bench: Bench, run: Run) -> None:
    """While the record stands, a failed try is progress; the end is the end."""
    healthy(bench)
    with Executor(bench.store(A), "retried"):
        code, text, said = run("rebalance", "--yes")

    assert (code, text) == (0, "done: so it ended\n")
    assert "rabbit@a failed: not yet" in said


def test_an_unknown_outcome_is_told_as_such(bench: Bench, run: Run) -> None:
    """A command that timed out at the broker may have worked: exit 2, and the record stays in the way."""
    healthy(bench)
    with Executor(bench.store(A), "unknown"):
        code, _, said = run("rebalance", "--yes")

    assert code == 2
    assert said.splitlines()[-1] == "unknown: so it ended"
    assert bench.raw.exists(OPERATION_KEY) == 1


@pytest.mark.parametrize(
    ("scene", "command", "expected", "words"),
    [
        (healthy, ("drain", "b"), 75, "the supervisor of rabbit@b should have"),
        (healthy, ("rebalance",), 75, "the monitor at rabbit@a should have"),
        (Bench.form, ("rebalance",), 69, "nobody holds its lease now"),
    ],
    ids=["subject", "monitor", "nobody"],
)
def test_an_operation_that_nobody_began(
    bench: Bench, run: Run, short: None, scene: Scene, command: tuple[str, ...], expected: int, words: str
) -> None:
    """The wait ends at the deadline and says whose task it was: 75 when he is there, 69 when not."""
    scene(bench)
    code, _, said = run(*command, "--yes")

    assert code == expected
    assert words in said.splitlines()[-1]
    assert said.splitlines()[-1].startswith("failed: nobody began it within 2 s")


def test_an_operation_that_was_begun_and_not_ended(bench: Bench, run: Run, short: None) -> None:
    """After the deadline nobody knows how far it came: exit 2, and who began it."""
    healthy(bench)
    with Executor(bench.store(A), "begin"):
        code, _, said = run("rebalance", "--yes")

    assert code == 2
    assert said.splitlines()[-1].startswith("unknown: rabbit@a began it and did not end it in time")


def test_a_record_that_vanishes_without_a_word(bench: Bench, run: Run, quick: None) -> None:
    """Redis may have been emptied: after a beat in which nobody wrote the record again, the outcome is unknown."""
    healthy(bench)
    with Executor(bench.store(A), "begin", first=lambda: bench.raw.delete(OPERATION_KEY)):
        code, _, said = run("rebalance", "--yes")

    assert code == 2
    assert said.splitlines()[-1].startswith("unknown: its record is gone from Redis")


def test_a_silent_redis_is_borne(bench: Bench, run: Run, quick: None) -> None:
    """The operation does not depend on who waits for it: silence is told once, and the end is heard after it."""
    healthy(bench)
    with Executor(bench.store(A), "done", first=lambda: bench.raw.execute_command("CLIENT", "PAUSE", "3000", "ALL")):
        code, text, said = run("rebalance", "--yes")

    assert (code, text) == (0, "done: so it ended\n")
    assert said.count("the operation goes on, and so does the wait") == 1


def test_f6_drain_waits_until_it_is_safe(bench: Bench, run: Run, quick: None) -> None:
    """The executor's refusal, with the queues that need the member, is told, and it is asked again."""
    healthy(bench)
    with Executor(bench.store(A), "refused", "done") as played:
        code, text, said = run("drain", "b", "--wait", "--yes")

    assert (code, text) == (0, "done: so it ended\n")
    assert "waiting until it is safe: refused: so it ended" in said
    assert len({seen.id for seen in played.seen}) == 2


def test_f6_the_wait_for_a_safe_moment_is_bounded(bench: Bench, run: Run) -> None:
    """Not safe in time: exit 75 with the last refusal, and nothing is written."""
    drained(bench)
    code, _, said = run("drain", "c", "--wait", "--timeout", "0", "--yes")

    assert code == 75
    assert "not safe within 0 s. refused: rabbit@b is in maintenance already" in said
    assert bench.raw.exists(OPERATION_KEY) == 0


def test_a_drained_member_is_not_drained_again(bench: Bench, run: Run) -> None:
    """A rolling restart that is run again goes on."""
    drained(bench)

    assert run("drain", "b", "--yes")[:2] == (0, "nothing to do: rabbit@b is in maintenance already\n")
    assert json.loads(run("drain", "b", "--yes", "--json")[1])["outcome"] == "done"


def test_h3_what_dies_with_a_node_is_listed(
    bench: Bench, run: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queues whose only copy is there are named; without a person's word nothing is done."""
    rows = [
        {"name": "audit\x1b[2J", "vhost": "/fog", "type": "classic", "node": C},
        {"name": "tasks", "vhost": "/fog", "type": "quorum", "node": A, "members": list(NODES)},
    ]
    port = serve(json.dumps(rows).encode())
    monkeypatch.setenv("RABBITMQ_ERLANG_COOKIE", "a-cookie-of-tests")
    lost(bench)
    seen = View(frozenset(NODES), frozenset((A, B)))
    bench.beat(A, view=seen, management=f"127.0.0.1:{port}", notes=("412 queues at 2/3 replicas",))
    code, _, said = run("forget", "c", "--node", C, "--yes")

    assert code == 1
    assert "Last known: 412 queues at 2/3 replicas" in said
    assert "LOST, their only copy is there (1): classic /fog audit\\x1b[2J." in said
    assert "Not seen from here: streams" in said
    assert "tasks" not in said
    assert "say so with --accept-data-loss" in said
    assert bench.raw.exists(OPERATION_KEY) == 0


def test_pause_ends_by_itself_and_is_seen(bench: Bench, run: Run) -> None:
    """An hour when nothing is said; who, until when (UTC) and why are in Redis, in the history and in status."""
    healthy(bench)
    code, text, _ = run("pause", "--why", "the switch is \x1b[2Jreplaced")
    view = bench.store(A).snapshot()

    assert code == 0
    assert text.startswith("paused for 1h00m, until 20")
    assert 3590_000 < bench.raw.pttl("rabbitmq:cluster:paused") <= 3600_000
    assert view.paused is not None
    assert "Z by operator " in view.paused
    assert view.paused.endswith("the switch is \\x1b[2Jreplaced")
    assert json.loads(run("status", "--json")[1])["paused"] == view.paused
    assert "pause" in run("history")[1]


@pytest.mark.parametrize(("given", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("168h", 604800)])
def test_pause_for_so_long(bench: Bench, run: Run, given: str, seconds: int) -> None:
    """Seconds, minutes, hours; JSON has the end as Unix time."""
    code, document, _ = run("pause", "--for", given, "--json")

    assert (code, json.loads(document)["seconds"]) == (0, seconds)
    assert seconds - 10 < bench.raw.ttl("rabbitmq:cluster:paused") <= seconds


def test_resume_ends_a_pause_and_says_when_there_was_none(bench: Bench, run: Run) -> None:
    """Both are fine; only the first one did something."""
    run("pause")
    code, text, _ = run("resume")

    assert code == 0
    assert text.startswith("resumed; was paused until 20")
    assert bench.raw.exists("rabbitmq:cluster:paused") == 0
    assert run("resume")[:2] == (0, "nothing was paused\n")
    assert json.loads(run("resume", "--json")[1]) == {"resumed": False, "was": None}


def test_explain_says_what_is_under_way_and_what_is_in_the_way(bench: Bench, run: Run) -> None:
    """Operation, pause, the monitor's facts and findings, and each member's state; in JSON the same."""
    wiped(bench)
    finding = "rabbit@c its disk was last on host1 and may return; this is host2"
    bench.beat(A, view=View(frozenset(NODES), frozenset((A, B))), notes=("9 queues at 2/3",), findings=(finding,))
    bench.store(A).apply(StartOperation(OperationKind.GROW, "", 90.0, "monitor rabbit@a", why="9 replicas missing"))
    run("pause", "--why", "maintenance")
    code, text, _ = run("explain")
    found = json.loads(run("explain", "--json")[1])

    assert code == 0
    assert "operation: grow by monitor rabbit@a since 20" in text
    assert "deadline in 1m" in text
    assert "(9 replicas missing)" in text
    assert "paused: until 20" in text
    assert "     found: 9 queues at 2/3" in text
    assert f"     not yet: {finding}" in text
    assert "rabbit@c  running: broker down, disk amnesic, proof unknown" in text
    assert found["operation"]["executor"] == A
    assert found["monitor"]["findings"] == [finding]
    assert found["members"][C]["disk"] == "amnesic"
    assert found["next"]
    assert found["do"]


def test_explain_of_an_idle_cluster(bench: Bench, run: Run) -> None:
    """Nothing under way is said, and so is a lease that nobody holds."""
    bench.form()
    text = run("explain")[1]

    assert "operation: none\npaused: no\nmonitor: nobody holds the lease" in text
