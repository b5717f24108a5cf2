"""The operation record: who may write it, who ends it, what outlives a flush; and what is left of a forgotten node."""

from dataclasses import replace

import pytest
from store_bench import Bench, Member

from rmqcluster.core.actions import (
    ClaimOperation,
    EndOperation,
    ForgetName,
    Leave,
    ReadyOperation,
    ReleaseLease,
    SetMaster,
    StartOperation,
    TakeLease,
    TakeOwnership,
)
from rmqcluster.core.model import Operation, OperationKind

BY = "operator ann@host"
FORGET = StartOperation(OperationKind.FORGET, "rabbit@b", 120.0, BY)


@pytest.fixture
def epoch(a: Member, b: Member) -> int:
    """`a` and `b` are registered, `a` holds the lease in this epoch."""
    a.beat(registered=True)
    b.beat(registered=True)
    assert a.store.apply(TakeLease(6))
    return a.store.snapshot().epoch


def started(member: Member, action: StartOperation = FORGET) -> Operation:
    assert member.store.apply(action)
    found = member.store.read_operation()
    assert found is not None
    return found


def test_an_operation_comes_back_whole(epoch: int, a: Member, b: Member):
    """Every field of the request is in the record, with the time of Redis, the cluster's epoch and its deadline."""
    asked = StartOperation(
        OperationKind.FAILOVER,
        "rabbit@a",
        37.5,
        'ann "é" <ann@host>',
        executor="rabbit@b",
        consent=True,
        target="rabbit@b",
        why="a/b wants\nrest",
        id="o1",
    )
    found = started(a, asked)
    view = b.store.snapshot()
    assert (view.operation, view.warnings) == (found, ())
    assert view.operation_left_seconds == pytest.approx(37.5, abs=2)
    assert found == Operation(
        "o1",
        OperationKind.FAILOVER,
        "rabbit@a",
        "rabbit@b",
        'ann "é" <ann@host>',
        epoch,
        found.since,
        37.5,
        consent=True,
        target="rabbit@b",
        why=found.why,
    )
    assert found.why.startswith("a/b wants")


def test_an_operation_begins_at_the_time_of_the_store(bench: Bench, a: Member):
    """`since` is the store's clock, so that everybody counts from the same moment."""
    before = bench.unix_seconds()
    found = started(a)
    assert before <= found.since <= bench.unix_seconds()


def test_ids_are_drawn_and_differ(a: Member):
    """Without an id one is drawn; the next operation never has the same."""
    first = started(a)
    assert a.store.apply(EndOperation(first, "done", ""))
    second = started(a)
    assert first.id
    assert second.id
    assert first.id != second.id


@pytest.mark.parametrize(
    "other",
    [
        replace(FORGET, kind=OperationKind.REPLACE),
        replace(FORGET, subject="rabbit@c"),
        replace(FORGET, subject=""),
        replace(FORGET, by="operator bob@host"),
    ],
)
def test_there_is_one_operation_at_a_time(a: Member, b: Member, other: StartOperation):
    """While one is recorded no other kind, subject or asker gets in; the record stays as it is."""
    found = started(a)
    assert not b.store.apply(other)
    assert b.store.read_operation() == found


def test_asked_twice_it_begins_once(bench: Bench, a: Member):
    """Asked again by the same one, on a reading from before its record, nothing changes: who acts under it goes on."""
    first = started(a)
    assert not a.store.apply(FORGET)
    assert not Member(bench, "a", "next run").store.apply(FORGET)
    assert a.store.read_operation() == first


def test_an_expired_operation_makes_room(bench: Bench, a: Member, b: Member):
    """After the deadline another may begin."""
    started(a)
    bench.expire("operation")
    assert b.store.read_operation() is None
    assert b.store.apply(replace(FORGET, subject="rabbit@c"))


def test_with_an_epoch_only_the_lease_holder_starts(bench: Bench, epoch: int, a: Member, b: Member):
    """The monitor's own operations need its lease, of exactly that epoch, at that moment."""
    assert not b.store.apply(replace(FORGET, epoch=epoch))
    assert not a.store.apply(replace(FORGET, epoch=epoch - 1))
    assert not a.store.apply(replace(FORGET, epoch=epoch + 1))
    assert not Member(bench, "a", "twin").store.apply(replace(FORGET, epoch=epoch))
    assert a.store.read_operation() is None
    assert started(a, replace(FORGET, epoch=epoch)).epoch == epoch
    bench.expire("lease")
    assert not a.store.apply(replace(FORGET, epoch=epoch))


