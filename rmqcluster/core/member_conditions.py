"""The named conditions of the member rules: one question about an observation each."""

from rmqcluster.core import evidence as e
from rmqcluster.core.model import BrokerPhase, DiskKind, JoinMode, Observation, Purpose, Stage
from rmqcluster.core.operations import STOPPING_TAKES_SECONDS
from rmqcluster.core.tables import APART, STANDING

LAST_WORDS_SECONDS = 0.5  # of the stop budget, for the supervisor itself
APART_SECONDS = 60.0  # how long a booting broker may need to reach the metadata of peers that run
STANDING_SECONDS = 15.0  # how long a broker that stopped its application is left to itself
TABLES_SECONDS, TABLES_AGAIN_SECONDS = 60.0, 20.0  # how long the last member may be waited for; between two looks
FIRST_WORD_SECONDS = 3.0  # above the longest that Redis may take for one reply


def stop_asked(o: Observation) -> bool:
    return o.stop_asked_at is not None


def broker_down(o: Observation) -> bool:
    return o.broker.phase is BrokerPhase.DOWN


def broker_starting(o: Observation) -> bool:
    return o.broker.phase is BrokerPhase.STARTING


def broker_ready(o: Observation) -> bool:
    return o.broker.phase is BrokerPhase.READY


def broker_stopping(o: Observation) -> bool:
    return o.broker.phase is BrokerPhase.STOPPING


def stop_not_signalled(o: Observation) -> bool:
    return not o.stop_signalled


def stop_to_prepare(o: Observation) -> bool:
    """There is time to move the leaders away, somebody to take them, and no stop of the whole cluster."""
    window = o.policy.stop_seconds - STOPPING_TAKES_SECONDS
    in_time = o.store is not None and o.stop_asked_at is not None and not e.waited(o, o.stop_asked_at, window)
    company = o.view is not None and len(o.view.running) > 1 and e.is_mutual(o) is True
    return in_time and company and not o.stop_signalled and not o.stop_prepared and not e.peers_are_stopping(o)


def stop_budget_spent(o: Observation) -> bool:
    overdue = o.stop_asked_at is not None and e.waited(o, o.stop_asked_at, o.policy.stop_seconds - LAST_WORDS_SECONDS)
    return overdue and not o.stop_killed


def first_word_due(o: Observation) -> bool:
    """Neither a reading nor an error of Redis has come yet, and its reply may still be on the way."""
    return o.store is None and not o.store_trouble and not e.waited(o, o.started_at, FIRST_WORD_SECONDS)


def was_a_member(o: Observation) -> bool:
    return o.disk.kind in (DiskKind.DATA, DiskKind.UNMARKED)


def name_taken(o: Observation) -> bool:
    owner = o.store.owner if o.store else None
    return owner is not None and owner.instance != o.instance


def owner_proven_dead(o: Observation) -> bool:
    owner = o.store.owner if o.store else None
    still = e.waited(o, o.owner_moved_at, 2 * o.policy.heartbeat_seconds)
    return owner is not None and (owner.instance == o.predecessor or still)


def owner_beats(o: Observation) -> bool:
    return o.owner_moves >= 2


def data_lost(o: Observation) -> bool:
    return o.disk.kind is DiskKind.AMNESIC


def blank_under_known_name(o: Observation) -> bool:
    return o.disk.kind is DiskKind.BLANK and bool(e.listed_by_strangers(o) or e.finding(o))


def founded_under_known_name(o: Observation) -> bool:
    founding = o.disk.kind is DiskKind.UNCOMMITTED and e.stage(o) is Stage.FOUNDING
    return founding and bool(e.listed_by_strangers(o))


def not_listed(o: Observation) -> bool:
    """A mutual member is heard, and nobody with data lists my name any more."""
    return not e.listed_by(o) and any(a.mutual for a in e.others(o).values())


def cluster_is_committed(o: Observation) -> bool:
    return e.committed_id(o) is not None


def has_member_data(o: Observation) -> bool:
    return o.disk.kind is DiskKind.DATA


def foreign(o: Observation) -> bool:
    outranking = e.majority_cluster_id(o)
    return outranking is not None and outranking != o.disk.cluster_id


def forgotten(o: Observation) -> bool:
    """Mutual members of my cluster do not list me, and nobody of it does."""
    mine = [n for n in e.listed_by(o) if e.same_cluster(o, n)]
    return bool(e.unlisted_by(o)) and not mine


