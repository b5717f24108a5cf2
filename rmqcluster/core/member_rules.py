"""What a member does with its own broker and disk. First match wins; `check` keeps the numbers rising.

Sections: 1xx leaving, 2xx identity (before any boot), 3xx booting with data, 4xx blank disks, 5xx a broker
that is up but unproven, 6xx a proven member. Only disks whose marker does not say *member* are ever emptied.
"""

from rmqcluster.core import evidence as e
from rmqcluster.core.actions import (
    AbandonClaim,
    ClaimFounding,
    CommitFounding,
    ExitProcess,
    JoinByCommand,
    KillBroker,
    Leave,
    OfferFounder,
    RaiseEpoch,
    StartBroker,
    StopBroker,
    TakeOwnership,
    WriteMarker,
)
from rmqcluster.core.engine import Outcome, Rule
from rmqcluster.core.member_text import cluster_name, holding, waiting_for_company
from rmqcluster.core.model import BrokerPhase, DiskKind, JoinMode, Observation, Purpose, Stage
from rmqcluster.errors import ExitCode

# ---- conditions -----------------------------------------------------------------------------------------


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


def stop_budget_spent(o: Observation) -> bool:
    return o.stop_asked_at is not None and e.waited(o, o.stop_asked_at, o.policy.stop_seconds - 1.0)


def still_labelled(o: Observation) -> bool:
    return o.store is not None and (o.me in o.store.members or o.store.master == o.me)


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
    return o.disk.kind is DiskKind.BLANK and o.disk.marker is None and bool(e.listed_by(o))


def has_member_data(o: Observation) -> bool:
    return o.disk.kind is DiskKind.DATA


def foreign(o: Observation) -> bool:
    outranking = e.majority_cluster_id(o)
    return outranking is not None and outranking != o.disk.cluster_id


def forgotten(o: Observation) -> bool:
    return bool(e.unlisted_by(o))


def broken_configuration(o: Observation) -> bool:
    return bool(o.broker.exits) and o.broker.exits[-1].configuration


def backing_off(o: Observation) -> bool:
    return bool(o.broker.exits) and not e.waited(o, o.broker.exits[-1].at, e.restart_delay_seconds(o))


def unmarked(o: Observation) -> bool:
    return o.disk.kind is DiskKind.UNMARKED


def founding_was_committed(o: Observation) -> bool:
    return o.disk.kind is DiskKind.UNCOMMITTED and e.stage(o) is Stage.FOUNDING and e.is_committed(o)


def join_may_have_succeeded(o: Observation) -> bool:
    uncommitted = o.disk.kind is DiskKind.UNCOMMITTED and e.stage(o) is Stage.JOINING
    return uncommitted and e.is_committed(o) and bool(e.listed_by(o)) and not o.stood_alone


def store_silent(o: Observation) -> bool:
    return o.store is None


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
    return e.waited(o, max(o.started_at, o.store_since), o.policy.master_wait_seconds)


def only_blanks_remember(o: Observation) -> bool:
    return not e.identities(o) and len(e.blank_announcements(o)) >= o.policy.majority


def claim_is_mine(o: Observation) -> bool:
    return e.claim_is_mine(o)


def founding_open(o: Observation) -> bool:
    """No record, no claim, nobody with data, a blank majority, and no cluster ever met by this process."""
    free = o.store is not None and o.store.record is None and o.store.claim is None
    return free and o.seen_cluster_id is None and len(e.blank_announcements(o)) >= o.policy.majority


def founding_boot(o: Observation) -> bool:
    return o.broker.purpose is Purpose.FOUND and e.stage(o) is Stage.FOUNDING


def cluster_committed(o: Observation) -> bool:
    return e.is_committed(o)


def not_committed(o: Observation) -> bool:
    return not e.is_committed(o)


def claim_lost(o: Observation) -> bool:
    return not e.claim_is_mine(o)


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
    return o.store is not None and wanted is not None and wanted != o.disk.cluster_id


