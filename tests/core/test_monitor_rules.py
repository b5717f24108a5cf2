"""Each row of the monitor's table fires where it should; labels move only with evidence and only under the lease."""

import re
import sys
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from rule_builder import (
    ALL,
    DATA,
    ID,
    NOW,
    OTHER_ID,
    A,
    B,
    C,
    broker,
    committed,
    member,
    operation,
    queue,
    report,
    says,
    serving,
)

from rmqcluster.core import actions as act
from rmqcluster.core.engine import check, decide, render
from rmqcluster.core.model import (
    BrokerPhase,
    Decision,
    Disk,
    DiskKind,
    Lease,
    Observation,
    OperationKind,
    Purpose,
    Record,
    View,
)
from rmqcluster.core.monitor_rules import MONITOR_RULES
from rmqcluster.core.queues import QueueFacts, QueueKind

MY_LEASE = Lease(A, "instance of a", 1)
LEASE_OF_B = Lease(B, f"instance of {B}", 1)
WITHOUT_C = View(ALL, frozenset({A, B}))
SEES_NOBODY = View(ALL, frozenset({A}))


def fires(number: int, o: Observation, *actions: type) -> Decision:
    """The decision, when it comes from this row and asks for these kinds of actions."""
    decision = decide(MONITOR_RULES, o)

    assert decision.rule == number, f"rule {decision.rule}: {decision.reason}"
    assert tuple(type(a) for a in decision.actions) == actions
    assert decision.reason
    return decision


def holder(view: View = View(ALL, ALL), announced: tuple[Any, ...] = (), **store: Any) -> Observation:  # noqa: B008
    """The holder of the lease with a steady Redis."""
    known = {"lease": MY_LEASE, "master": A, **store}
    return serving(view=view, store=committed(*announced, **known), lease_since=NOW - 100.0)


def c_silent(**changes: Any) -> Observation:
    """C has no heartbeat; what the brokers say of it is in `view` and in the announcement of b."""
    view = changes.pop("view", WITHOUT_C)
    b = member(B, view=view)
    return holder(view, (b,), **{"heartbeats": {A: 10.0, B: 10.0}, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"view": SEES_NOBODY},
        {"view": View(frozenset({A}), frozenset({A}))},
        {"stop_asked_at": NOW},
    ],
    ids=["minority", "alone", "stopping"],
)
def test_710_gives_the_lease_back(changes: dict[str, Any]) -> None:
    """710: a lease is kept only where my own broker sees a majority, and only by a proven member."""
    fires(710, replace(holder(), **changes), act.ReleaseLease)


def test_710_needs_a_registered_majority() -> None:
    """710: with too few re-registered nobody rules on anything (S12)."""
    fires(710, holder(members=frozenset({A}), heartbeats={A: 10.0}), act.ReleaseLease)


def test_720_is_no_monitor() -> None:
    """720: who cannot act and holds nothing does nothing."""
    fires(720, serving(view=None))


def test_730_leaves_it_to_the_holder() -> None:
    """730: one monitor acts."""
    fires(730, holder(lease=LEASE_OF_B))


def test_740_takes_a_free_lease() -> None:
    """740: the new epoch is above everything that any announced disk knows."""
    o = holder(announced=(member(B, epoch_high=7), member(C)), lease=None)

    assert fires(740, o, act.TakeLease).actions == (act.TakeLease(7),)


def test_745_writes_its_epoch_down_first() -> None:
    """745: an epoch that is used is on the holder's disk."""
    o = holder(lease=replace(MY_LEASE, epoch=4))

    assert fires(745, o, act.RaiseEpoch).actions == (act.RaiseEpoch(4),)


def test_760_pause_stops_acts() -> None:
    """760: a person asked for no automatic act."""
    fires(760, replace(c_silent(), store=replace(c_silent().store, paused="maintenance")))  # type: ignore[type-var]


@pytest.mark.parametrize("record", [None, Record(OTHER_ID, 9, C)])
def test_810_rebuilds_the_record(record: Record | None) -> None:
    """810: the record that my mutual majority carries outranks what Redis holds or lost."""
    decision = fires(810, holder(record=record), act.RestoreRecord)

    assert decision.actions == (act.RestoreRecord(ID, 1, record.cluster_id if record else None),)


