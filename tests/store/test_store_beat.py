"""The beat and the snapshot, on every back."""

import pytest
from store_bench import POLICY, Bench, Member, announcement

from rmqcluster.agent.ports import Beat
from rmqcluster.core.actions import StartOperation, TakeLease, TakeOwnership
from rmqcluster.core.model import DiskKind, OperationKind, Owner, StoreView, View


def test_an_empty_store_reads_as_empty(a: Member):
    """Nothing under the prefix is an empty view without warnings."""
    assert a.store.snapshot() == StoreView()


def test_an_announcement_comes_back_whole(a: Member, b: Member):
    """Every field of an announcement survives the way through the store."""
    said = announcement(
        a.node,
        a.instance,
        DiskKind.DATA,
        cluster_id="c1",
        host="h",
        version="3.10.8",
        cookie="f00",
        mutual=True,
        view=View(frozenset({a.node, b.node}), frozenset({a.node}), ("disk rabbit@a",)),
        listed=frozenset({a.node, b.node}),
        epoch_high=7,
        management="a:15672",
        http="a:15680",
        state="member",
        held="why",
        wanted="stamp",
        drained=True,
        notes=("q1 misses a replica",),
        findings=("rabbit@b came up on another host",),
        whole=frozenset({a.instance, b.instance}),
        beat_sequence=3,
    )
    a.store.beat(Beat(said, registered=True, keep_lease=False, keep_claim=False))
    assert b.store.snapshot().announcements == {a.node: said}


def test_a_registered_beat_writes_heartbeat_and_membership(a: Member, b: Member):
    """A registered member is in `members` and its heartbeat lives for the TTL."""
    a.beat(registered=True)
    view = b.store.snapshot()
    assert view.members == {a.node}
    assert view.heartbeats[a.node] == pytest.approx(POLICY.ttl_seconds, abs=2)


def test_an_unregistered_beat_only_announces(a: Member):
    """A beat that is not registered gives no heartbeat and no membership."""
    a.beat()
    view = a.store.snapshot()
    assert (view.members, view.heartbeats, set(view.announcements)) == (frozenset(), {}, {a.node})


def test_a_beat_takes_a_free_name(a: Member):
    """The first beat owns the name, with its sequence."""
    a.beat()
    a.beat()
    assert a.store.snapshot().owner == Owner(a.instance, 2)


def test_a_twin_writes_nothing(bench: Bench, a: Member):
    """A beat under a name that another instance owns changes nothing, and does not fail."""
    a.beat(registered=True)
    before = a.store.snapshot()
    twin = Member(bench, "a", "twin")
    twin.beat(DiskKind.DATA, registered=True)
    after = twin.store.snapshot()
    assert (after.owner, after.announcements) == (before.owner, before.announcements)


def test_a_twin_does_not_revive_a_lost_heartbeat(bench: Bench, a: Member):
    """While the owner's beat is missing, a twin's beat does not stand in for it."""
    a.beat(registered=True)
    bench.expire("heartbeat", a.node)
    Member(bench, "a", "twin").beat(registered=True)
    assert a.store.snapshot().heartbeats == {}


def test_ownership_moves_only_from_the_one_that_was_read(bench: Bench, a: Member):
    """TakeOwnership compares the owner with the instance that was read."""
    a.beat()
    twin = Member(bench, "a", "twin")
    assert not twin.store.apply(TakeOwnership(None))
    assert not twin.store.apply(TakeOwnership("somebody"))
    assert twin.store.apply(TakeOwnership(a.instance))
    assert twin.store.snapshot().owner == Owner("twin", 0)


def test_absent_ownership_is_taken_as_absent(bench: Bench, a: Member):
    """TakeOwnership of nobody's name works only while nobody has it."""
    assert not a.store.apply(TakeOwnership("gone"))
    assert a.store.apply(TakeOwnership(None))
    assert not Member(bench, "a", "twin").store.apply(TakeOwnership(None))