def meant_for_nothing(o: Observation) -> bool:
    return o.store is not None and e.target_cluster_id(o) is None and not e.listed_by(o)


def target_moved(o: Observation) -> bool:
    target = e.join_target(o)
    return o.broker.purpose is Purpose.JOIN and target is not None and target.node != o.broker.target


def stands_alone(o: Observation) -> bool:
    return e.stands_alone(o)


def joins_by_command(o: Observation) -> bool:
    return o.policy.join is JoinMode.RABBITMQCTL and o.broker.purpose is Purpose.JOIN and target_known(o)


def busy(o: Observation) -> bool:
    return o.busy is not None


def adoptable(o: Observation) -> bool:
    return o.broker.broker_cluster_id is not None


def epoch_behind(o: Observation) -> bool:
    return o.store is not None and o.store.epoch > o.disk.epoch_high


# ---- outcomes -------------------------------------------------------------------------------------------


def leave_and_exit(o: Observation) -> Outcome:
    return Outcome((Leave(final=True), ExitProcess(ExitCode.OK, "stopped on request")), state="stopped")


def leave_and_stop(o: Observation) -> Outcome:
    return Outcome((Leave(final=False), StopBroker("stop requested")), state="stopping")


def kill_overdue(o: Observation) -> Outcome:
    text = f"the broker did not stop within {o.policy.stop_seconds:g} s, it is killed; its disk keeps what it confirmed"
    return Outcome((KillBroker("stop budget spent"),), text, "stopping")


def wait_for_stop(o: Observation) -> Outcome:
    return Outcome(state="stopping")


def give_up_labels(o: Observation) -> Outcome:
    return Outcome((Leave(final=False),), state="down")


def take_name(o: Observation) -> Outcome:
    owner = o.store.owner if o.store else None
    return Outcome((TakeOwnership(owner.instance if owner else None),), state="starting")


def refuse_twin(o: Observation) -> Outcome:
    text = f"another live instance uses the name {o.me}; stop it, or give this one its own host name"
    return Outcome((ExitProcess(ExitCode.IDENTITY, text),), text, "refused")


def watch_owner(o: Observation) -> Outcome:
    return Outcome(
        text=f"{o.me} was used by another instance; watching for two heartbeats whether it lives", state="waiting"
    )


def hold_lost_disk(o: Observation) -> Outcome:
    return holding(
        f"BLANK DISK under a known name: {o.me} is listed by {', '.join(e.listed_by(o)) or 'nobody heard now'}, "
        "its data is not on this volume. Nothing was done, client ports stay closed.",
        "check that the right volume is mounted; if the disk is gone for good, forget "
        f"{o.me} on a running member (rabbitmqctl forget_cluster_node {o.me}) and empty this volume",
    )


def hold_foreign(o: Observation) -> Outcome:
    return holding(
        f"FOREIGN VOLUME: it belongs to cluster {cluster_name(o.disk.cluster_id)}, "
        f"the members here are cluster {cluster_name(e.majority_cluster_id(o))}. Nothing was done.",
        f"mount the volume of {o.me} that belongs to this cluster, or give this one to the stack it came from",
    )


def hold_forgotten(o: Observation) -> Outcome:
    return holding(
        f"FORGOTTEN: {', '.join(e.unlisted_by(o))} no longer list {o.me}, but its disk has data. "
        "Nothing was reset, client ports stay closed.",
        "copy the data directory if it is still needed, then empty the volume and start again to join anew",
    )


def exit_configuration(o: Observation) -> Outcome:
    reason = o.broker.exits[-1].reason
    return Outcome((ExitProcess(ExitCode.CONFIGURATION, reason),), reason, "failed")


def wait_backoff(o: Observation) -> Outcome:
    last = o.broker.exits[-1]
    left = e.restart_delay_seconds(o) - (o.now - last.at)
    return Outcome(text=f"broker ended: {last.reason}; boots again in {left:.0f} s", state="crashed")


def boot_with_data(o: Observation) -> Outcome:
    return Outcome((StartBroker(Purpose.DATA, cluster_id=o.disk.cluster_id),), state="booting")


