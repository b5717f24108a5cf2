"""The lease, what is done under it, leaving, clearing, and history; on every back."""

import pytest
from store_bench import Bench, Member, RedisBench

from rmqcluster.agent.ports import Event
from rmqcluster.core.actions import (
    Leave,
    ReleaseLease,
    RemoveMember,
    RestoreRecord,
    SetMaster,
    StartOperation,
    TakeLease,
    TakeOwnership,
)
from rmqcluster.core.model import DiskKind, OperationKind


@pytest.fixture
def epoch(a: Member, b: Member) -> int:
    """`a` and `b` are registered, `a` holds the lease in this epoch."""
    a.beat(registered=True)
    b.beat(registered=True)
    assert a.store.apply(TakeLease(0))
    return a.store.snapshot().epoch


def test_a_lease_is_taken_only_when_free(bench: Bench, epoch: int, a: Member, b: Member):
    """One lease at a time, not even the holder takes it twice; a new one has a higher epoch."""
    assert not b.store.apply(TakeLease(0))
    assert not a.store.apply(TakeLease(0))
    bench.expire("lease")
    assert b.store.apply(TakeLease(0))
    lease = b.store.read_lease()
    assert lease is not None
    assert (lease.node, lease.instance, lease.epoch) == (b.node, b.instance, epoch + 1)


def test_the_lease_epoch_is_above_the_floor(a: Member):
    """What the taker has seen elsewhere is a floor."""
    assert a.store.apply(TakeLease(99))
    assert a.store.snapshot().epoch == 100


def test_a_twin_takes_no_lease(bench: Bench, a: Member):
    """Who does not own its name may not act for the cluster."""
    a.beat()
    assert not Member(bench, "a", "twin").store.apply(TakeLease(0))


def test_a_lease_is_released_by_its_holder_alone(bench: Bench, epoch: int, a: Member, b: Member):
    """ReleaseLease does nothing to another's lease, nor to one of my name's earlier run."""
    assert not b.store.apply(ReleaseLease("test"))
    assert not Member(bench, "a", "later").store.apply(ReleaseLease("test"))
    assert a.store.apply(ReleaseLease("test"))
    assert a.store.read_lease() is None


def test_a_member_with_a_heartbeat_is_not_removed(epoch: int, a: Member, b: Member):
    """RemoveMember checks the heartbeat in the same step."""
    assert not a.store.apply(RemoveMember(b.node, epoch, "test"))
    assert b.node in a.store.snapshot().members


def test_a_member_without_heartbeat_is_removed(bench: Bench, epoch: int, a: Member, b: Member):
    """The lease holder takes a silent member out."""
    bench.expire("heartbeat", b.node)
    assert a.store.apply(RemoveMember(b.node, epoch, "test"))
    assert a.store.snapshot().members == {a.node}


def test_removal_needs_the_lease_of_that_epoch(bench: Bench, epoch: int, a: Member, b: Member):
    """Neither without the lease, nor with one of another epoch."""
    bench.expire("heartbeat", b.node)
    assert not b.store.apply(RemoveMember(b.node, epoch, "test"))
    assert not a.store.apply(RemoveMember(b.node, epoch - 1, "test"))
    bench.expire("lease")
    assert not a.store.apply(RemoveMember(b.node, epoch, "test"))


def test_the_master_moves_only_from_whom_was_read(epoch: int, a: Member, b: Member):
    """SetMaster compares the stored label."""
    assert not a.store.apply(SetMaster(a.node, b.node, epoch, "test"))
    assert a.store.apply(SetMaster(a.node, None, epoch, "test"))
    assert not a.store.apply(SetMaster(b.node, None, epoch, "test"))
    assert a.store.apply(SetMaster(b.node, a.node, epoch, "test"))
    assert a.store.snapshot().master == b.node


def test_the_master_is_set_under_the_lease_of_that_epoch(epoch: int, a: Member, b: Member):
    """Neither without the lease, nor with one of another epoch."""
    assert not b.store.apply(SetMaster(b.node, None, epoch, "test"))
    assert not a.store.apply(SetMaster(a.node, None, epoch + 1, "test"))


def test_the_master_has_a_heartbeat(bench: Bench, epoch: int, a: Member, b: Member):
    """A silent member is never made master."""
    bench.expire("heartbeat", b.node)
    assert not a.store.apply(SetMaster(b.node, None, epoch, "test"))


def test_the_master_is_a_member(bench: Bench, epoch: int, a: Member, b: Member, c: Member):
    """A stranger is never made master."""
    c.beat()
    assert not a.store.apply(SetMaster(c.node, None, epoch, "test"))


