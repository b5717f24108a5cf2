"""An operation is carried out on a fresh look, by who still may, and every end is told once."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from rmqcluster.agent.memory import Identity, Memory
from rmqcluster.agent.performer import Performer
from rmqcluster.core import actions as act
from rmqcluster.core.model import (
    Announcement,
    BrokerPhase,
    BrokerState,
    Disk,
    DiskKind,
    Lease,
    Marker,
    Observation,
    Operation,
    OperationKind,
    Policy,
    Stage,
    StoreView,
    View,
)
from rmqcluster.core.operations import executor_of
from rmqcluster.core.queues import QueueFacts, QueueKind, QueueReport
from rmqcluster.errors import CommandFailed, StoreUnavailable

A, B, C = "rabbit@a", "rabbit@b", "rabbit@c"
ALL = frozenset({A, B, C})
LEASE = Lease(A, "instance of a", 3)
UNKNOWN = CommandFailed("forget did not end in time", exit_status=None, timed_out=True)


def queue(members: frozenset[str] = ALL, there: frozenset[str] = ALL) -> QueueFacts:
    return QueueFacts("/fog", "tasks", QueueKind.QUORUM, True, A, members, there, there)


WHOLE = QueueReport((queue(),), ALL, ALL)
WITHOUT_C = QueueReport((queue(there=ALL - {C}),), ALL, ALL - {C})


@dataclass
class Broker:
    """Port `Commands`: what was done, and what is to fail."""

    report: QueueReport = WHOLE
    fails: CommandFailed | None = None
    done: list[str] = field(default_factory=list)
    blind: CommandFailed | None = None

    def queues(self) -> QueueReport:
        if self.blind is not None:
            raise self.blind
        return self.report

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def command(*arguments: object) -> tuple[str, ...]:
            if self.fails is not None:
                raise self.fails
            self.done.append(" ".join([name, *map(str, arguments)]))
            return ()

        return command


@dataclass
class Rig:
    """A performer between a broker and a store that say what the test wants."""

    broker: Broker
    operation: Operation
    lease: Lease | None = LEASE
    recorded: Operation | None = None
    unreachable: bool = False
    submitted: list[Any] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    markers: list[Marker] = field(default_factory=list)
    applied: list[Any] = field(default_factory=list)
    claimable: bool = True
    announced: dict[str, Announcement] = field(default_factory=dict)
    beats: dict[str, float] = field(default_factory=dict)
    memory: Memory = field(default_factory=lambda: Memory(0.0, handled=frozenset({"op-1", "op-1/2"})))

    def run(self, part: int = 1, **seen: Any) -> None:
        self.announced = seen.get("announced", {})
        by_lease = self.operation.executor == ""
        performer = Performer(
            Identity(A, "instance of a", host="h"),
            self.memory,
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            self.broker,  # type: ignore[arg-type]
            self.submitted.append,
            lambda kind, text, _id: self.told.append((kind, text)),
        )
        store = StoreView(
            lease=LEASE,
            operation=self.operation,
            operation_left_seconds=seen.pop("left", 0.0),
            announcements=seen.pop("announced", {}),
        )
        o = Observation(
            now=100.0,
            policy=Policy(),
            me=A,
            instance="instance of a",
            started_at=0.0,
            disk=Disk(True, Marker("1" * 32, Stage.MEMBER, 1, members=(A, B, C)), 7),
            broker=BrokerState(BrokerPhase.READY),
            store=store,
            stop_asked_at=100.0,
        )
        performer.run(act.Perform(self.operation, LEASE.epoch if by_lease else 0, part), o)

    def monotonic(self) -> float:
        return 100.5

    def read_operation(self) -> Operation | None:
        if self.unreachable:
            raise StoreUnavailable("Redis at r:6379: no reply")
        return self.recorded

    def read_lease(self) -> Lease | None:
        return self.lease

    def apply(self, action: act.StoreAction) -> bool:
        self.applied.append(action)
        return self.claimable

    def snapshot(self) -> StoreView:
        return StoreView(lease=self.lease, announcements=self.announced, heartbeats=self.beats)

    def write_marker(self, marker: Marker) -> None:
        self.markers.append(marker)

    @property
    def ends(self) -> list[tuple[str, str]]:
        return [(end.outcome, end.text) for end in self.submitted if isinstance(end, act.EndOperation)]


def rig(kind: OperationKind, subject: str = A, *, consent: bool = False, **broker: Any) -> Rig:
    operation = Operation("op-1", kind, subject, executor_of(kind, subject), "ann", 3, 0.0, 60.0, consent)
    return Rig(Broker(**broker), operation, recorded=operation)


@pytest.mark.parametrize(
    ("kind", "subject", "command"),
    [
        (OperationKind.GROW, "", "grow"),
        (OperationKind.REBALANCE, "", "rebalance None"),
        (OperationKind.DRAIN, A, "drain"),
        (OperationKind.REVIVE, A, "revive"),
    ],
)
def test_one_command_and_one_end(kind: OperationKind, subject: str, command: str) -> None:
    """What was done is told once, and the record ends."""
    r = rig(kind, subject)
    r.run()
    assert r.broker.done == [command]
    assert [outcome for outcome, _ in r.ends] == ["done"]
    assert r.memory.ending in r.submitted


@pytest.mark.parametrize(
    "gone", [{"recorded": None}, {"lease": None}, {"lease": Lease(B, "another", 4)}, {"claimable": False}]
)
def test_a_paused_holder_does_nothing(gone: dict[str, Any]) -> None:
    """S12: record and lease are read again right before: one that is gone or another's is no permission."""
    r = rig(OperationKind.REBALANCE, "")
    for name, value in gone.items():
        setattr(r, name, value)
    r.run()
    assert r.broker.done == []
    assert r.ends == [], "the record may be carried out by another"