def exit_without_redis(o: Observation) -> Outcome:
    text = (
        f"Redis did not answer for {o.policy.redis_wait_seconds:g} s ({o.store_trouble}) and the disk is blank; "
        "check REDIS_HOST, REDIS_PASS and the Redis service"
    )
    return Outcome((ExitProcess(ExitCode.UNREACHABLE, text),), text, "failed")


def wait_for_redis(o: Observation) -> Outcome:
    return Outcome(text=f"blank disk: waiting for Redis ({o.store_trouble or 'no reply yet'})", state="waiting")


def wait_cookie(o: Observation) -> Outcome:
    target = e.join_target(o)
    name = target.node if target else "the master"
    return holding(
        f"Erlang cookie differs from that of {name}.",
        "set the same RABBITMQ_ERLANG_COOKIE (or _FILE) on all members",
    )


def wait_version(o: Observation) -> Outcome:
    target = e.join_target(o)
    theirs = target.version if target else "?"
    return holding(
        f"RabbitMQ {o.broker.version} here cannot join RabbitMQ {theirs}.",
        "use the image of the running members, or upgrade the cluster first",
    )


def join(o: Observation) -> Outcome:
    target = e.join_target(o)
    assert target is not None, "guarded by target_known"
    boot = StartBroker(Purpose.JOIN, e.target_cluster_id(o), target.node, o.store.epoch if o.store else 0, fresh=True)
    return Outcome((boot,), f"joining {cluster_name(boot.cluster_id)} through {target.node}", "joining")


def hold_all_blank(o: Observation) -> Outcome:
    record = o.store.record if o.store else None
    return holding(
        f"Redis remembers cluster {cluster_name(record.cluster_id if record else None)}, "
        "but every disk that announced itself is blank.",
        "start a member that has its disk; if all disks are gone for good: rmqcluster clear --identity",
    )


def exit_without_master(o: Observation) -> Outcome:
    text = (
        f"no proven master for {o.policy.master_wait_seconds:g} s and the disk is blank: {waiting_for_company(o)}; "
        "see `rmqcluster status` on a running member"
    )
    return Outcome((ExitProcess(ExitCode.UNREACHABLE, text),), text, "failed")


def wait_for_master(o: Observation) -> Outcome:
    name = cluster_name(e.committed_id(o))
    return Outcome(text=f"cluster {name} exists: waiting for a proven master to join", state="waiting")


def found(o: Observation) -> Outcome:
    claim = o.store.claim if o.store else None
    assert claim is not None, "guarded by claim_is_mine with a reading"
    boot = StartBroker(Purpose.FOUND, claim.cluster_id, None, claim.epoch, fresh=True)
    return Outcome((boot,), f"founding cluster {cluster_name(claim.cluster_id)}", "founding")


def claim(o: Observation) -> Outcome:
    return Outcome((ClaimFounding(),), state="waiting")


def wait_for_company(o: Observation) -> Outcome:
    return Outcome(text=waiting_for_company(o), state="waiting")


def give_up_founding(o: Observation) -> Outcome:
    text = f"somebody has data ({', '.join(e.identities(o))}): this founding is abandoned"
    return Outcome((AbandonClaim(text), KillBroker(text)), text, "waiting")


def kill_unclaimed(o: Observation) -> Outcome:
    return Outcome((KillBroker("the founding claim was lost"),), state="waiting")


def promote(o: Observation) -> Outcome:
    assert o.disk.marker is not None, "guarded by uncommitted_stage"
    epoch = o.store.record.epoch if o.store and o.store.record else o.disk.marker.epoch
    return Outcome((WriteMarker(o.disk.marker.cluster_id, Stage.MEMBER, epoch),), state="member")


def offer(o: Observation) -> Outcome:
    return Outcome((OfferFounder(o.me),), state="founding")


def commit(o: Observation) -> Outcome:
    assert o.disk.marker is not None, "guarded by founding_boot"
    return Outcome((CommitFounding(o.disk.marker.cluster_id),), state="founding")


