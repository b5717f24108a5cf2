"""Acts on replicas: what is tried again, when it is given up, and what a broker's answer has to look like."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from rmqcluster.broker import look
from rmqcluster.broker.erlang import as_json, quoted
from rmqcluster.broker.recovery import Recovery
from rmqcluster.broker.replicas import Replicas
from rmqcluster.core.queues import QueueFacts, QueueKind, QueueReport
from rmqcluster.errors import CommandFailed

A, B, C = "rabbit@a", "rabbit@b", "rabbit@c"


@dataclass
class Tools:
    """A broker with one quorum queue; remembers what was run, and takes `slow` looks to show a change."""

    replicas: set[str] = field(default_factory=lambda: {A})
    leader: str | None = A
    members: set[str] = field(default_factory=lambda: {A, B, C})
    running: set[str] = field(default_factory=lambda: {A, B, C})
    done: list[str] = field(default_factory=list)
    refuses: CommandFailed | None = None
    works: bool = True
    now: float = 0.0

    def run(self, tool: str, *arguments: str, deadline_seconds: float) -> str:
        self.done.append(" ".join((tool, *arguments)))
        if arguments[0] == "forget_cluster_node":
            if self.refuses is not None and self.refuses.timed_out:
                raise self.refuses
            self.members.discard(arguments[1])
            if self.refuses is not None:
                raise self.refuses
        return ""

    def eval_json(self, expression: str, *, deadline_seconds: float) -> object:
        if expression == look.EXPRESSION:
            row = ["/", "q", "quorum", True, self.leader, *([sorted(self.replicas)] * 3), None, False]
            nodes = {"members": sorted(self.members), "running": sorted(self.running & self.members), "drained": []}
            return {**nodes, "queues": [row]}
        if "rabbit_amqqueue:delete(" in expression:
            self.done.append("delete")
            self.replicas.clear()
            return None
        if "delete_member" in expression:
            self.done.append("shrink")
            self.replicas -= self.replicas - self.members if self.works else set()
        if "transfer_leadership" in expression:
            self.done.append("move")
            return "busy" if not self.works else 0
        if "Answers = " in expression:
            return [A] if B in self.members else []
        return None

    def grow(self, node: str, vhost: str, queues: frozenset[str]) -> None:
        self.done.append(f"grow {node}")
        if self.works:
            self.replicas.add(node)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def acts(tools: Tools, default: int = 3) -> Replicas:
    return Replicas(tools, A, default, sleep=tools.sleep, monotonic=lambda: tools.now)


def test_grow_goes_on_until_every_replica_is_there() -> None:
    """One running member after the other gets its replica, then nothing more is done."""
    tools = Tools()
    acts(tools).grow()
    assert tools.done == ["grow rabbit@b", "grow rabbit@c"]

    acts(tools).grow()
    assert len(tools.done) == 2


def test_grow_that_makes_no_progress_is_given_up() -> None:
    """`rabbitmq-queues grow` exits 0 even when it failed, so the replicas are counted; not for ever."""
    tools = Tools(works=False)

    with pytest.raises(CommandFailed, match="2 replicas of queues could not be added"):
        acts(tools).grow()
    assert tools.now < 60


def test_grow_first_takes_replicas_off_forgotten_nodes() -> None:
    """What an interrupted forget left would count as a voter."""
    tools = Tools(replicas={A, "rabbit@gone", B})
    acts(tools).grow()

    assert tools.done[0] == "shrink"
    assert tools.replicas == {A, B, C}


def test_forget_looks_for_what_is_left() -> None:
    """A forget that reports trouble with the node out goes on with what was left of it."""
    tools = Tools(replicas={A, B}, running={A, C}, refuses=CommandFailed("could not shrink", exit_status=69))
    acts(tools).forget(B)

    assert tools.done == ["rabbitmqctl forget_cluster_node rabbit@b", "shrink"]
    assert (tools.members, tools.replicas) == ({A, C}, {A})


def test_forget_of_a_stranger_only_cleans_up() -> None:
    """Done twice, it does nothing the second time."""
    tools = Tools(replicas={A, C}, members={A, C})
    acts(tools).forget(B)

    assert tools.done == []


def test_forget_deletes_what_had_its_only_replica_there() -> None:
    """It would list the node for ever."""
    tools = Tools(replicas={B}, running={A, C}, leader=None)
    acts(tools).forget(B)

    assert tools.done[1:] == ["delete"]


def test_forget_that_leaves_something_fails() -> None:
    """Who still lists the node is told, with the command's own words."""
    refusal = CommandFailed("could not shrink", exit_status=69)
    tools = Tools(replicas={A, B}, running={A, C}, refuses=refusal, works=False)

    with pytest.raises(CommandFailed, match=r"rabbit@b is still listed by / q \(could not shrink\)"):
        acts(tools).forget(B)