def forgotten_in_fact(o: Observation) -> bool:
    """Forgotten while it was down or paused: the peers' brokers say so themselves."""
    return e.is_mutual(o) is not True and e.forgotten_by_brokers(o)


def somebody_serves(o: Observation) -> bool:
    """I am a member of a majority, or a broker that was asked sees one: nothing has to go on alone."""
    views = [*e.peer_views(o).values(), *([o.view] if o.view is not None else [])]
    return e.is_mutual(o) is True or any(v.sees_majority() and len(v.members) > 1 for v in views)


def not_busy(o: Observation) -> bool:
    return o.busy is None


def broker_up(o: Observation) -> bool:
    return o.broker.phase in (BrokerPhase.STARTING, BrokerPhase.READY)


def broken_configuration(o: Observation) -> bool:
    return bool(o.broker.exits) and o.broker.exits[-1].configuration


def backing_off(o: Observation) -> bool:
    return bool(o.broker.exits) and not e.waited(o, o.broker.exits[-1].at, e.restart_delay_seconds(o))


def unmarked(o: Observation) -> bool:
    return o.disk.kind is DiskKind.UNMARKED


def founding_was_committed(o: Observation) -> bool:
    return o.disk.kind is DiskKind.UNCOMMITTED and e.stage(o) is Stage.FOUNDING and e.is_committed(o)


def unproven_data(o: Observation) -> bool:
    """A founding or a join that was begun here, and of which this disk does not know how it ended."""
    return o.disk.kind is DiskKind.UNCOMMITTED


def read_before_the_end(o: Observation) -> bool:
    """Is the newest reading older than my broker's end? Whoever was paused wakes with one like that."""
    return o.store is not None and o.store.at < o.broker.since


def join_may_have_succeeded(o: Observation) -> bool:
    """A joiner's data that members list, or that was in company in the cluster that is committed or claimed now.

    The founder may have counted on this disk already: its majority must not be emptied again. One that proven members
    do not list, and nobody else, was forgotten before it became a member.
    """
    if e.unlisted_by(o) and not e.listed_by(o):
        return False
    uncommitted = o.disk.kind is DiskKind.UNCOMMITTED and e.stage(o) is Stage.JOINING and not o.strayed
    current = e.is_committed(o) or (o.store is not None and e.target_cluster_id(o) == o.disk.cluster_id)
    return uncommitted and (bool(e.listed_by(o)) or (current and e.was_in_company(o)))


def store_silent(o: Observation) -> bool:
    return o.store is None


def store_refused(o: Observation) -> bool:
    return o.store_refused


def redis_wait_over(o: Observation) -> bool:
    return e.waited(o, max(o.started_at, o.store_since), o.policy.redis_wait_seconds)


def cookie_differs(o: Observation) -> bool:
    target = e.join_target(o)
    return target is not None and None not in (target.cookie, o.cookie) and target.cookie != o.cookie


def version_differs(o: Observation) -> bool:
    target = e.join_target(o)
    theirs, mine = e.series(target.version if target else None), e.series(o.broker.version)
    return theirs is not None and mine is not None and theirs != mine


def target_known(o: Observation) -> bool:
    return e.join_target(o) is not None


def cluster_exists(o: Observation) -> bool:
    return e.committed_id(o) is not None or bool(e.identities(o))


def master_wait_over(o: Observation) -> bool:
    return e.waited(o, max(o.hopeless_since, o.store_since), o.policy.master_wait_seconds)


def only_blanks_remember(o: Observation) -> bool:
    return not e.identities(o) and len(e.blank_announcements(o)) >= o.policy.majority


def claim_is_mine(o: Observation) -> bool:
    return e.claim_is_mine(o)


def claim_used_up(o: Observation) -> bool:
    """Did this disk already boot, or begin to, for the claim that I hold? Joiners may have met that broker."""
    claim, marker = o.store.claim if o.store else None, o.disk.marker
    return marker is not None and claim is not None and marker.cluster_id == claim.cluster_id


def founding_open(o: Observation) -> bool:
    """No record, no claim, nobody with data, a blank majority, and no cluster ever met by this process."""
    free = o.store is not None and o.store.record is None and o.store.claim is None
    return free and o.seen_cluster_id is None and len(e.blank_announcements(o)) >= o.policy.majority


def founding_boot(o: Observation) -> bool:
    return o.broker.purpose is Purpose.FOUND and e.stage(o) is Stage.FOUNDING