def test_a_kept_lease_lives_on_for_its_holder_alone(bench: Bench, a: Member, b: Member):
    """keep_lease extends my lease and never makes one."""
    b.beat(keep_lease=True)
    assert b.store.snapshot().lease is None
    assert a.store.apply(TakeLease(0))
    b.beat(keep_lease=True)
    lease = a.store.snapshot().lease
    assert lease is not None
    assert lease.node == a.node
    assert a.store.read_lease() == b.store.read_lease() == lease


def test_a_beat_without_announcement_only_keeps_the_lease(bench: Bench):
    """A monitor without a broker is nobody's node: no name, no owner, no heartbeat, no roll call."""
    monitor = Member(bench, "monitor")
    monitor.store.beat(Beat(None, True, True, True))
    assert monitor.store.snapshot() == StoreView()
    assert monitor.store.apply(TakeLease(0))
    bench.shorten_lease()
    monitor.store.beat(Beat(None, registered=True, keep_lease=False, keep_claim=True))
    assert monitor.store.snapshot().next_expiry_seconds < 2
    monitor.store.beat(Beat(None, registered=True, keep_lease=True, keep_claim=True))
    view = monitor.store.snapshot()
    assert view.next_expiry_seconds == pytest.approx(POLICY.ttl_seconds, abs=2)
    assert (view.members, view.owner, view.announcements, view.heartbeats) == (frozenset(), None, {}, {})
    assert view.roll_call_seconds == 0


def test_the_next_expiry_is_the_soonest_end(bench: Bench, a: Member):
    """next_expiry_seconds speaks of heartbeats, claim, lease and operation; announcements do not count."""
    a.beat()
    assert a.store.snapshot().next_expiry_seconds is None
    a.store.apply(StartOperation(OperationKind.GROW, "", 60.0, "ann"))
    assert a.store.snapshot().next_expiry_seconds == pytest.approx(60, abs=2)
    a.store.apply(TakeLease(0))
    assert a.store.snapshot().next_expiry_seconds == pytest.approx(POLICY.ttl_seconds, abs=2)


def test_the_roll_call_lasts_while_somebody_is_announced(bench: Bench, a: Member, b: Member):
    """The roll call's age counts from the first announcement, not from later ones."""
    a.beat()
    bench.age_roll_call(30)
    b.beat()
    assert b.store.snapshot().roll_call_seconds == pytest.approx(30, abs=2)


def test_a_new_roll_call_begins_when_nobody_was_left(bench: Bench, a: Member, b: Member):
    """After all announcements are gone the next beat begins a new roll call."""
    a.beat()
    bench.age_roll_call(30)
    bench.expire("announcement", a.node)
    b.beat()
    assert b.store.snapshot().roll_call_seconds == pytest.approx(0, abs=2)


def test_a_roll_call_of_the_future_begins_again(bench: Bench, a: Member):
    """A Redis whose clock went back does not hold a founding up until that time has come."""
    a.beat()
    bench.age_roll_call(-1000)
    a.beat()
    assert 0 <= a.store.snapshot().roll_call_seconds < 2
    assert bench.roll_call_age() == pytest.approx(0, abs=2)


def test_a_flush_begins_a_new_roll_call(bench: Bench, a: Member):
    """A flushed store is empty, and the next beat begins the roll call again."""
    a.beat(registered=True)
    bench.age_roll_call(30)
    bench.flush()
    assert a.store.snapshot() == StoreView()
    a.beat(registered=True)
    view = a.store.snapshot()
    assert view.members == {a.node}
    assert view.roll_call_seconds == pytest.approx(0, abs=2)


def test_members_without_heartbeat_stay_members(bench: Bench, a: Member, b: Member):
    """A reading prunes nothing: a lost heartbeat leaves the membership."""
    a.beat(registered=True)
    bench.expire("heartbeat", a.node)
    b.beat()
    view = b.store.snapshot()
    assert (view.members, view.heartbeats) == ({a.node}, {})
