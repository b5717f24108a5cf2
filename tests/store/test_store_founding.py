"""Founding: claim, offer, commit, abandon, and restoring the record; on every back."""

import pytest
from store_bench import Bench, Member

from rmqcluster.core.actions import (
    AbandonClaim,
    ClaimFounding,
    CommitFounding,
    Leave,
    OfferFounder,
    RestoreRecord,
    TakeLease,
)
from rmqcluster.core.model import Claim, DiskKind, Record


@pytest.fixture
def claim(a: Member, b: Member) -> Claim:
    """`a` has claimed the founding in company of `b`."""
    a.beat()
    b.beat()
    assert a.store.apply(ClaimFounding())
    return claim_of(a)


def claim_of(member: Member) -> Claim:
    found = member.store.snapshot().claim
    assert found is not None
    return found


def test_a_claim_needs_a_blank_majority(a: Member, b: Member):
    """Alone among three nobody founds; with a second one a founding can be claimed."""
    a.beat()
    assert not a.store.apply(ClaimFounding())
    b.beat(DiskKind.UNCOMMITTED)
    assert a.store.apply(ClaimFounding())
    assert claim_of(b).node == a.node


@pytest.mark.parametrize("disk", [DiskKind.DATA, DiskKind.UNMARKED, DiskKind.AMNESIC])
def test_a_claim_respects_announced_data(a: Member, b: Member, c: Member, disk: DiskKind):
    """One announced identity forbids the claim."""
    a.beat()
    b.beat()
    c.beat(disk)
    assert not a.store.apply(ClaimFounding())


def test_only_one_claims(claim: Claim, b: Member):
    """A second claim is refused while the first stands."""
    assert not b.store.apply(ClaimFounding())
    assert claim_of(b) == claim


def test_a_claim_respects_the_record(a: Member, b: Member):
    """With a record there is nothing to found."""
    a.beat()
    b.beat()
    assert b.store.apply(RestoreRecord("c1", 1, None))
    assert not a.store.apply(ClaimFounding())


def test_a_claim_needs_my_own_announcement(bench: Bench, a: Member, b: Member, c: Member):
    """Who is not announced, or whose name another instance announced, cannot claim."""
    a.beat()
    b.beat()
    assert not c.store.apply(ClaimFounding())
    assert not Member(bench, "a", "twin").store.apply(ClaimFounding())


def test_expired_announcements_are_no_company(bench: Bench, a: Member, b: Member):
    """Who is no longer announced is not counted."""
    a.beat()
    b.beat()
    bench.expire("announcement", b.node)
    assert not a.store.apply(ClaimFounding())


def test_ids_are_new_each_time_and_repeatable_from_a_seed(a: Member, b: Member):
    """Each claim draws its own id; the same seed draws the same."""
    a.beat()
    b.beat()
    ids = []
    for seed in ("", "", "s", "s"):
        assert a.store.apply(ClaimFounding(seed))
        ids.append(claim_of(a).cluster_id)
        assert a.store.apply(AbandonClaim("test"))
    assert len(set(ids)) == 3
    assert ids[2] == ids[3]


def test_epochs_rise_above_everything_known(bench: Bench, a: Member, b: Member):
    """A claim's epoch is above the stored one and above what any announced disk has seen."""
    a.beat(epoch_high=4)
    b.beat(epoch_high=41)
    assert a.store.apply(ClaimFounding())
    assert claim_of(a).epoch == 42
    assert a.store.apply(AbandonClaim("test"))
    assert b.store.apply(ClaimFounding())
    assert claim_of(b).epoch == 43 == a.store.snapshot().epoch


def test_a_claim_is_abandoned_by_its_holder_alone(claim: Claim, a: Member, b: Member):
    """AbandonClaim does nothing to another's claim."""
    assert not b.store.apply(AbandonClaim("test"))
    assert claim_of(b) == claim
    assert a.store.apply(AbandonClaim("test"))
    assert a.store.snapshot().claim is None


def test_a_kept_claim_is_kept_by_its_holder_alone(bench: Bench, claim: Claim, a: Member, b: Member):
    """keep_claim never brings an expired claim back."""
    bench.expire("founding")
    a.beat(keep_claim=True)
    assert a.store.snapshot().claim is None