def cluster_committed(o: Observation) -> bool:
    return e.is_committed(o) or (e.stage(o) is Stage.JOINING and e.arrived(o))


def not_committed(o: Observation) -> bool:
    return not e.is_committed(o)


def claim_lost(o: Observation) -> bool:
    """My claim is gone, or is another than the one that this broker was booted for."""
    claim = o.store.claim if o.store else None
    return not e.claim_is_mine(o) or (claim is not None and claim.cluster_id != o.disk.cluster_id)


def others_have_identity(o: Observation) -> bool:
    return bool(e.identities(o))


def uncommitted_stage(o: Observation) -> bool:
    return e.stage(o) in (Stage.FOUNDING, Stage.JOINING)


def mutual(o: Observation) -> bool:
    return e.is_mutual(o) is True


def not_offered(o: Observation) -> bool:
    return o.store is not None and o.store.master != o.me


def joining_boot(o: Observation) -> bool:
    return e.stage(o) is Stage.JOINING


def meant_for_another_cluster(o: Observation) -> bool:
    wanted = e.target_cluster_id(o)
    return o.store is not None and wanted is not None and wanted != o.disk.cluster_id and not e.arrived(o)


def meant_for_nothing(o: Observation) -> bool:
    aimless = o.store is not None and e.target_cluster_id(o) is None
    return aimless and not e.listed_by(o) and not e.is_committed(o)


def target_moved(o: Observation) -> bool:
    target = e.join_target(o)
    return o.broker.purpose is Purpose.JOIN and target is not None and target.node != o.broker.target


def stands_alone(o: Observation) -> bool:
    return e.stands_alone(o)


def may_wait_for_ever(o: Observation) -> bool:
    """What my broker waits for may never come: it boots with its data for long, or has stopped its application."""
    stopped = o.broker.was_ready and e.waited(o, o.broker.since, STANDING_SECONDS)
    with_data = o.broker.purpose is Purpose.DATA and e.waited(o, o.broker.since, TABLES_SECONDS)
    lately = o.tables_asked_at is not None and not e.waited(o, o.tables_asked_at, TABLES_AGAIN_SECONDS)
    return (stopped or with_data) and not lately and o.busy is None


def left_standing(o: Observation) -> bool:
    """My broker was up, has stopped its application, and nothing in it would start it again.

    `pause_minority` stops it like that and starts it again when the peers are back; on 3.10.8 that start was seen
    to fail for good (`incompatible_feature_flags`), with the VM alive and silent, and the peers waiting for it.
    """
    return o.broker.was_ready and _found_for(o, STANDING, 0.0)


def left_apart(o: Observation) -> bool:
    """My broker boots with its data, or resumes, and its Mnesia does not get to peers that run.

    Two that merge their schemas while a third one dies may wait for each other for ever (seen once on 3.10.8, where a
    broker was killed as another one had just come back).
    """
    with_data = o.broker.purpose is Purpose.DATA or o.broker.was_ready
    return with_data and _found_for(o, APART, APART_SECONDS) and _peers_run(o)


def _found_for(o: Observation, why_not: str, seconds: float) -> bool:
    """Have the looks into this boot said so for that long?"""
    looked = o.looked
    if looked is None or looked.why_not != why_not or looked.since < o.broker.since:
        return False
    return o.busy is None and e.waited(o, looked.since, seconds)


def _peers_run(o: Observation) -> bool:
    return any(view.sees_majority() for view in e.peer_views(o).values())


def strayed(o: Observation) -> bool:
    return e.strayed(o)


def join_overdue(o: Observation) -> bool:
    return o.broker.purpose is Purpose.JOIN and e.waited(o, o.broker.since, o.policy.master_wait_seconds)


def join_failed_lately(o: Observation) -> bool:
    by_command = o.policy.join is JoinMode.RABBITMQCTL and o.broker.purpose is Purpose.JOIN
    return by_command and o.act_failed_at is not None and not e.waited(o, o.act_failed_at, o.policy.heartbeat_seconds)


def joins_by_command(o: Observation) -> bool:
    return o.policy.join is JoinMode.RABBITMQCTL and o.broker.purpose is Purpose.JOIN and target_known(o)


def busy(o: Observation) -> bool:
    return o.busy is not None


def adoptable(o: Observation) -> bool:
    return o.broker.broker_cluster_id is not None


def unheard(o: Observation) -> bool:
    return e.is_mutual(o) is None