def test_820_suspects_the_store() -> None:
    """820: everyone silent at once is a sick Redis, not a dead cluster."""
    o = holder(members=frozenset({A, B, C, "rabbit@d", "rabbit@e"}), heartbeats={A: 10.0})
    four = replace(o, policy=replace(o.policy, size=1))

    fires(820, four)


def test_830_a_recovered_member_lays_the_others_off() -> None:
    """830: who goes on alone on a person's word is not told by the silence of those who were given up."""
    assert DATA.marker is not None
    alone = View(frozenset({A}), frozenset({A}))
    o = holder(alone, (says(B),), heartbeats={A: 9.0}, record=Record(ID, 1, A))
    proven = replace(o, disk=replace(DATA, marker=replace(DATA.marker, members=(A,))))

    assert fires(830, proven, act.RemoveMember, act.RemoveMember).rule == 830
    fires(710, o, act.ReleaseLease)


def test_830_removes_who_is_gone() -> None:
    """830: no heartbeat, and the brokers of a majority miss it: out of the members, by lease and epoch."""
    decision = fires(830, c_silent(), act.RemoveMember)

    assert decision.actions[0].node == C  # type: ignore[attr-defined]
    assert decision.actions[0].epoch == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("steady_since", [None, NOW - 19.0])
def test_830_judges_nobody_before_a_ttl_of_replies(steady_since: float | None) -> None:
    """830: less than a TTL and a heartbeat of timely replies is no evidence (S7)."""
    fires(990, replace(c_silent(), steady_since=steady_since))


def test_840_marks_whose_broker_runs() -> None:
    """840: without a heartbeat but seen by the brokers: reported, never removed."""
    fires(840, c_silent(view=View(ALL, ALL)), act.Report)


def test_840_reports_once() -> None:
    """840: a member that was marked is not marked again."""
    fires(990, replace(c_silent(view=View(ALL, ALL)), marked=frozenset({C})))


@pytest.mark.parametrize("announced", [(member(B),), (member(B), member(C, broker=BrokerPhase.DOWN))])
def test_850_elects_a_proven_member(announced: tuple[Any, ...]) -> None:
    """850: the master left, or its own supervisor says that its broker is down: the first proven member follows."""
    o = holder(announced=announced, master=C, members=ALL if len(announced) == 2 else frozenset({A, B}))

    assert fires(850, o, act.SetMaster).actions[0].node == A  # type: ignore[attr-defined]


def test_850_elects_nobody_whom_it_does_not_see() -> None:
    """850: a candidate's broker has to run as my broker sees it."""
    o = holder(View(ALL, frozenset({B, C})), master=None)

    assert fires(850, o, act.SetMaster).actions[0].node == B  # type: ignore[attr-defined]


def unprovisioned(**changes: Any) -> Observation:
    fresh = broker(BrokerPhase.READY, Purpose.DATA, stamp="")
    o = holder(announced=(member(B, wanted="as configured"), member(C, wanted="as configured")))
    return replace(o, **{"broker": fresh, **changes})


def test_860_provisions_when_all_are_here() -> None:
    """860: accounts and topology go into the committed cluster, by the holder of the lease."""
    assert fires(860, unprovisioned(), act.Provision).actions == (act.Provision(1, ID),)


def test_885_tells_who_is_configured_unlike() -> None:
    """885: members with other accounts would undo each other's provisioning: named, and nothing is written."""
    store = committed(member(B, wanted="else"), member(C, wanted="as configured"), lease=MY_LEASE, master=A)

    assert B in fires(885, unprovisioned(store=store)).reason


def test_850_leaves_a_master_whom_all_peers_miss() -> None:
    """850: a master whom every other member's broker has missed for a beat cannot be joined, heartbeat or not."""
    o = holder(WITHOUT_C, (member(B, view=WITHOUT_C), member(C)), master=C)

    fires(990, replace(o, missed_since={C: NOW - 4.9}))
    assert fires(850, replace(o, missed_since={C: NOW - 5.0}), act.SetMaster).actions[0].node == A  # type: ignore[attr-defined]


def test_850_one_blind_peer_is_no_evidence() -> None:
    """850: a master that another member still sees stays."""
    o = holder(WITHOUT_C, (member(B), member(C)), master=C)

    fires(990, replace(o, missed_since={C: NOW - 60.0}))