def wait_for_members(o: Observation) -> Outcome:
    return Outcome(text=f"founder is up: waiting for {o.policy.majority} mutual members", state="founding")


def kill_misled(o: Observation) -> Outcome:
    return Outcome((KillBroker("the cluster it was to join is not the one that exists"),), state="waiting")


def kill_and_retarget(o: Observation) -> Outcome:
    target = e.join_target(o)
    assert target is not None, "guarded by target_moved"
    text = f"the join target moved from {o.broker.target} to {target.node}"
    return Outcome((KillBroker(text),), text, "joining")


def join_by_command(o: Observation) -> Outcome:
    target = e.join_target(o)
    assert target is not None, "guarded by joins_by_command"
    return Outcome((JoinByCommand(target.node),), f"joining through {target.node} by rabbitmqctl", "joining")


def kill_lonely(o: Observation) -> Outcome:
    text = "the broker booted alone instead of joining; its disk holds nothing and is made anew"
    return Outcome((KillBroker(text),), text, "joining")


def wait_for_proof(o: Observation) -> Outcome:
    return Outcome(text="joined: waiting until it and the members list each other", state="joining")


def wait_for_boot(o: Observation) -> Outcome:
    if o.broker.purpose is Purpose.DATA:
        missing = sorted(set(o.disk.marker.members if o.disk.marker else ()) - {o.me} - set(e.peer_views(o)))
        whom = f"; it needs a majority, not heard: {', '.join(missing)}" if missing else ""
        return Outcome(text=f"the broker boots with its own data{whom}", state="booting")
    return Outcome(text=f"the broker boots ({o.broker.purpose})", state="joining" if o.broker.target else "founding")


def adopt(o: Observation) -> Outcome:
    theirs = sorted({a.cluster_id for n, a in e.others(o).items() if a.cluster_id and o.view and n in o.view.members})
    cluster_id = theirs[0] if theirs else o.broker.broker_cluster_id
    assert cluster_id is not None, "guarded by adoptable"
    text = f"data without our marker: adopted as cluster {cluster_name(cluster_id)}"
    return Outcome((WriteMarker(cluster_id, Stage.MEMBER, 0),), text, "member")


def remember_epoch(o: Observation) -> Outcome:
    return Outcome((RaiseEpoch(o.store.epoch if o.store else 0),), state="member")


def unproven(o: Observation) -> Outcome:
    return Outcome(
        text="the broker runs, but it and a majority of the members do not list each other", state="unproven"
    )


def steady(o: Observation) -> Outcome:
    return Outcome(state="member")