def test_without_redis_nothing_begins() -> None:
    """A record that cannot be read again is no permission; it is looked at again later."""
    r = rig(OperationKind.DRAIN)
    r.unreachable = True
    r.run()
    assert r.broker.done == []
    assert r.ends == []
    assert "op-1" not in r.memory.handled


def test_an_unknown_end_keeps_the_record() -> None:
    """S5: a command that did not answer in time may still work: nothing else starts before the deadline."""
    r = rig(OperationKind.GROW, "", fails=UNKNOWN)
    r.run()
    assert r.ends == []
    assert [kind for kind, _ in r.told] == ["unknown"]


def test_a_failed_command_ends_the_record() -> None:
    """What failed for sure makes room for others, and is not tried again at once."""
    r = rig(OperationKind.GROW, "", fails=CommandFailed("no leader", exit_status=69))
    r.run()
    assert r.ends == [("failed", "no leader")]
    assert r.memory.act_failed_at == 100.5


def test_a_member_that_queues_need_is_not_drained() -> None:
    """F6: refused, with the names."""
    r = rig(OperationKind.DRAIN, report=QueueReport((queue(there=frozenset({A, B})),), ALL, ALL))
    r.run()
    assert r.broker.done == []
    assert r.ends[0][0] == "refused"
    assert "/fog tasks" in r.ends[0][1]


def test_a_stop_waits_while_queues_need_it() -> None:
    """S6: the record stays, and it is looked at again as long as the budget lasts."""
    r = rig(OperationKind.STOP, report=QueueReport((queue(there=frozenset({A, B})),), ALL, ALL))
    r.run()
    assert r.broker.done == []
    assert r.ends == []
    assert not r.memory.stop_prepared
    assert r.told[0][0] == "waiting"


def test_a_stop_moves_its_leaders_away() -> None:
    """S6: within what is left of the budget; the record ends when it has left."""
    r = rig(OperationKind.STOP)
    r.run()
    assert r.broker.done == ["prepare_stop 1.0"]
    assert r.memory.stop_prepared
    assert r.ends == []