def test_850_a_member_in_maintenance_is_no_master() -> None:
    """850: the label leaves a drained member and goes to none."""
    o = holder(announced=(member(B, drained=True), member(C)), master=B)

    assert fires(850, o, act.SetMaster).actions[0].node == A  # type: ignore[attr-defined]
    assert fires(850, replace(o, drained=True), act.SetMaster).actions[0].node == C  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "changes", [{"busy": "provision"}, {"provision_failed_at": NOW - 19.0}, {"wanted_stamp": None}]
)
def test_860_not_twice_at_once(changes: dict[str, Any]) -> None:
    """860: not while it runs, not right after a failure, not when nothing is configured."""
    fires(990, unprovisioned(**changes))


def test_887_waits_for_who_is_on_its_way() -> None:
    """887: queues get all their replicas when the joiners that are visibly coming are waited for."""
    o = unprovisioned(lease_since=NOW - 20.0)
    announced = (member(B, wanted="as configured"), says(C, disk=DiskKind.UNCOMMITTED))
    two = committed(*announced, lease=MY_LEASE, master=A, members=frozenset({A, B}), heartbeats={A: 9.0, B: 9.0})

    fires(887, replace(o, store=two))
    fires(860, replace(o, store=two, lease_since=NOW - 60.0), act.Provision)


# ---- operations ----


def under_way(kind: OperationKind, subject: str = "", **changes: Any) -> Observation:
    """The holder while an operation is recorded."""
    store = {"operation": operation(kind, subject, **changes.pop("record", {})), "operation_left_seconds": 90.0}
    return replace(holder(**store), **changes)


def test_746_moves_the_label_for_a_person() -> None:
    """746: failover: the label goes to whom was asked for, else to another proven member."""
    assert fires(746, under_way(OperationKind.FAILOVER), act.SetMaster).actions[0].node == B  # type: ignore[attr-defined]
    to_c = under_way(OperationKind.FAILOVER, record={"target": C})
    assert fires(746, to_c, act.SetMaster).actions[0].node == C  # type: ignore[attr-defined]


def test_746_ends_what_was_done_already() -> None:
    """746: the label is with whom was asked for, and the word that it was moved got lost."""
    decision = fires(746, under_way(OperationKind.FAILOVER, record={"target": A}), act.EndOperation)

    assert decision.actions[0].outcome == "done"  # type: ignore[attr-defined]


def test_746_refuses_who_is_no_candidate() -> None:
    """746: a label never goes to somebody who is not proven: the record ends as refused."""
    decision = fires(746, under_way(OperationKind.FAILOVER, record={"target": "rabbit@d"}), act.EndOperation)

    assert decision.actions[0].outcome == "refused"  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [OperationKind.FORGET, OperationKind.REPLACE, OperationKind.GROW])
def test_747_the_steward_performs_once(kind: OperationKind) -> None:
    """747: what was recorded for the cluster is carried out by one, and once; a pause does not stop a person."""
    o = under_way(kind, C)

    assert fires(747, o, act.Perform).actions == (act.Perform(operation(kind, C), 1),)
    assert o.store is not None
    fires(747, replace(o, store=replace(o.store, paused="night")), act.Perform)
    assert decide(MONITOR_RULES, replace(o, handled=frozenset({"op-1"}))).rule != 747
    assert decide(MONITOR_RULES, replace(o, busy="look")).rule != 747


def test_747_leaves_alone_what_is_the_subjects() -> None:
    """747: a drain is done by its subject's supervisor."""
    fires(990, under_way(OperationKind.DRAIN, C))


def test_747_goes_on_with_what_it_began_in_a_former_life() -> None:
    """747: who was killed in the middle carries out again what the record says is its own; nobody else does."""
    fires(747, under_way(OperationKind.GROW, record={"executor": A}), act.Perform)
    fires(990, under_way(OperationKind.GROW, record={"executor": B}))
    assert decide(MONITOR_RULES, under_way(OperationKind.REPLACE, C, record={"executor": A, "ready": True})).rule != 747


def test_742_ends_what_a_lost_member_had_begun() -> None:
    """742: no heartbeat, and the brokers miss it: what it did ended with its broker; one whose broker runs goes on."""
    begun = operation(OperationKind.GROW, "", executor=C)

    assert fires(742, c_silent(operation=begun), act.EndOperation).actions[0].outcome == "failed"  # type: ignore[attr-defined]
    assert decide(MONITOR_RULES, c_silent(operation=begun, view=View(ALL, ALL))).rule != 742
    assert decide(MONITOR_RULES, c_silent(operation=replace(begun, executor=B))).rule != 742