def test_without_an_epoch_the_clusters_is_recorded(epoch: int, a: Member, b: Member):
    """An operator has no lease; the record still tells in which epoch it was asked."""
    assert started(b).epoch == epoch


def test_an_operation_is_ended_by_its_id_alone(a: Member, b: Member):
    """Another id ends nothing, anybody with the id ends it once."""
    found = started(a)
    assert not a.store.apply(EndOperation(replace(found, id="other"), "done", ""))
    assert a.store.read_operation() == found
    assert b.store.apply(EndOperation(found, "failed", "why"))
    assert a.store.read_operation() is None
    assert not b.store.apply(EndOperation(found, "failed", "why"))


def test_ending_touches_nothing_else(epoch: int, a: Member, b: Member):
    """Members, lease and heartbeats are none of its business."""
    before = a.store.snapshot()
    found = started(b)
    assert b.store.apply(EndOperation(found, "done", ""))
    after = a.store.snapshot()
    assert (after.members, after.lease, set(after.heartbeats)) == (before.members, before.lease, set(before.heartbeats))


def test_an_emptied_store_gets_the_operation_back(bench: Bench, a: Member, b: Member):
    """Who carries it out writes it down again after a flush, with what is left of its time."""
    a.beat()
    found = started(a)
    bench.flush()
    assert b.store.read_operation() is None
    a.beat(operation=found, operation_left_seconds=40.0)
    view = b.store.snapshot()
    assert view.operation == found
    assert view.operation_left_seconds == pytest.approx(40, abs=2)


def test_an_operation_written_after_a_flush_is_kept(bench: Bench, a: Member, b: Member):
    """Whose operation came first into the emptied store keeps its place, deadline included."""
    a.beat()
    old = started(a)
    bench.flush()
    b.beat()
    new = started(b, replace(FORGET, subject="rabbit@c", seconds=50.0))
    a.beat(operation=old, operation_left_seconds=100.0)
    view = a.store.snapshot()
    assert view.operation == new
    assert view.operation_left_seconds == pytest.approx(50, abs=2)


def test_an_ended_operation_does_not_come_back(bench: Bench, a: Member):
    """A beat that still carries it, put together before the end, writes nothing: the store was not emptied.

    That holds in a young cluster too, whose roll call has only just begun.
    """
    a.beat()
    found = started(a)
    assert a.store.apply(EndOperation(found, "done", ""))
    a.beat(operation=found)
    assert a.store.read_operation() is None
    bench.age_roll_call(1000)
    a.beat(operation=found)
    assert a.store.read_operation() is None


def test_an_operation_comes_back_only_soon_after_a_flush(bench: Bench, a: Member):
    """Two TTLs after the store was emptied it counts as ended: by then everybody has said what he carries out."""
    a.beat()
    found = started(a)
    early = replace(found, since=found.since - 1000)
    bench.flush()
    a.beat()
    bench.age_roll_call(31)
    a.beat(operation=early)
    assert a.store.read_operation() is None
    bench.age_roll_call(28)
    a.beat(operation=early)
    assert a.store.read_operation() == early


@pytest.mark.parametrize("left", [0.0, -5.0])
def test_an_operation_past_its_deadline_does_not_come_back(bench: Bench, a: Member, left: float):
    """Nothing is written for no time."""
    a.beat()
    found = started(a)
    bench.flush()
    a.beat(operation=found, operation_left_seconds=left)
    assert a.store.read_operation() is None


def test_a_twin_brings_no_operation_back(bench: Bench, a: Member):
    """Who does not own its name writes nothing, an operation neither."""
    a.beat()
    found = started(a)
    bench.flush()
    a.beat()
    Member(bench, "a", "twin").beat(operation=found)
    assert a.store.read_operation() is None


def test_a_final_leave_ends_my_stop(a: Member, b: Member):
    """With the leaver its stop is over: the next member need not wait for the deadline."""
    a.beat(registered=True)
    started(a, StartOperation(OperationKind.STOP, a.node, 20.0, a.node, executor=a.node))
    assert a.store.apply(Leave(final=False))
    assert b.store.read_operation() is not None
    assert a.store.apply(Leave(final=True))
    assert b.store.read_operation() is None


@pytest.mark.parametrize(
    ("kind", "subject"), [(OperationKind.STOP, "rabbit@b"), (OperationKind.DRAIN, "rabbit@a"), (OperationKind.JOIN, "")]
)
def test_a_leave_ends_no_other_operation(a: Member, kind: OperationKind, subject: str):
    """Another's stop, and what is no stop, outlive the leaver."""
    found = started(a, StartOperation(kind, subject, 20.0, BY))
    assert a.store.apply(Leave(final=True))
    assert a.store.read_operation() == found