def test_leaving_takes_only_what_is_mine(epoch: int, a: Member, b: Member):
    """The leaver's heartbeat, registration, lease and label go; the others' stay, and so does its announcement."""
    a.store.apply(SetMaster(a.node, None, epoch, "test"))
    assert a.store.apply(Leave(final=False))
    view = b.store.snapshot()
    assert (view.members, set(view.heartbeats), view.master, view.lease) == ({b.node}, {b.node}, None, None)
    assert set(view.announcements) == {a.node, b.node}


def test_leaving_keeps_anothers_lease_and_label(epoch: int, a: Member, b: Member):
    """Who is neither master nor lease holder takes neither away."""
    a.store.apply(SetMaster(a.node, None, epoch, "test"))
    assert b.store.apply(Leave(final=True))
    view = a.store.snapshot()
    assert view.lease is not None
    assert (view.master, view.members) == (a.node, {a.node})


def test_a_final_leave_frees_the_name(epoch: int, bench: Bench, a: Member, b: Member):
    """After a final leave another run owns the name at once."""
    assert a.store.apply(Leave(final=True))
    assert set(b.store.snapshot().announcements) == {b.node}
    assert Member(bench, "a", "next").store.apply(TakeOwnership(None))


def test_a_twin_takes_nothing_away(epoch: int, bench: Bench, a: Member):
    """Leave by an instance that does not own the name leaves the owner's things alone."""
    a.store.apply(SetMaster(a.node, None, epoch, "test"))
    before = a.store.snapshot()
    assert not Member(bench, "a", "twin").store.apply(Leave(final=True))
    after = a.store.snapshot()
    assert (after.members, after.master, after.lease) == (before.members, before.master, before.lease)
    assert a.node in after.heartbeats
    assert a.node in after.announcements


def test_clear_keeps_identity_and_epoch(epoch: int, a: Member, b: Member):
    """Members, master, heartbeats and lease go; record, epoch, announcements, history and an operation stay."""
    a.store.apply(RestoreRecord("c1", 1, None))
    a.store.apply(SetMaster(a.node, None, epoch, "test"))
    a.store.record_event(Event(a.node, "test", "before"))
    a.store.apply(StartOperation(OperationKind.FORGET, "rabbit@c", 120.0, "ann@host"))
    a.store.clear()
    view = a.store.snapshot()
    assert (view.members, view.master, view.heartbeats, view.lease) == (frozenset(), None, {}, None)
    assert view.record is not None
    assert (view.record.cluster_id, view.epoch, len(view.announcements)) == ("c1", epoch, 2)
    assert len(a.store.recent_events(5)) == 1
    assert view.operation is not None
    assert view.operation == a.store.read_operation()
    a.beat(registered=True)
    assert a.store.snapshot().members == {a.node}


def test_the_identity_is_forgotten_only_by_its_name(a: Member):
    """clear_identity with another id, or without a record, does nothing."""
    assert a.store.clear_identity("c1") == ("record",)
    a.store.apply(RestoreRecord("c1", 4, None))
    assert a.store.clear_identity("c2") == ("record",)
    assert a.store.clear_identity("c1") == ()
    view = a.store.snapshot()
    assert (view.record, view.epoch) == (None, 4)


def test_the_identity_stays_while_anybody_is_there(bench: Bench, epoch: int, a: Member, b: Member, c: Member):
    """Members, heartbeats and announced data stand in the way, and are named."""
    a.store.apply(RestoreRecord("c1", 4, None))
    assert a.store.clear_identity("c1") == (a.node, b.node)
    for member in (a, b):
        member.store.apply(Leave(final=True))
    c.beat(DiskKind.DATA)
    assert a.store.clear_identity("c1") == (c.node,)
    c.beat(DiskKind.BLANK)
    assert a.store.clear_identity("c1") == ()


def test_history_comes_oldest_first(a: Member, b: Member):
    """recent_events gives the newest, in the order in which they happened, with time and id."""
    for number in range(4):
        a.store.record_event(Event(a.node, "test", f"line {number}", rule=610, epoch=3, operation="o1"))
    events = b.store.recent_events(3)
    assert [e.text for e in events] == ["line 1", "line 2", "line 3"]
    assert all((e.actor, e.kind, e.rule, e.epoch, e.operation) == (a.node, "test", 610, 3, "o1") for e in events)
    assert all(e.at > 0 and e.id for e in events)


def test_pausing_is_read_by_everybody(bench: Bench, a: Member, b: Member):
    """The reason of a pause is in every snapshot until it is resumed."""
    if not isinstance(bench, RedisBench):
        bench.state.paused = "upgrade"
        assert a.store.snapshot().paused == "upgrade"
        return
    store = bench.store("rabbit@a", "operator")
    store.pause("upgrade", None)
    assert b.store.snapshot().paused == "upgrade"
    store.resume()
    assert b.store.snapshot().paused is None