def test_705_ends_what_it_will_not_go_on_with() -> None:
    """705: it began it, and was restarted or lost the lease: the record would only keep everything else waiting."""
    begun = {"operation": operation(OperationKind.GROW, "", executor=A)}

    undone = holder(lease=LEASE_OF_B, **begun)
    assert fires(705, undone, act.EndOperation).actions[0].outcome == "failed"  # type: ignore[attr-defined]
    fires(730, replace(undone, handled=frozenset({"op-1"})))
    fires(730, replace(undone, busy="grow"))
    fires(747, holder(**begun), act.Perform)


def test_743_a_join_under_a_listed_name_ends() -> None:
    """743: its broker is down, its disk blank, and queues list it, a member or not: it is replaced instead (S4)."""
    joining = {"operation": operation(OperationKind.JOIN, C)}
    cut_short = c_wiped(said={"cluster_id": ID})
    assert cut_short.store is not None
    o = replace(cut_short, store=replace(cut_short.store, **joining))

    assert fires(743, o, act.EndOperation).actions[0].outcome == "refused"  # type: ignore[attr-defined]
    let_in = replace(cut_short.store, operation=operation(OperationKind.JOIN, C, ready=True))
    assert decide(MONITOR_RULES, replace(o, store=let_in)).rule != 743
    fires(876, cut_short, act.StartOperation)
    assert decide(MONITOR_RULES, replace(o, queues=report(queue(members={A, B}), running={A, B}))).rule != 743


@pytest.mark.parametrize("kind", [OperationKind.JOIN, OperationKind.REJOIN])
def test_749_reads_the_queues_before_anybody_joins(kind: OperationKind) -> None:
    """749: whether a queue lists the name of who joins is read once for each join (S4)."""
    asked = under_way(kind, "rabbit@d")

    fires(749, asked, act.Perform)
    assert decide(MONITOR_RULES, replace(asked, handled=frozenset({"op-1"}))).rule != 749
    assert decide(MONITOR_RULES, under_way(kind, "rabbit@d", record={"ready": True})).rule != 749


def test_748_a_join_ends_when_its_subject_is_caught_up() -> None:
    """748: registered, running and every queue whole: the record ends."""
    o = under_way(OperationKind.JOIN, C, record={"ready": True})

    assert fires(748, o, act.EndOperation).actions[0].outcome == "done"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "changes",
    [
        {"queues": report(queue(caught_up=frozenset({A, B})))},
        {"queues_at": NOW - 101.0},
    ],
    ids=["behind", "not looked since"],
)
def test_755_looks_until_the_join_is_complete(changes: dict[str, Any]) -> None:
    """755: a look right after the last one would say the same; after a while it is taken again."""
    o = replace(under_way(OperationKind.JOIN, C, record={"ready": True}), **{"queues_at": NOW - 60.0, **changes})

    fires(755, o, act.Inspect)


def test_750_grows_the_replicas_of_who_joined() -> None:
    """750: they belong to the operation that is under way, once its subject runs as a member."""
    o = replace(under_way(OperationKind.JOIN, C, record={"ready": True}), queues=report(queue(members={A, B})))

    assert fires(750, o, act.Perform).actions[0].part == 2  # type: ignore[attr-defined]
    assert decide(MONITOR_RULES, replace(o, act_failed_at=NOW - 1.0)).rule != 750
    assert decide(MONITOR_RULES, replace(o, view=WITHOUT_C)).rule != 750


# ---- queues ----


def test_872_looks_after_members_changed() -> None:
    """872: the queues are looked at when the members changed, and then no more once all is whole."""
    fires(872, replace(holder(), members_changed_at=NOW - 0.5), act.Inspect)
    fires(990, holder())


@pytest.mark.parametrize("changes", [{"busy": "look"}, {"act_failed_at": NOW - 9.0}])
def test_872_not_while_busy_nor_after_a_failure(changes: dict[str, Any]) -> None:
    """872: one long act at a time, and a pause after one that failed."""
    fires(990, replace(holder(), members_changed_at=NOW - 0.5, **changes))


def test_872_looks_less_often_the_longer_it_lasts() -> None:
    """872: what stays unfinished costs less and less."""
    behind = report(queue(caught_up=frozenset({A, B})))
    o = replace(holder(), queues=behind, queues_at=NOW - 24.9)

    fires(990, o)
    fires(872, replace(o, queues_at=NOW - 25.0), act.Inspect)