def test_a_forget_without_an_answer_is_unknown() -> None:
    """Nothing is tried after it: it may still be at work."""
    tools = Tools(refuses=CommandFailed("no answer", exit_status=None, timed_out=True))

    with pytest.raises(CommandFailed) as failed:
        acts(tools).forget(B)
    assert failed.value.timed_out
    assert len(tools.done) == 1


def test_a_rebalance_by_somebody_else_is_told() -> None:
    """Ours and one by hand never run at the same time."""
    tools = Tools(replicas={A, B, C}, leader=C, works=False)
    tools.running -= {C}  # its leader can only leave

    with pytest.raises(CommandFailed, match="rebalance_in_progress"):
        acts(tools).rebalance()


def test_a_rebalance_begins_with_what_was_seen_already() -> None:
    """Each look costs a process: what it showed to be moved is moved, and then it is looked whether it came true."""
    tools = Tools(replicas={A, B, C}, leader=C)
    seen = replace(acts(tools).queues(), running=frozenset({A, B}))
    acts(tools).rebalance(seen)

    assert tools.done == ["move"]


def test_a_rebalance_looks_anew_where_nothing_was_seen_to_move() -> None:
    """Leaders move without a word to us: who asks for them to be spread is not answered from an old look."""
    tools = Tools(replicas={A, B, C}, leader=C)
    seen = acts(tools).queues()
    tools.running -= {C}  # its leader can only leave

    with pytest.raises(CommandFailed, match="did not move"):
        acts(tools).rebalance(seen)


def test_leaders_that_do_not_move_are_told_in_time() -> None:
    """A transfer is a wish: whether it came true is looked at."""
    tools = Tools(replicas={A, B, C}, leader=C)
    tools.running -= {C}

    with pytest.raises(CommandFailed, match="leaders of 1 queues did not move"):
        acts(tools).rebalance()


@pytest.mark.parametrize(
    ("version", "steps"),
    [("3.10.8", ["rabbitmqctl force_boot"]), ("4.3.6", []), (None, ["rabbitmqctl force_boot"])],
)
def test_only_mnesia_is_told_to_boot_alone(version: str | None, steps: Sequence[str]) -> None:
    """Khepri is released while it waits, and takes a `force_boot` for done without doing it."""
    tools = Tools()
    Recovery(tools, acts(tools), A, version).prepare_boot()

    assert tools.done == list(steps)


ROW = ["/fog", 'q"\\é', "quorum", True, A, [A, B], [A, B], [A], 1, False]
NODES = {"members": [A, B], "running": [A], "drained": [B]}


def test_an_answer_is_read_once_per_queue() -> None:
    """A queue that is listed as there and as down is one queue."""
    read = look.parse({**NODES, "queues": [ROW, ROW]}, A)

    both = frozenset({A, B})
    facts = QueueFacts("/fog", 'q"\\é', QueueKind.QUORUM, True, A, both, both, frozenset({A}), 1)
    assert read == QueueReport((facts,), both, frozenset({A}), frozenset({B}))


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: None,
        lambda answer: {"queues": []},
        lambda answer: {**answer, "queues": [ROW[:5]]},
        lambda answer: {**answer, "queues": [[*ROW[:5], "a", *ROW[6:]]]},
        lambda answer: {**answer, "queues": [[*ROW[:2], "strange", *ROW[3:]]]},
    ],
)
def test_an_answer_of_another_shape_is_a_failure(change: Callable[[dict[str, object]], object]) -> None:
    """Never a wrong report."""
    with pytest.raises(CommandFailed, match="in an unknown form"):
        look.parse(change({**NODES, "queues": [ROW]}), A)


def test_names_cannot_become_code() -> None:
    """Whatever a queue is called, it stays a value inside the expression."""
    assert quoted('a"b\\') == '"a\\"b\\\\"'
    assert '"' not in as_json('">>), halt(). %').removeprefix('rabbit_json:decode(base64:decode(<<"').removesuffix(
        '">>))'
    )
