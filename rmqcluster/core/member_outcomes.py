"""What each member rule asks for: the actions, and the sentence shown."""

from rmqcluster.core import evidence as e
from rmqcluster.core.actions import (
    AbandonClaim,
    ClaimFounding,
    CommitFounding,
    ExitProcess,
    JoinByCommand,
    KillBroker,
    Leave,
    LoadTables,
    OfferFounder,
    RaiseEpoch,
    StartBroker,
    StopBroker,
    TakeOwnership,
    WriteMarker,
)
from rmqcluster.core.engine import Outcome
from rmqcluster.core.member_text import cluster_name, holding, waiting_for_company
from rmqcluster.core.model import Observation, Purpose, Stage
from rmqcluster.core.tables import missed_by
from rmqcluster.core.upkeep import WAITS
from rmqcluster.errors import ExitCode


def leave_and_exit(o: Observation) -> Outcome:
    return Outcome((Leave(final=True), ExitProcess(ExitCode.OK, "stopped on request")), state="stopped")


def leave_and_stop(o: Observation) -> Outcome:
    return Outcome((Leave(final=False), StopBroker("stop requested")), state="stopping")


def kill_overdue(o: Observation) -> Outcome:
    text = f"the broker did not stop within {o.policy.stop_seconds:g} s, it is killed; its disk keeps what it confirmed"
    return Outcome((KillBroker("stop budget spent"),), text, "stopping")


def wait_for_stop(o: Observation) -> Outcome:
    return Outcome(state="stopping")


def farewell(o: Observation) -> tuple[Leave, ...]:
    """A dead broker keeps no label: what still stands in Redis under my name is taken away at once."""
    labelled = o.store is not None and (o.me in o.store.members or o.store.master == o.me)
    return (Leave(final=False),) if labelled else ()


def wait_for_first_word(o: Observation) -> Outcome:
    return Outcome(text="own data: asking Redis first whether anybody objects to this disk", state="starting")


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
    listing = e.listed_by(o)
    what = (
        f"BLANK DISK under a known name: {o.me} is listed by {', '.join(listing) or 'nobody heard now'}, "
        "its data is not on this volume; client ports CLOSED. "
    )
    if not any(a.mutual for a in e.others(o).values()):
        do = "mount the right volume, or start the members that have theirs; none of them serves now"
        return holding(what + "Nothing was done.", do)
    found = e.finding(o)
    if not found or found.startswith(WAITS):
        return Outcome(text=what + (found or f"{WAITS} the monitor to look at its queues"), state="waiting")
    if not listing:
        what = "BLANK DISK under a name that queues still list; client ports CLOSED. "
        return holding(f"{what}Nothing was done: {found}", "what it says; then it joins by itself")
    do = f"mount its good disk again; only if that is gone for good: rmqcluster replace {o.me}"
    return holding(f"{what}Nothing was done: {found}", do)


def hold_foreign(o: Observation) -> Outcome:
    return holding(
        f"FOREIGN VOLUME: it belongs to cluster {cluster_name(o.disk.cluster_id)}, "
        f"the members here are cluster {cluster_name(e.majority_cluster_id(o))}. Nothing was done.",
        f"mount the volume of {o.me} that belongs to this cluster, or give this one to the stack it came from",
    )


def restart_standing(o: Observation) -> Outcome:
    text = "the broker stopped its application, and nothing in it would start that again: it is restarted"
    return Outcome((KillBroker(text),), text, "booting")


def restart_apart(o: Observation) -> Outcome:
    text = "the broker boots without getting to the metadata of its peers, which run: it is started again"
    return Outcome((KillBroker(text),), text, "booting")


def stop_foreign(o: Observation) -> Outcome:
    held = hold_foreign(o)
    return Outcome((StopBroker(held.text),), held.text, held.state, held.held)


def stop_forgotten(o: Observation) -> Outcome:
    held = hold_forgotten(o)
    return Outcome((StopBroker(held.text),), held.text, held.state, held.held)


def hold_forgotten(o: Observation) -> Outcome:
    return holding(
        f"FORGOTTEN: {', '.join(e.unlisted_by(o))} no longer list {o.me}, but its disk has data. "
        "Nothing was reset, client ports stay closed.",
        f"rmqcluster rejoin {o.me} (it joins as a new member; the old directory is kept beside)",
    )


def exit_configuration(o: Observation) -> Outcome:
    reason = o.broker.exits[-1].reason
    return Outcome((ExitProcess(ExitCode.CONFIGURATION, reason),), reason, "failed")


def wait_backoff(o: Observation) -> Outcome:
    last = o.broker.exits[-1]
    left = e.restart_delay_seconds(o) - (o.now - last.at)
    return Outcome(farewell(o), f"broker ended: {last.reason}; boots again in {left:.0f} s", "crashed")


def boot_with_data(o: Observation) -> Outcome:
    return Outcome((*farewell(o), StartBroker(Purpose.DATA, cluster_id=o.disk.cluster_id)), state="booting")


def exit_refused(o: Observation) -> Outcome:
    return Outcome((ExitProcess(ExitCode.CONFIGURATION, o.store_trouble),), o.store_trouble, "failed")