WIPED_C = {"disk": DiskKind.BLANK, "broker": BrokerPhase.DOWN, "cluster_id": None, "mutual": None, "view": None}
HOSTS = ((A, A), (B, B), (C, C))


def c_wiped(**changes: Any) -> Observation:
    """C announces an empty disk on its own host; its broker is down, and all queues are whole without it."""
    said = changes.pop("said", {})
    b = member(B, view=WITHOUT_C)
    c = member(C, **{**WIPED_C, **said})
    o = holder(WITHOUT_C, (b, c), members=frozenset({A, B}), heartbeats={A: 9.0, B: 9.0})
    found = report(queue(online=frozenset({A, B}), caught_up=frozenset({A, B})), running={A, B})
    assert DATA.marker is not None
    disk = replace(DATA, marker=replace(DATA.marker, hosts=HOSTS))
    return replace(o, **{"disk": disk, "queues": found, **changes})


@pytest.mark.parametrize("disk", [{}, {"disk": DiskKind.AMNESIC, "cluster_id": ID}])
def test_876_replaces_a_wiped_member(disk: dict[str, Any]) -> None:
    """876: same host, no sole copy, every queue keeps its majority on caught-up members: it is replaced (S4)."""
    started = fires(876, c_wiped(said=disk), act.StartOperation).actions[0]

    assert isinstance(started, act.StartOperation)
    assert (started.kind, started.subject, started.executor, started.epoch) == (OperationKind.REPLACE, C, "", 1)
    assert not started.consent


OBSTACLES = {
    "another host": {"said": {"host": "elsewhere"}},
    "no host known": {"said": {"host": None}},
    "classic queue": {"queues": report(QueueFacts("/fog", "mail", QueueKind.CLASSIC, True, C), running={A, B})},
    "sole replica": {"queues": report(queue(members={C}, leader=None), running={A, B})},
    "not caught up": {"queues": report(queue(caught_up=frozenset({A})), running={A, B})},
    "no majority left": {"queues": report(queue(online=frozenset({A})), running={A, B})},
    "replicas of others missing": {"queues": report(queue("t", A, {A}), running={A, B})},
    "not looked": {"queues": None},
    "its broker runs": {"said": {"broker": BrokerPhase.STARTING}},
    "a join cut short": {"said": {"cluster_id": ID}, "queues": report(queue(members={A, B}), running={A, B})},
    "a disk with data": {"said": {"disk": DiskKind.DATA}},
    "redis just came": {"steady_since": NOW - 1.0},
    "busy": {"busy": "look"},
    "failed lately": {"act_failed_at": NOW - 1.0},
}


@pytest.mark.parametrize("changes", OBSTACLES.values(), ids=OBSTACLES)
def test_876_is_held_back(changes: dict[str, Any]) -> None:
    """876: each of these alone keeps a wiped member from being forgotten (S4)."""
    decision = decide(MONITOR_RULES, c_wiped(**changes))

    assert not any(isinstance(a, act.StartOperation) and a.kind is OperationKind.REPLACE for a in decision.actions)


def test_876_one_at_a_time() -> None:
    """876: nothing begins while anything else is under way (S5)."""
    o = c_wiped()
    assert o.store is not None
    o = replace(o, store=replace(o.store, operation=operation(OperationKind.STOP, B)))

    assert decide(MONITOR_RULES, o).actions == ()


def test_878_grows_what_is_missing() -> None:
    """878: replicas that running members should have are added, as one operation."""
    o = replace(holder(), queues=report(queue(members={A, B})))

    assert fires(878, o, act.StartOperation).actions[0].kind is OperationKind.GROW  # type: ignore[attr-defined]


def test_878_a_deliberate_single_replica_stays_one() -> None:
    """878: a queue's own target counts, not the default."""
    fires(990, replace(holder(), queues=report(queue(members={A}, declared_target=1))))


def test_878_not_during_an_alarm() -> None:
    """878: an alarm is not a death: nothing is added while it lasts."""
    o = holder(View(ALL, ALL, ("disk rabbit@b",)))

    fires(990, replace(o, queues=report(queue(members={A, B}))))


LEANING = report(queue("one"), queue("two"), queue("three"))


def test_880_spreads_leaders_once_quiet() -> None:
    """880: after the settle time, with everybody caught up, the leaders are spread; once per change."""
    o = replace(holder(), queues=LEANING)

    assert fires(880, o, act.StartOperation).actions[0].kind is OperationKind.REBALANCE  # type: ignore[attr-defined]
    fires(990, replace(o, rebalanced_at=NOW - 99.0))


