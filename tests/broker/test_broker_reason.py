"""Why a broker ended, from recorded output of 3.10.8 and 4.3.6."""

import os
from pathlib import Path

import pytest

from rmqcluster.broker.output import LINES_KEPT, OutputPipe, Tail, clean
from rmqcluster.broker.reason import explain, progress, tells_of_membership

OUTPUTS = Path(__file__).parent / "outputs"
PORTS = {25011: "AMQP", 25061: "AMQP"}


def tail_of(name: str, after: int = 0) -> Tail:
    tail = Tail()
    for raw in (OUTPUTS / name).read_bytes().splitlines():
        tail.add(clean(raw))
    for number in range(after):
        tail.add(f"2026-11-21 04:02:35.592424+00:00 [info] <0.665.0> Stopping something {number}")
    return tail


@pytest.mark.parametrize(
    ("name", "status", "said", "configuration"),
    [
        ("3.10-unknown_key.txt", 1, "broker configuration: there is no setting named no.such.key", True),
        ("4.3-unknown_key.txt", 1, "broker configuration: there is no setting named no.such.key", True),
        (
            "3.10-syntax_error.txt",
            1,
            "broker configuration: syntax error in /var/lib/rabbitmq/confd/90.conf after line 1",
            True,
        ),
        (
            "3.10-bad_value.txt",
            1,
            'broker configuration: vm_memory_high_watermark.relative: "lots" cannot be converted to a(n) float',
            True,
        ),
        ("3.10-amqp_port_in_use.txt", 1, "AMQP port 25011 is in use by another process", False),
        ("4.3-amqp_port_in_use.txt", 1, "AMQP port 25061 is in use by another process", False),
        ("3.10-management_port_in_use.txt", 1, "AMQP port 25011 is in use by another process", False),
        ("3.10-dist_port_in_use.txt", 1, "the distribution port 25011 is in use", False),
        ("3.10-duplicate_name.txt", 1, "a node named a1@localhost is already running on this host", False),
        (
            "3.10-forgotten.txt",
            1,
            (
                "its peers do not list this node any more: Node a2@localhost thinks it's clustered with node "
                "a1@localhost, but a1@localhost disagrees"
            ),
            False,
        ),
        (
            "3.10-directory_not_writable.txt",
            1,
            "permission denied: /var/lib/rabbitmq/mnesia/perm@localhost/",
            True,
        ),
        (
            "3.10-epmd_port_taken.txt",
            1,
            "epmd does not register this node: is something else on its port (ERL_EPMD_PORT)?",
            False,
        ),
        (
            "3.10-cookie_mode.txt",
            1,
            "Cookie file /var/lib/rabbitmq/.erlang.cookie must be accessible by owner only: set its mode to 0400",
            True,
        ),
        (
            "3.10-disk_full.txt",
            1,
            "no space left on the volume: /var/lib/rabbitmq/mnesia/full@localhost/rabbit_user.DCD",
            False,
        ),
    ],
)
@pytest.mark.parametrize("after", [0, 2 * LINES_KEPT])
def test_recorded_ends(name: str, status: int, said: str, configuration: bool, after: int) -> None:
    """Each recorded end gives one sentence, also when hundreds of lines follow it."""
    assert explain(tail_of(name, after).lines(), status, PORTS) == (said, configuration)


@pytest.mark.parametrize(
    ("status", "said"),
    [(-9, "SIGKILL"), (137, "SIGKILL"), (-11, "SIGSEGV"), (None, "unknown"), (3, "exited with status 3: last words")],
)
def test_ends_without_a_reason(status: int | None, said: str) -> None:
    """Where the broker gave no reason, its signal, status or last words are told."""
    reason, configuration = explain(["", "last words", ""], status)

    assert said in reason
    assert not configuration


def test_unknown_startup_error_is_passed_on() -> None:
    """What no pattern knows is told in the broker's own words, over several lines."""
    lines = ["BOOT FAILED", "===========", "Error during startup: {error,", "       {something,new}}", "", "more"]

    assert explain(lines, 1) == ("the broker did not start: {error, {something,new}}", False)


def test_a_reason_is_one_bounded_line() -> None:
    """However much the broker says."""
    reason, _ = explain(["Error during startup: " + "x" * 5000], 1)

    assert len(reason) <= 400


def test_a_waiting_joiner_is_understood() -> None:
    """A joiner that retries tells whom it cannot reach, and that a differing cookie looks the same."""
    said = progress(tail_of("3.10-join_target_unreachable.txt").lines())

    assert "a1@localhost" in said
    assert "cookie" in said


def test_a_broker_that_gets_on_waits_for_nothing() -> None:
    """No news, no words."""
    assert progress(["2026-11-21 04:00:45.9+00:00 [info] <0.1.0> Server startup complete"]) == ""


def test_output_is_split_into_clean_lines() -> None:
    """Lines arrive whole whatever the pieces, without colours and control characters, bounded in length."""
    seen: list[str] = []
    pipe = OutputPipe(seen.append)
    for piece in (b"\x1b[38;5;160mfi", b"rst\x1b[0m\r\nsec", b"ond \x07\n", b"x" * 3000 + b"\n"):
        os.write(pipe.write_end, piece)
        pipe.on_readable()
    pipe.close()

    assert seen[:2] == ["first", "second �"]
    assert [len(line) for line in seen[2:]] == [2000]
    assert pipe.tail.lines()[-1] == seen[-1]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("2026-11-21 08:37:49.166124+00:00 [info] <0.562.0> rabbit on node n2@localhost up", True),
        ("2026-11-21 08:37:53.775448+00:00 [info] <0.562.0> rabbit on node 'rabbit@host-2.example' down", True),
        ("2026-11-21 08:37:53.809285+00:00 [info] <0.562.0> node n2@localhost down: connection_closed", True),
        ("2026-11-21 08:37:53.799269+00:00 [info] <0.562.0> Node n2@localhost is down, deleting its listeners", False),
        ("2026-11-21 08:37:53.799269+00:00 [info] <0.562.0> node n2@localhost upset", False),
        ("  node        : rabbit@one", False),
    ],
)
def test_lines_about_other_nodes_are_recognised(line: str, told: bool) -> None:
    """Recorded lines of both generations wake the supervisor; one line per event is enough."""
    assert tells_of_membership(line) is told