def exit_without_redis(o: Observation) -> Outcome:
    text = (
        f"Redis did not answer for {o.policy.redis_wait_seconds:g} s ({o.store_trouble}) and the disk is blank; "
        "check REDIS_HOST, REDIS_PASS and the Redis service"
    )
    return Outcome((ExitProcess(ExitCode.UNREACHABLE, text),), text, "failed")


def wait_for_redis(o: Observation) -> Outcome:
    return Outcome(text=f"blank disk: waiting for Redis ({o.store_trouble or 'no reply yet'})", state="waiting")


def read_again(o: Observation) -> Outcome:
    return Outcome(text="the broker ended: asking Redis what became of its founding or join", state="waiting")


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


def found_anew(o: Observation) -> Outcome:
    text = "the founding broker ended: this claim is given up, a new founding gets an id of its own"
    return Outcome((AbandonClaim(text),), text, "waiting")


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
    cluster_id = e.committed_id(o) or o.disk.marker.cluster_id
    return Outcome((WriteMarker(cluster_id, Stage.MEMBER, epoch),), state="member")


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


def exit_join_overdue(o: Observation) -> Outcome:
    text = (
        f"the broker did not join {o.broker.target} within {o.policy.master_wait_seconds:g} s"
        f"{'; it says: ' + o.broker.waits_for if o.broker.waits_for else ''}; check names, network and cookie"
    )
    return Outcome((KillBroker(text), ExitProcess(ExitCode.UNREACHABLE, text)), text, "failed")


def wait_after_failure(o: Observation) -> Outcome:
    return Outcome(text="joining by rabbitmqctl failed; it is tried again after a heartbeat", state="joining")


def join_by_command(o: Observation) -> Outcome:
    target = e.join_target(o)
    assert target is not None, "guarded by joins_by_command"
    return Outcome((JoinByCommand(target.node),), f"joining through {target.node} by rabbitmqctl", "joining")


def kill_lonely(o: Observation) -> Outcome:
    text = "the broker booted apart from the cluster that it was to join; its disk holds nothing and is made anew"
    return Outcome((KillBroker(text),), text, "joining")


def wait_for_proof(o: Observation) -> Outcome:
    return Outcome(text="joined: waiting until it and the members list each other", state="joining")


def tell_twin(o: Observation) -> Outcome:
    return Outcome(
        text=f"another instance beats under the name {o.me}: this one writes no heartbeat; stop the other one",
        state="twin",
    )


def load_tables(o: Observation) -> Outcome:
    """Looks, and loads only in a boot: tables that wait in an application that resumes have not waited for a minute."""
    waits = wait_for_boot(o)
    return Outcome((LoadTables({} if o.broker.was_ready else missed_by(o)),), waits.text, waits.state)


def wait_for_boot(o: Observation) -> Outcome:
    said = f"; it says: {o.broker.waits_for}" if o.broker.waits_for else ""
    if o.broker.purpose is Purpose.DATA or e.stage(o) is Stage.MEMBER:
        missing = sorted(set(o.disk.marker.members if o.disk.marker else ()) - {o.me} - set(e.peer_views(o)))
        whom = f"; it needs a majority, not heard: {', '.join(missing)}" if missing else ""
        return Outcome(text=f"the broker boots with its own data{whom}{said}", state="booting")
    state = "joining" if o.broker.target else "founding"
    return Outcome(text=f"the broker boots ({o.broker.purpose}){said}", state=state)


def adopt(o: Observation) -> Outcome:
    theirs = sorted({a.cluster_id for n, a in e.others(o).items() if a.cluster_id and o.view and n in o.view.members})
    cluster_id = theirs[0] if theirs else o.broker.broker_cluster_id
    assert cluster_id is not None, "guarded by adoptable"
    text = f"data without our marker: adopted as cluster {cluster_name(cluster_id)}"
    return Outcome((WriteMarker(cluster_id, Stage.MEMBER, 0),), text, "member")


def tell_unmarked(o: Observation) -> Outcome:
    listed = ", ".join(sorted(o.view.members)) if o.view is not None else "unknown"
    return Outcome(
        text=f"data that rmqcluster did not make: its broker lists {listed}. It is adopted once a majority of "
        f"{o.policy.size} list each other: start the other members, or set RMQCLUSTER_SIZE=1 for a single broker",
        state="unproven",
    )


def ask_around(o: Observation) -> Outcome:
    whom = "my own broker" if o.view is None else ", ".join(sorted(o.view.members - {o.me} - set(e.peer_views(o))))
    return Outcome(text=f"the broker runs; not heard yet whom it and the members list: {whom}", state="unproven")


def unproven(o: Observation) -> Outcome:
    return Outcome(
        text="the broker runs, but it and a majority of the members do not list each other", state="unproven"
    )


def steady(o: Observation) -> Outcome:
    behind = o.store is not None and o.store.epoch > o.disk.epoch_high
    state = "drained" if o.drained else "member"
    return Outcome((RaiseEpoch(o.store.epoch),) if behind and o.store is not None else (), state=state)
