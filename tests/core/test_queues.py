"""What one look at the queues means: targets, balance, who is needed, what is lost, and the words for people."""

from dataclasses import replace

import pytest

from rmqcluster.core import queues as q
from rmqcluster.core.queues import Growth, Move, QueueFacts, QueueKind, QueueReport

A, B, C, D = "rabbit@a", "rabbit@b", "rabbit@c", "rabbit@d"
ALL = frozenset({A, B, C})


def quorum(name: str, members: str = "abc", leader: str | None = "a", behind: str = "", **more: object) -> QueueFacts:
    """`members` by their letters; all but those that are `behind` run and have caught up."""
    nodes = frozenset(f"rabbit@{one}" for one in members)
    good = nodes - {f"rabbit@{one}" for one in behind}
    facts = QueueFacts("/", name, QueueKind.QUORUM, True, leader and f"rabbit@{leader}", nodes, good, good)
    return replace(facts, **more)  # type: ignore[arg-type]


def stream(name: str, members: str = "abc", leader: str | None = "a", **more: object) -> QueueFacts:
    return quorum(name, members, leader, kind=QueueKind.STREAM, **more)


def classic(name: str, node: str, *, durable: bool = True) -> QueueFacts:
    return QueueFacts("/", name, QueueKind.CLASSIC, durable, f"rabbit@{node}")


def report(*queues: QueueFacts, running: str = "abc", members: str = "abc") -> QueueReport:
    def nodes(letters: str) -> frozenset[str]:
        return frozenset(f"rabbit@{one}" for one in letters)

    return QueueReport(queues, nodes(members), nodes(running))


def names(found: tuple[Growth, ...]) -> list[tuple[str, str, str]]:
    return [(growth.kind.value, growth.node, name) for growth in found for name in sorted(growth.names)]


@pytest.mark.parametrize(
    ("queue", "wanted"),
    [
        (quorum("q"), 3),
        (quorum("q", "a", declared_target=1), 1),
        (quorum("q", "abcd", declared_target=5), 5),
        (quorum("q", "a", declared_target=3, reconciled=True), 1),
        (stream("s", "a", declared_target=1), 1),
        (classic("c", "a"), 1),
    ],
)
def test_target_is_the_queues_own_number(queue: QueueFacts, wanted: int) -> None:
    """Declared beats default; a queue that RabbitMQ reconciles is right as it is."""
    assert q.target(queue, 3) == wanted


@pytest.mark.parametrize(
    ("queue", "due"),
    [
        (quorum("q", "a"), [("quorum", B, "q"), ("quorum", C, "q")]),
        (stream("s", "ab"), [("stream", C, "s")]),
        (quorum("q", "abc", behind="b"), []),  # a replica that is down still counts
        (quorum("q", "a", declared_target=1), []),
        (quorum("q", "a", reconciled=True), []),
        (quorum("q", "ab", leader=None), []),  # nobody to add it
        (quorum("q", "abd"), [("quorum", C, "q")]),  # a replica on a stranger does not count
        (classic("c", "a"), []),
    ],
)
def test_missing_replicas(queue: QueueFacts, due: list[tuple[str, str, str]]) -> None:
    """Exactly what can and should be added now, on running members alone."""
    assert names(q.missing(report(queue), ALL)) == due


def test_missing_replicas_are_spread_and_always_the_same() -> None:
    """New replicas go where fewest are; the order of the report changes nothing."""
    queues = [quorum(f"q{number}", "a") for number in range(6)]
    first = q.missing(report(*queues), ALL, 2)

    assert {growth.node: len(growth.names) for growth in first} == {B: 3, C: 3}
    assert q.missing(report(*reversed(queues)), ALL, 2) == first


def test_replicas_on_strangers_are_counted_as_work() -> None:
    """A replica on a node that was forgotten has to go before the cluster is whole."""
    seen = report(quorum("q", "abd"), quorum("r", "ad", leader=None))

    assert [(queue.name, node) for queue, node in q.strays(seen)] == [("q", D)]
    assert q.missing_count(seen, ALL) == 2


@pytest.mark.parametrize(
    ("queues", "running", "balanced"),
    [
        ([quorum("1"), quorum("2"), quorum("3")], ALL, False),
        ([quorum("1"), quorum("2", leader="b"), quorum("3", leader="c")], ALL, True),
        ([quorum("1"), quorum("2")], {A}, True),  # nobody else is there
        ([quorum("1"), quorum("2"), quorum("3", leader="b")], ALL, False),
        ([quorum("1", "a"), quorum("2", "a"), quorum("3", "a")], ALL, True),  # single replicas cannot move
        ([quorum("1", behind="bc"), quorum("2", behind="bc")], ALL, True),  # nobody has caught up
        ([stream("1"), stream("2"), stream("3")], ALL, True),  # leaders of streams are not ours to move
        ([quorum("1"), quorum("2")], {B, C}, False),  # the leaders' node is in maintenance
    ],
)
def test_balanced_means_that_no_move_helps(queues: list[QueueFacts], running: set[str], balanced: bool) -> None:
    """What cannot be made more even counts as balanced, or a monitor would try for ever."""
    assert q.is_balanced(report(*queues), frozenset(running)) is balanced