def wiped(**changes: Any) -> dict[str, Any]:
    said = {"disk": DiskKind.BLANK, "broker": BrokerPhase.DOWN, **changes}
    return {"announced": {C: Announcement(C, "i", said["disk"], said["broker"])}}


def test_a_replacement_forgets_and_goes_on() -> None:
    """S4: the old self is forgotten; the record ends when the new one is caught up."""
    r = rig(OperationKind.REPLACE, C, report=WITHOUT_C)
    r.run(**wiped())
    assert r.broker.done == [f"forget {C}"]
    assert r.ends == []
    assert act.ReadyOperation(r.operation) in r.applied


CATCHING_UP = QueueReport((queue(there=frozenset({A})),), ALL, ALL - {C})


@pytest.mark.parametrize(
    ("report", "taken_seconds_ago", "end"),
    [
        (CATCHING_UP, 59.0, []),
        (CATCHING_UP, 61.0, ["refused"]),
        (replace(CATCHING_UP, running=frozenset({A})), 1.0, ["refused"]),
    ],
)
def test_a_forget_waits_a_minute_for_replicas_that_catch_up(
    report: QueueReport, taken_seconds_ago: float, end: list[str]
) -> None:
    """B14: a leader that died while it took over leaves none for 30 s; what is gone is not waited for."""
    r = rig(OperationKind.FORGET, C, report=report)
    r.operation = replace(r.operation, seconds=300.0)
    r.recorded = r.operation
    r.run(left=300.0 - taken_seconds_ago)
    assert r.broker.done == []
    assert [outcome for outcome, _ in r.ends] == end
    assert end or r.told == [
        ("waiting", "forget was not begun yet: it waits for other replicas of /fog tasks to catch up")
    ]
    assert ("op-1" in r.memory.handled) is bool(end)
    assert r.memory.failures == len(end)


SOLE = QueueFacts("/fog", "only", QueueKind.QUORUM, True, None, frozenset({C}))
REFUSALS = {
    "it runs": (WHOLE, wiped()),
    "a disk with data": (WITHOUT_C, wiped(disk=DiskKind.DATA)),
    "not heard": (WITHOUT_C, {}),
    "no majority left": (QueueReport((queue(there=frozenset({A})),), ALL, ALL - {C}), wiped()),
    "sole replica": (QueueReport((SOLE,), ALL, ALL - {C}), wiped()),
}


@pytest.mark.parametrize(("report", "seen"), REFUSALS.values(), ids=REFUSALS)
def test_a_replacement_is_refused(report: QueueReport, seen: dict[str, Any]) -> None:
    """S4: checked again on a fresh look, whatever was seen when it was decided."""
    r = rig(OperationKind.REPLACE, C, report=report)
    r.run(**seen)
    assert r.broker.done == []
    assert [outcome for outcome, _ in r.ends] == ["refused"]


def test_a_person_may_give_up_sole_copies_but_no_majority() -> None:
    """S4: consent waives what only the old disk holds; a queue that would lose its majority still refuses."""
    given_up = rig(OperationKind.REPLACE, C, consent=True, report=QueueReport((SOLE,), ALL, ALL - {C}))
    given_up.run(**wiped())
    assert given_up.broker.done == [f"forget {C}"]
    needed = rig(
        OperationKind.FORGET, C, consent=True, report=QueueReport((queue(there=frozenset({A})),), ALL, ALL - {C})
    )
    needed.run()
    assert needed.broker.done == []


@pytest.mark.parametrize("life", ["heartbeat", "broker", "peer"])
def test_who_lives_is_not_forgotten(life: str) -> None:
    """F2 M6: a heartbeat, its own supervisor or a peer's broker speaks for it: refused, though my broker misses it."""
    r = rig(OperationKind.FORGET, C, report=WITHOUT_C)
    said = {C: Announcement(C, "i", DiskKind.DATA, BrokerPhase.STARTING)} if life == "broker" else {}
    if life == "peer":
        said = {B: Announcement(B, "i", DiskKind.DATA, BrokerPhase.READY, view=View(ALL, ALL))}
    r.beats = {C: 3.0} if life == "heartbeat" else {}
    r.run(announced=said)
    assert r.broker.done == []
    assert r.ends[0][0] == "refused"