def test_the_founder_commits(bench: Bench, claim: Claim, a: Member):
    """A commit writes the record and ends the claim."""
    bench.age_roll_call(6.5)
    assert a.store.apply(CommitFounding(claim.cluster_id))
    view = a.store.snapshot()
    assert (view.record, view.claim) == (Record(claim.cluster_id, claim.epoch, a.node), None)


def test_a_commit_waits_for_the_roll_call(bench: Bench, claim: Claim, a: Member):
    """No commit until everybody had a heartbeat and a second to announce themselves."""
    bench.age_roll_call(5.5)
    assert not a.store.apply(CommitFounding(claim.cluster_id))


def test_a_commit_needs_the_claim(bench: Bench, claim: Claim, a: Member, b: Member):
    """Neither another member, nor another id, nor an expired claim commits."""
    bench.age_roll_call(30)
    assert not b.store.apply(CommitFounding(claim.cluster_id))
    assert not a.store.apply(CommitFounding("other"))
    bench.expire("founding")
    assert not a.store.apply(CommitFounding(claim.cluster_id))


@pytest.mark.parametrize("cluster_id", [None, "other"])
def test_a_commit_respects_announced_data(bench: Bench, claim: Claim, a: Member, c: Member, cluster_id: str | None):
    """Data that is not of this founding forbids the commit."""
    bench.age_roll_call(30)
    c.beat(DiskKind.DATA, cluster_id=cluster_id)
    assert not a.store.apply(CommitFounding(claim.cluster_id))


def test_data_of_this_founding_does_not_forbid_its_commit(bench: Bench, claim: Claim, a: Member, c: Member):
    """Members that carry the founding's own id do not stand in its way."""
    bench.age_roll_call(30)
    c.beat(DiskKind.DATA, cluster_id=claim.cluster_id)
    assert a.store.apply(CommitFounding(claim.cluster_id))


def test_a_record_ends_every_founding(bench: Bench, claim: Claim, a: Member, b: Member):
    """A record that a majority of the disks restored takes the claim away, and no commit follows."""
    bench.age_roll_call(30)
    assert b.store.apply(RestoreRecord("older", 9, None))
    assert a.store.snapshot().claim is None
    assert not a.store.apply(CommitFounding(claim.cluster_id))


def test_the_founder_is_offered_under_the_claim_alone(bench: Bench, claim: Claim, a: Member, b: Member):
    """OfferFounder names the master only while my claim stands and nothing is committed."""
    assert not b.store.apply(OfferFounder(b.node))
    assert a.store.apply(OfferFounder(a.node))
    assert b.store.snapshot().master == a.node
    bench.expire("founding")
    assert not a.store.apply(OfferFounder(b.node))


def test_a_record_is_restored_only_over_what_was_read(a: Member):
    """RestoreRecord compares the stored id; the epoch counter only rises."""
    assert not a.store.apply(RestoreRecord("c1", 5, "gone"))
    assert a.store.apply(RestoreRecord("c1", 5, None))
    assert not a.store.apply(RestoreRecord("c2", 6, None))
    assert a.store.apply(RestoreRecord("c2", 3, "c1"))
    view = a.store.snapshot()
    assert view.record == Record("c2", 3, "")
    assert view.epoch == 5


def test_a_restored_record_keeps_the_founder_of_the_same_cluster(bench: Bench, claim: Claim, a: Member):
    """Only another cluster's record forgets who founded."""
    bench.age_roll_call(30)
    assert a.store.apply(CommitFounding(claim.cluster_id))
    assert a.store.apply(RestoreRecord(claim.cluster_id, 8, claim.cluster_id))
    assert a.store.snapshot().record == Record(claim.cluster_id, 8, a.node)


def test_the_record_holds_epochs_up(bench: Bench, a: Member):
    """A lost counter does not let epochs fall below the record's."""
    assert a.store.apply(RestoreRecord("c1", 7, None))
    bench.forget_epoch()
    assert a.store.apply(TakeLease(0))
    assert a.store.snapshot().epoch == 8


def test_leaving_gives_the_claim_up(claim: Claim, a: Member):
    """A founder that leaves takes its claim with it."""
    assert a.store.apply(Leave(final=False))
    assert a.store.snapshot().claim is None
