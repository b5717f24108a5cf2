"""What a supervisor concludes from readings that lie seconds apart."""

import pytest

from rmqcluster.agent.memory import Identity, Memory, observe
from rmqcluster.agent.prober import Answers
from rmqcluster.agent.store_worker import Reading
from rmqcluster.core import evidence as e
from rmqcluster.core.actions import EndOperation
from rmqcluster.core.model import (
    Announcement,
    BrokerPhase,
    BrokerState,
    Disk,
    DiskKind,
    Looked,
    Operation,
    OperationKind,
    Policy,
    StoreView,
    View,
)
from rmqcluster.core.tables import APART, STANDING

A, B, C = "rabbit@a", "rabbit@b", "rabbit@c"


def reading(instance_of_b: str) -> StoreView:
    """Both registered and beating; B is this run of its supervisor."""
    said = Announcement(B, instance_of_b, DiskKind.DATA, BrokerPhase.READY, mutual=True)
    return StoreView(members=frozenset({A, B}), heartbeats={A: 9.0, B: 9.0}, announcements={B: said})


def test_a_restart_between_two_readings_is_a_change() -> None:
    """A member that was away and back before the next reading has lost its leaders: members count as changed."""
    memory, me = Memory(started_at=0.0), Identity(A, "a1")
    memory.learn(me, 10.0, reading("b1"))
    memory.learn(me, 15.0, reading("b1"))
    assert memory.members_changed_at == 10.0

    memory.learn(me, 20.0, reading("b2"))

    assert memory.members_changed_at == 20.0


@pytest.mark.parametrize(("announces", "runs"), [(True, False), (False, True)])
def test_an_old_answer_of_a_peer_yields_to_what_it_announces(announces: bool, runs: bool) -> None:
    """What B answered when I joined, three beats ago, keeps C running only while B announces nothing newer (S7)."""
    everybody, asked_at, now = frozenset({A, B, C}), 10.0, 13.0
    said = Announcement(B, "b1", DiskKind.DATA, BrokerPhase.READY, view=View(everybody, frozenset({A, B})))
    o = observe(
        Identity(A, "a1"),
        Policy(heartbeat_seconds=1.0, ttl_seconds=3.0),
        Memory(started_at=0.0),
        now,
        Disk(False),
        BrokerState(BrokerPhase.READY),
        Reading(view=StoreView(announcements={B: said} if announces else {})),
        Answers(at=now, peers={B: (View(everybody, everybody), asked_at)}),
        busy=None,
    )

    assert e.running_by(o, C) == {B: runs}


def test_a_look_that_succeeds_ends_no_row_of_failed_acts() -> None:
    """An act that fails again and again is tried less and less often, though a look comes before each try."""
    memory = Memory(started_at=0.0)
    memory.failed("grow", 10.0)
    memory.succeeded("look", only_looked=True)
    memory.failed("grow", 20.0)
    assert (memory.failures, memory.act_failed_at) == (2, 20.0)

    memory.succeeded("grow")
    assert (memory.failures, memory.act_failed_at) == (0, None)

    memory.failed("look", 30.0)
    memory.succeeded("look", only_looked=True)
    assert memory.failures == 0


def test_an_end_is_told_until_its_record_is_gone() -> None:
    """Redis may fail in between: the record would keep everybody else waiting until its deadline."""
    asked = Operation("op-1", OperationKind.FAILOVER, "", "", "operator", 1, 0.0, 300.0)
    memory = Memory(started_at=0.0, ending=EndOperation(asked, "done", "master moved"))

    assert memory.end_again(None) is None
    assert memory.end_again(StoreView(operation=asked)) == memory.ending
    assert memory.end_again(StoreView()) is None
    assert memory.ending is None


def test_what_looks_find_counts_within_one_boot() -> None:
    """From the first look that saw it on; a look that saw otherwise, and a new boot, begin anew."""
    memory = Memory(started_at=0.0)
    for now, boot, why_not, since in (
        (70.0, 0.0, APART, 70.0),
        (90.0, 0.0, APART, 70.0),
        (110.0, 0.0, STANDING, 110.0),
        (130.0, 0.0, APART, 130.0),
        (210.0, 140.0, APART, 210.0),
    ):
        memory.tables_seen(now, boot, why_not)
        assert memory.looked == Looked(why_not, since)