def test_a_forgotten_name_leaves_redis() -> None:
    """A forget ends with the name out of Redis, under the lease."""
    r = rig(OperationKind.FORGET, C, report=WITHOUT_C)
    r.run()
    assert act.ForgetName(C, 3) in r.submitted
    assert r.ends[0][0] == "done"


@pytest.mark.parametrize("kind", [OperationKind.JOIN, OperationKind.REJOIN])
def test_a_name_that_nothing_lists_is_let_in(kind: OperationKind) -> None:
    """S4: no queue lists a replica on who joins: the record says ready, and stays until it is caught up."""
    r = rig(kind, C, report=QueueReport((queue(ALL - {C}, ALL - {C}),), ALL - {C}, ALL - {C}))
    r.run()
    assert act.ReadyOperation(r.operation) in r.applied
    assert r.ends == []


@pytest.mark.parametrize("members", [ALL, ALL - {C}], ids=["listed", "forgotten"])
def test_a_name_that_a_queue_lists_is_not_let_in(members: frozenset[str]) -> None:
    """S4: a blank node would vote for what its old self had seen: the join is refused until that is taken off."""
    r = rig(OperationKind.JOIN, C, report=QueueReport((queue(there=ALL - {C}),), members, ALL - {C}))
    r.run()
    assert r.ends[0][0] == "refused"
    assert not any(isinstance(found, act.ReadyOperation) for found in r.applied)


def test_what_is_forgotten_already_is_not_forgotten_again() -> None:
    """E4: the next holder finds it done and ends it."""
    r = rig(OperationKind.FORGET, C, report=QueueReport((queue(ALL - {C}, ALL - {C}),), ALL - {C}, ALL - {C}))
    r.run()
    assert r.broker.done == []
    assert r.ends[0][0] == "done"


def test_going_on_alone_takes_three_steps_and_a_new_id() -> None:
    """F8: an old disk that returns must not fit the cluster that went on without it."""
    r = rig(OperationKind.RECOVER, consent=True)
    r.run(1)
    r.run(2)
    assert r.ends == []
    r.run(3)
    assert r.broker.done[:2] == ["prepare_boot", "release"]
    assert r.broker.done[2].startswith("settle")
    assert r.markers[0].members == (A,)
    assert r.markers[0].cluster_id != "1" * 32
    assert r.markers[0].epoch == 7
    assert r.ends[0][0] == "done"


@pytest.mark.parametrize("kind", [OperationKind.JOIN, OperationKind.DRAIN, OperationKind.FORGET])
@pytest.mark.parametrize("timed_out", [True, False])
def test_what_could_not_be_looked_at_was_not_begun(kind: OperationKind, timed_out: bool) -> None:
    """S5: a look changes nothing, so one that failed or timed out is no act of unknown effect: it is tried again."""
    r = rig(kind, C if kind is not OperationKind.DRAIN else A)
    r.broker.blind = CommandFailed("no answer in time", exit_status=None, timed_out=timed_out)
    r.run()
    assert r.ends == []
    assert r.broker.done == []
    assert "op-1" not in r.memory.handled


@pytest.mark.parametrize("timed_out", [True, False])
def test_a_drain_that_failed_is_no_maintenance(timed_out: bool) -> None:
    """Only one whose end is unknown may have taken effect."""
    r = rig(OperationKind.DRAIN, fails=CommandFailed("drain ended badly", exit_status=1, timed_out=timed_out))
    r.run()
    assert r.memory.drained is timed_out


def test_a_step_that_fails_is_tried_again() -> None:
    """The broker may not be far enough yet: the record stays, the step is open again."""
    r = rig(OperationKind.RECOVER, consent=True, fails=CommandFailed("not yet", exit_status=69))
    r.run(2)
    assert r.ends == []
    assert "op-1/2" not in r.memory.handled