@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_doing_the_moves_balances(count: int) -> None:
    """After the moves no other is proposed, and the numbers differ by one at most where replicas are everywhere."""
    seen = report(*(quorum(f"q{number:02}") for number in range(count)))
    moves = {move.name: move for move in q.rebalance_moves(seen, ALL)}
    moved = [replace(queue, leader=moves[queue.name].to if queue.name in moves else A) for queue in seen.queues]
    after = replace(seen, queues=tuple(moved))

    counts = q.leaders(after).values()
    assert q.is_balanced(after, ALL)
    assert max(counts) - min(counts) <= 1


def test_leaders_leave_a_member_that_stops_where_they_can() -> None:
    """They are spread over running members that have caught up; a sole replica stays."""
    seen = report(quorum("1"), quorum("2"), quorum("3", "a"), quorum("4", behind="bc"), quorum("5", leader="b"))

    assert q.departing_moves(seen, A) == (Move("/", "1", A, C), Move("/", "2", A, B))


@pytest.mark.parametrize(
    ("queue", "caught_up"),
    [
        (quorum("q"), True),
        (quorum("q", behind="b"), False),
        (quorum("q", leader=None), False),
        (quorum("q", "abd"), True),  # one is down, the others are there
        (quorum("q", "ade", leader=None), True),  # waits for nobody who is here
        (stream("s", leader=None), False),
        (classic("c", "d"), True),
    ],
)
def test_all_caught_up(queue: QueueFacts, caught_up: bool) -> None:
    """Every replica on a running member has reached its leader, as far as a leader is possible."""
    assert q.all_caught_up(report(queue, members="abcde"), ALL) is caught_up


@pytest.mark.parametrize(
    ("seen", "needed"),
    [
        (report(quorum("q")), ()),
        (report(quorum("q", behind="b")), ("/ q",)),
        (report(quorum("q", "ab")), ("/ q",)),
        (report(quorum("q", "bc", leader="b")), ()),  # has nothing there
        (report(quorum("q", "a")), ()),  # waiting would help it nothing
        (report(stream("s", online=frozenset({A, B}))), ("/ s",)),
        (report(classic("c", "a")), ()),
        (report(quorum("q"), running="ab"), ("/ q", q.METADATA_STORE)),
        (report(members="ab", running="ab"), (q.METADATA_STORE,)),
        (report(members="a", running="a"), ()),
        (report(members="bc", running="bc"), ()),  # no member any more
    ],
)
def test_critical_without(seen: QueueReport, needed: tuple[str, ...]) -> None:
    """A majority of a queue's voters, and of the members, has to be left on others that have caught up."""
    assert q.critical_without(seen, A) == needed


def test_what_a_wait_cannot_help() -> None:
    """In the end: a replica that runs or may start on a running member is counted, one on a member that is down not."""
    seen = report(quorum("late", leader=None, behind="bc"), quorum("few", "ab"), running="abc")

    assert q.critical_without(seen, A) == ("/ few", "/ late")
    assert q.critical_without(seen, A, in_the_end=True) == ("/ few",)
    drained = replace(seen, drained=frozenset({B}))
    assert q.critical_without(drained, A, in_the_end=True) == ("/ few", "/ late")
    without_b = replace(seen, running=frozenset({A, C}))
    assert q.critical_without(without_b, A, in_the_end=True) == ("/ few", "/ late", q.METADATA_STORE)


def test_what_dies_with_a_disk() -> None:
    """Durable classic queues and sole replicas; nothing that is elsewhere too."""
    seen = report(classic("c", "a"), classic("t", "a", durable=False), classic("o", "b"), quorum("1", "a"), quorum("3"))

    assert q.dies_with(seen, A) == ("/ 1", "/ c")


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (report(quorum("q"), classic("c", "a")), ()),
        (
            report(quorum("1", behind="b"), quorum("2", behind="b"), running="ac"),
            ("2 queues at 2/3 replicas, 0 leaderless",),
        ),
        (
            report(quorum("1", behind="bc", leader=None), quorum("2", behind="b"), running="a"),
            ("1 queue at 1/3 replicas, 1 leaderless", "1 queue at 2/3 replicas"),
        ),
        (
            report(quorum("1", leader=None)),
            ("all replicas are there, 1 leaderless", "no leader though a majority of their members runs: / 1"),
        ),
        (
            report(classic("audit", "b"), classic("mail", "b"), classic("temporary", "b", durable=False), running="ac"),
            ("2 classic queues DOWN with rabbit@b: / audit, mail",),
        ),
        (report(quorum("1", "a", declared_target=1)), ("1 single-replica queue: / 1",)),
        (
            report(quorum("1", "abd")),
            ("1 replica still listed on rabbit@d, no member any more",),
        ),
    ],
)
def test_facts_in_words(seen: QueueReport, words: tuple[str, ...]) -> None:
    """An operator reads numbers and names, and nothing where nothing is wrong."""
    assert q.facts_in_words(seen) == words