def test_a_twin_that_leaves_ends_no_stop(bench: Bench, a: Member):
    """The stop is that of the name's owner."""
    a.beat()
    found = started(a, StartOperation(OperationKind.STOP, a.node, 20.0, a.node))
    Member(bench, "a", "twin").store.apply(Leave(final=True))
    assert a.store.read_operation() == found


def test_a_forgotten_name_leaves_nothing_behind(bench: Bench, epoch: int, a: Member, b: Member):
    """Registration, announcement, owner and label go, so the name is free; the others' things stay."""
    assert a.store.apply(SetMaster(b.node, None, epoch, "test"))
    bench.expire("heartbeat", b.node)
    assert a.store.apply(ForgetName(b.node, epoch))
    view = a.store.snapshot()
    assert (view.members, view.master, set(view.announcements)) == ({a.node}, None, {a.node})
    assert bench.known() == {a.node}
    assert view.owner is not None
    assert view.lease is not None
    assert a.node in view.heartbeats
    assert Member(bench, "b", "next").store.apply(TakeOwnership(None))


def test_another_master_keeps_its_label(bench: Bench, epoch: int, a: Member, b: Member):
    """The label goes only with the name that it carries."""
    assert a.store.apply(SetMaster(a.node, None, epoch, "test"))
    bench.expire("heartbeat", b.node)
    assert a.store.apply(ForgetName(b.node, epoch))
    assert a.store.snapshot().master == a.node


def test_a_name_with_a_heartbeat_is_not_forgotten(epoch: int, a: Member, b: Member):
    """Who still beats is there, whatever was decided on an older reading."""
    before = a.store.snapshot()
    assert not a.store.apply(ForgetName(b.node, epoch))
    after = a.store.snapshot()
    assert (after.members, set(after.announcements)) == (before.members, set(before.announcements))


def test_a_name_is_forgotten_under_the_lease_of_that_epoch(bench: Bench, epoch: int, a: Member, b: Member, c: Member):
    """Neither without the lease, nor with one of another epoch, nor after it was given up."""
    bench.expire("heartbeat", b.node)
    assert not c.store.apply(ForgetName(b.node, epoch))
    assert not a.store.apply(ForgetName(b.node, epoch - 1))
    assert a.store.apply(ReleaseLease("test"))
    assert not a.store.apply(ForgetName(b.node, epoch))
    assert b.node in a.store.snapshot().members


def unsince(member: Member) -> Operation:
    """The record without its beginning, of which Lua keeps fourteen digits only."""
    found = member.store.read_operation()
    assert found is not None
    return replace(found, since=0.0)


def test_who_begins_is_written_down_once(bench: Bench, a: Member, b: Member):
    """What any lease holder may carry out is claimed by one; its deadline counts from there."""
    found = started(a, replace(FORGET, executor="", seconds=30.0))
    assert b.store.apply(ClaimOperation(found))
    assert unsince(b) == replace(found, executor=b.node, since=0.0)
    assert b.store.snapshot().operation_left_seconds == pytest.approx(30, abs=2)
    assert not a.store.apply(ClaimOperation(found))
    assert b.store.apply(ClaimOperation(found)), "who began it may look again"


def test_nobody_claims_what_has_ended(a: Member, b: Member):
    """Another record, or none, is no permission."""
    first = started(a, replace(FORGET, executor=""))
    a.store.apply(EndOperation(first, "done", ""))
    assert not b.store.apply(ClaimOperation(first))
    second = started(a, replace(FORGET, executor=""))
    assert not b.store.apply(ClaimOperation(first))
    assert b.store.read_operation() == second


def test_a_claim_under_an_epoch_needs_the_lease(a: Member):
    """S12: a holder that was paused past its lease begins nothing."""
    found = started(a, replace(FORGET, executor=""))
    assert not a.store.apply(ClaimOperation(found, epoch=1))


def test_ready_is_kept_with_the_deadline(bench: Bench, a: Member, b: Member):
    """The subject of a replacement may join once its old self is forgotten; another record is left alone."""
    found = started(a, replace(FORGET, seconds=30.0))
    assert b.store.apply(ReadyOperation(found))
    assert unsince(a) == replace(found, ready=True, since=0.0)
    assert a.store.snapshot().operation_left_seconds == pytest.approx(30, abs=2)
    assert not b.store.apply(ReadyOperation(replace(found, id="another")))