def test_880_spreads_again_after_a_long_rest() -> None:
    """880: a restart that nobody read of changes no member, but its leaders are elsewhere: a later look finds it."""
    long_ago = {"members_changed_at": NOW - 900.0, "rebalanced_at": NOW - 700.0}

    fires(880, replace(holder(), queues=LEANING, **long_ago), act.StartOperation)


@pytest.mark.parametrize(
    "changes",
    [
        {"members_changed_at": NOW - 9.9},
        {"view": View(ALL, ALL, ("memory rabbit@b",))},
        {"drained": True},
        {"view": WITHOUT_C},
        {"queues": report(*LEANING.queues, queue("four", caught_up=frozenset({A, B})))},
    ],
    ids=["settling", "alarm", "maintenance", "one is missed", "one is behind"],
)
def test_880_waits(changes: dict[str, Any]) -> None:
    """880: not while members settle, an alarm lasts, somebody is in maintenance, missed, or behind (E9)."""
    fires(990, replace(holder(), **{"queues": LEANING, **changes}))


def test_730_a_monitor_without_a_broker_leaves_brokers_to_the_master() -> None:
    """730: while a monitor alone holds the lease, the master does what needs a broker, and moves no label."""
    lone = Lease("monitor@host", "a monitor", 1)
    mine = replace(holder(lease=lone, master=A), queues=report(queue(members={A, B})))
    silent_c = replace(c_silent(lease=lone, master=A), queues=report())

    fires(878, mine, act.StartOperation)
    assert mine.store is not None
    fires(730, replace(mine, store=replace(mine.store, master=B)))
    assert not any(isinstance(a, act.RemoveMember) for a in decide(MONITOR_RULES, silent_c).actions)


def test_990_rests() -> None:
    """990: nothing to do."""
    fires(990, holder())


# ---- the table ----


def test_every_row_has_a_test() -> None:
    """A row without a test is a row nobody asked for."""
    named = {int(n) for name in dir(sys.modules[__name__]) if (n := re.sub(r"^test_(\d+)_.*", r"\1", name)).isdigit()}

    assert named == {rule.number for rule in MONITOR_RULES}


def test_the_table_is_well_formed() -> None:
    """Numbers rise, every row has a reason, the last one holds always, and it can be printed."""
    assert check(MONITOR_RULES) == []
    assert all(str(rule.number) in render("table", MONITOR_RULES) for rule in MONITOR_RULES)


def small_space() -> list[Observation]:
    """Every combination of the conditions that matter, possible or not."""
    views = (None, View(ALL, ALL), WITHOUT_C, SEES_NOBODY, View(frozenset({A}), frozenset({A})))
    beats = ({}, {A: 9.0}, {A: 9.0, B: 9.0}, dict.fromkeys(ALL, 9.0))
    said = ((), (member(B), member(C)), (member(B, view=WITHOUT_C),), (member(B, cluster_id=OTHER_ID),))
    found = []
    for view, beating, announced in product(views, beats, said):
        for lease, record, master in product(
            (None, MY_LEASE, LEASE_OF_B), (None, Record(ID, 1, B), Record(OTHER_ID, 1, B)), (None, A, C)
        ):
            store = committed(*(announced or (says(B),)), lease=lease, record=record, master=master, heartbeats=beating)
            for steady, disk in product((None, NOW - 100.0), (DATA, Disk(True, DATA.marker, 0))):
                found.append(serving(view=view, store=store, steady_since=steady, disk=disk))
    return found


def test_exhaustive_small_space() -> None:
    """Every observation has a decision; nothing is judged without evidence or written without the lease (S7, S12)."""
    for o in small_space():
        decision = decide(MONITOR_RULES, o)
        assert o.store is not None
        assert decision.reason, o
        for action in decision.actions:
            if isinstance(action, act.RemoveMember | act.SetMaster | act.Provision | act.Perform):
                assert o.store.lease == MY_LEASE, o
                assert action.epoch == MY_LEASE.epoch, o
            if isinstance(action, act.RemoveMember):
                assert o.steady_since is not None, o
                assert action.node not in o.store.heartbeats, o
                assert o.view is not None, o
                assert action.node not in o.view.running, o
            if not isinstance(action, act.ReleaseLease):
                assert o.view is not None, o
                assert o.view.sees_majority(), o