MEMBER_RULES: tuple[Rule, ...] = (
    Rule(110, (stop_asked, broker_down), leave_and_exit, "a stop was asked and the broker has ended"),
    Rule(120, (stop_asked, stop_not_signalled), leave_and_stop, "leave politely, then stop the broker in order"),
    Rule(130, (stop_asked, stop_budget_spent), kill_overdue, "every wait has an end"),
    Rule(140, (stop_asked,), wait_for_stop, "the broker is stopping in order"),
    Rule(150, (broker_stopping,), wait_for_stop, "the old broker has to end before anything new starts"),
    Rule(210, (broker_down, name_taken, owner_proven_dead), take_name, "the last owner of this name is dead"),
    Rule(220, (broker_down, name_taken, owner_beats), refuse_twin, "one name, one live instance"),
    Rule(230, (broker_down, name_taken), watch_owner, "a restart within the TTL is not a twin"),
    Rule(240, (broker_down, data_lost), hold_lost_disk, "a member whose data is gone is a stranger with its name"),
    Rule(250, (broker_down, blank_under_known_name), hold_lost_disk, "the cluster still lists the old self"),
    Rule(260, (broker_down, has_member_data, foreign), hold_foreign, "two clusters must never meet"),
    Rule(270, (broker_down, has_member_data, forgotten), hold_forgotten, "a reset needs a person"),
    Rule(310, (broker_down, still_labelled, was_a_member), give_up_labels, "a dead broker keeps no label"),
    Rule(320, (broker_down, broken_configuration), exit_configuration, "it fails the same way until a file changes"),
    Rule(
        330,
        (broker_down, backing_off),
        wait_backoff,
        "a broker that dies at once is not restarted in a tight loop",
    ),
    Rule(340, (broker_down, has_member_data), boot_with_data, "RabbitMQ rejoins by itself; Redis is not needed"),
    Rule(350, (broker_down, unmarked), boot_with_data, "data that is not ours to judge: boot, then ask the peers"),
    Rule(360, (broker_down, founding_was_committed), boot_with_data, "the founding was committed before the crash"),
    Rule(
        370,
        (broker_down, join_may_have_succeeded),
        boot_with_data,
        "the members list this node: it may have joined",
    ),
    Rule(410, (broker_down, store_silent, redis_wait_over), exit_without_redis, "a blank node never acts blind"),
    Rule(420, (broker_down, store_silent), wait_for_redis, "a blank node never acts blind"),
    Rule(430, (broker_down, target_known, cookie_differs), wait_cookie, "brokers with different cookies never meet"),
    Rule(440, (broker_down, target_known, version_differs), wait_version, "major versions do not mix"),
    Rule(450, (broker_down, target_known), join, "a blank node joins the proven master"),
    Rule(
        460,
        (broker_down, cluster_exists, only_blanks_remember),
        hold_all_blank,
        "founding anew would make a second cluster under one prefix",
    ),
    Rule(470, (broker_down, cluster_exists, master_wait_over), exit_without_master, "every wait has an end"),
    Rule(480, (broker_down, cluster_exists), wait_for_master, "one prefix, one cluster"),
    Rule(485, (broker_down, claim_is_mine), found, "the claim is mine: the intent goes to disk first"),
    Rule(490, (broker_down, founding_open), claim, "a blank majority announced itself and nobody has data"),
    Rule(492, (broker_down, master_wait_over), exit_without_master, "every wait has an end"),
    Rule(495, (broker_down,), wait_for_company, "a founding needs blank announcements from a majority"),
    Rule(510, (founding_boot, not_committed, others_have_identity), give_up_founding, "data outranks a founding"),
    Rule(520, (founding_boot, not_committed, claim_lost), kill_unclaimed, "a founder without a claim must not run"),
    Rule(
        530,
        (uncommitted_stage, cluster_committed, mutual),
        promote,
        "the cluster is committed and this member proven",
    ),
    Rule(540, (founding_boot, broker_ready, not_committed, not_offered), offer, "the others need a name to join"),
    Rule(550, (founding_boot, broker_ready, not_committed, mutual), commit, "a majority of the size is mutual"),
    Rule(560, (founding_boot, broker_ready), wait_for_members, "a founding is committed by a majority"),
    Rule(570, (joining_boot, meant_for_another_cluster), kill_misled, "one prefix, one cluster"),
    Rule(575, (joining_boot, meant_for_nothing), kill_misled, "the founding that it was to join is gone"),
    Rule(580, (joining_boot, broker_starting, target_moved), kill_and_retarget, "a dead target is never waited for"),
    Rule(585, (joining_boot, stands_alone, busy), wait_for_proof, "one long act at a time"),
    Rule(587, (joining_boot, stands_alone, joins_by_command), join_by_command, "RMQCLUSTER_JOIN asks for it"),
    Rule(590, (joining_boot, stands_alone), kill_lonely, "a node that strayed alone confirmed nothing to anybody"),
    Rule(595, (joining_boot, broker_ready), wait_for_proof, "membership is proven by both sides"),
    Rule(610, (broker_starting,), wait_for_boot, "the broker says when it is ready"),
    Rule(620, (unmarked, broker_ready, mutual, adoptable), adopt, "a cluster made by hand is taken over as it is"),
    Rule(630, (broker_ready, mutual, epoch_behind), remember_epoch, "epochs only rise"),
    Rule(640, (broker_ready, mutual), steady, "mutual member"),
    Rule(690, (), unproven, "local health proves nothing"),
)
