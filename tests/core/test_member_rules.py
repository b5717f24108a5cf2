"""Each row of the member's table fires where it should, and the table as a whole never founds or destroys blindly."""

import re
import sys
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from rule_builder import (
    ALL,
    AMNESIC,
    BLANK,
    DATA,
    FOUNDING,
    HALF_JOINED,
    ID,
    JOINING,
    NOW,
    OTHER_ID,
    UNMARKED,
    A,
    B,
    C,
    broker,
    committed,
    member,
    observe,
    operation,
    says,
    serving,
    stored,
)

from rmqcluster.core import actions as act
from rmqcluster.core import evidence as e
from rmqcluster.core.engine import check, decide, render
from rmqcluster.core.member_rules import MEMBER_RULES
from rmqcluster.core.model import (
    BrokerPhase,
    Claim,
    Decision,
    Disk,
    DiskKind,
    Exit,
    JoinMode,
    Lease,
    Looked,
    Marker,
    Observation,
    OperationKind,
    Owner,
    Policy,
    Purpose,
    Record,
    Stage,
    View,
)
from rmqcluster.core.operations import recovered_id
from rmqcluster.core.tables import APART, STANDING

DOWN, STARTING, READY, STOPPING = BrokerPhase.DOWN, BrokerPhase.STARTING, BrokerPhase.READY, BrokerPhase.STOPPING
MY_CLAIM = Claim(ID, A, "instance of a", 1)
CLAIM_OF_B = Claim(ID, B, f"instance of {B}", 1)
LEASE_OF_B = Lease(B, f"instance of {B}", 1)
KNOWS_ALL = replace(DATA, marker=Marker(ID, Stage.MEMBER, 1, members=(A, B, C)))
ALONE = View(frozenset({A}), frozenset({A}))
TOGETHER = View(ALL, ALL)


def fires(number: int, o: Observation, *actions: type) -> Decision:
    """The decision, when it comes from this row and asks for these kinds of actions."""
    decision = decide(MEMBER_RULES, o)

    assert decision.rule == number, f"rule {decision.rule}: {decision.reason}"
    assert tuple(type(a) for a in decision.actions) == actions
    assert decision.reason
    return decision


def founder(phase: BrokerPhase, **changes: Any) -> Observation:
    """The founder while its broker boots or runs, its claim standing."""
    known: dict[str, Any] = {"store": stored(says(B), claim=MY_CLAIM, master=A)}
    known["view"] = ALONE if phase is READY else None
    return observe(FOUNDING, broker=broker(phase, Purpose.FOUND, cluster_id=ID), **{**known, **changes})


def founder_of_ours(**changes: Any) -> Any:
    return says(B, disk=DiskKind.UNCOMMITTED, broker=READY, cluster_id=ID, **changes)


def joiner(phase: BrokerPhase, **changes: Any) -> Observation:
    """A joiner while its broker boots or runs against b."""
    state = broker(phase, Purpose.JOIN, target=B, cluster_id=ID)
    return observe(**{"disk": JOINING, "broker": state, "store": committed(), **changes})


# ---- 1xx leaving ----


def test_110_exits_when_the_broker_has_ended() -> None:
    """110: a stop was asked and the broker has ended: leave for good and exit 0."""
    decision = fires(110, observe(DATA, stop_asked_at=NOW), act.Leave, act.ExitProcess)

    assert decision.actions == (act.Leave(final=True), act.ExitProcess(0, "stopped on request"))


def stopping(kind: OperationKind | None = None, subject: str = A, **changes: Any) -> Observation:
    """A serving member that is asked to stop, while this operation is recorded."""
    under_way = operation(kind, subject) if kind is not None else None
    return serving(**{"stop_asked_at": NOW, "store": committed(operation=under_way), **changes})


def test_112_asks_for_its_turn() -> None:
    """112: a stop is an operation of its own subject: at most one member is down by choice (S6)."""
    started = fires(112, stopping(), act.StartOperation).actions[0]

    assert isinstance(started, act.StartOperation)
    assert (started.kind, started.subject, started.executor, started.seconds) == (OperationKind.STOP, A, A, 20.0)


def test_114_moves_its_leaders_away_first() -> None:
    """114: with the record in hand, and again a second after a queue still needed it."""
    o = stopping(OperationKind.STOP)

    fires(114, o, act.Perform)
    fires(116, replace(o, act_failed_at=NOW - 0.9))
    fires(114, replace(o, act_failed_at=NOW - 1.0), act.Perform)


def test_116_waits_for_what_is_under_way() -> None:
    """116: somebody else's operation, or its own under way; the sentence says which."""
    assert "replace" in fires(116, stopping(OperationKind.REPLACE, C)).reason
    assert "leaders" in fires(116, stopping(OperationKind.STOP, busy="stop")).reason


WITHOUT_WAIT = {
    "the window is over": {"stop_asked_at": NOW - 1.5},
    "prepared": {"stop_prepared": True},
    "nobody else runs": {"view": View(ALL, frozenset({A}))},
    "no redis": {"store": None},
    "the whole cluster stops": {"store": committed(member(B, state="stopping"), member(C, broker=STOPPING))},
}


@pytest.mark.parametrize("changes", WITHOUT_WAIT.values(), ids=WITHOUT_WAIT)
def test_120_leaves_before_it_stops(changes: dict[str, Any]) -> None:
    """120: labels first, then SIGTERM; the waits before are bounded, and skipped where they help nobody (S6)."""
    fires(120, stopping(**changes), act.Leave, act.StopBroker)


def test_130_kills_when_the_budget_is_spent() -> None:
    """130: a forced stop is never blocked."""
    o = serving(stop_asked_at=NOW - 7.5, stop_signalled=True)

    fires(130, o, act.KillBroker)
    fires(140, replace(o, stop_killed=True))


def test_140_waits_for_the_ordered_end() -> None:
    """140: within the budget the broker may end by itself."""
    fires(140, serving(stop_asked_at=NOW - 6.0, stop_signalled=True))


def recovering(phase: BrokerPhase, *done: str, consent: bool = True, **changes: Any) -> Observation:
    """A member whose majority is lost and that a person asked to go on alone; these steps are done."""
    store = stored(operation=operation(OperationKind.RECOVER, consent=consent))
    return observe(DATA, broker=broker(phase, Purpose.DATA), store=store, handled=frozenset(done), **changes)


@pytest.mark.parametrize(
    "changes",
    [{"peer_views": {B: View(frozenset({B, C}), frozenset({B, C}))}}, {"view": TOGETHER}],
    ids=["a peer", "its own broker"],
)
def test_141_refuses_beside_a_majority(changes: dict[str, Any]) -> None:
    """141: a broker that sees a majority is proof that nothing has to go on alone, whatever was asked (S1)."""
    fires(141, recovering(READY, **changes), act.EndOperation)


def test_142_boots_again_to_go_on_alone() -> None:
    """142: a broker that waits for its majority, or lost it while it ran, is booted again; only with consent."""
    fires(142, recovering(STARTING), act.KillBroker)
    fires(142, recovering(READY), act.KillBroker)
    fires(610, recovering(STARTING, consent=False))


def test_143_prepares_the_boot() -> None:
    """143: while the broker is down."""
    assert fires(143, recovering(DOWN), act.Perform).actions[0].part == 1  # type: ignore[attr-defined]
    fires(340, recovering(DOWN, "op-1"), act.StartBroker)


def test_144_one_long_act_at_a_time() -> None:
    """144: nothing boots while the step runs."""
    fires(144, recovering(DOWN, busy="recover"))


def test_146_releases_the_waiting_broker() -> None:
    """146: once, and again a second after it failed: the broker may not be far enough yet."""
    assert fires(146, recovering(STARTING, "op-1"), act.Perform).actions[0].part == 2  # type: ignore[attr-defined]
    fires(610, recovering(STARTING, "op-1", act_failed_at=NOW - 0.5))


def test_148_settles_once_it_serves() -> None:
    """148: the others are forgotten when the broker is up."""
    done = fires(148, recovering(READY, "op-1", "op-1/2", view=View(ALL, frozenset({A}))), act.Perform)

    assert done.actions[0].part == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(("phase", "done"), [(STARTING, ["op-1"]), (READY, ["op-1", "op-1/2"])])
@pytest.mark.parametrize(
    "changes",
    [{"peer_views": {B: View(frozenset({B, C}), frozenset({B, C}))}}, {"view": TOGETHER}],
    ids=["a peer", "its own broker"],
)
def test_145_stops_when_the_others_come_back(phase: BrokerPhase, done: list[str], changes: dict[str, Any]) -> None:
    """145: between two steps the others may return: nothing is forced beside a majority that serves (S1, S8)."""
    fires(145, recovering(phase, *done, **changes), act.EndOperation)


def test_105_goes_on_alone_once() -> None:
    """105: a request that came back with an old copy of Redis was carried out: the cluster has the id that it gave."""
    asked = operation(OperationKind.RECOVER, consent=True)
    recovered = replace(DATA, marker=Marker(recovered_id(asked), Stage.MEMBER, 1, members=(A,)))

    fires(105, observe(recovered, store=stored(operation=asked), broker=broker(READY)), act.EndOperation)


def test_640_is_proven_by_a_persons_word() -> None:
    """640: a recovered member that lists only itself is a member, and so are those who join it, one after another."""
    small = replace(DATA, marker=Marker(OTHER_ID, Stage.MEMBER, 1, members=(A,)))
    two = {"view": View(frozenset({A, B}), frozenset({A, B})), "policy": Policy(size=5)}
    b = member(B, {A, B}, cluster_id=OTHER_ID)

    fires(640, serving(disk=small, view=ALONE, store=stored(epoch=1)))
    fires(640, serving(disk=small, store=stored(b), **two))
    fires(640, serving(disk=replace(DATA, marker=Marker(OTHER_ID, Stage.MEMBER, 1)), store=stored(b), **two))
    assert decide(MEMBER_RULES, serving(disk=small, store=stored(), **two)).rule != 640


def test_690_is_not_proven_by_listing_only_itself() -> None:
    """690: a wiped broker whose disk remembers others is a member of nothing (T2)."""
    wiped = replace(DATA, marker=Marker(OTHER_ID, Stage.MEMBER, 1, members=(A, B, C)))

    fires(690, serving(disk=wiped, view=ALONE, store=stored(epoch=1)))


def test_150_waits_for_an_old_broker() -> None:
    """150: nothing starts while the old broker ends."""
    fires(150, observe(DATA, broker=broker(STOPPING)))


# ---- 2xx identity ----


def owned(disk: Any = BLANK, **changes: Any) -> Observation:
    return observe(disk, store=stored(owner=Owner("another", 5)), owner_moved_at=NOW - 3.0, **changes)


@pytest.mark.parametrize("proof", [{"predecessor": "another"}, {"owner_moved_at": NOW - 10.0}])
def test_210_takes_the_name_of_a_dead_owner(proof: dict[str, Any]) -> None:
    """210: the lock of the volume, or two silent heartbeats, prove that the last owner is dead."""
    decision = fires(210, replace(owned(), **proof), act.TakeOwnership)

    assert decision.actions == (act.TakeOwnership("another"),)


def test_220_refuses_to_be_a_twin() -> None:
    """220: an owner that beats twice while watched is alive: exit 76."""
    decision = fires(220, owned(owner_moves=2), act.ExitProcess)

    assert decision.actions[0].code == 76  # type: ignore[attr-defined]


def test_230_watches_before_it_judges() -> None:
    """230: a restart within the TTL is not a twin."""
    fires(230, owned(owner_moves=1))


def replaced(disk: Any, **changes: Any) -> Observation:
    """A member whose disk is gone while its replacement is under way; nobody lists it any more unless told so."""
    without_me = {"listed": frozenset({B, C}), "view": View(frozenset({B, C}), frozenset({B, C}))}
    under_way = operation(OperationKind.REPLACE, ready=changes.pop("ready", True))
    known = {"master": B, "members": frozenset({B, C}), "operation": under_way}
    store = committed(member(B, **without_me), member(C, **without_me), **known)
    return observe(disk, store=store, **changes)


def test_233_joins_when_its_old_self_is_forgotten() -> None:
    """233: nobody lists it, and the replacement is its own: it joins as a new member (S4)."""
    fires(233, replaced(AMNESIC), act.StartBroker)
    fires(450, replaced(BLANK), act.StartBroker)


def test_237_joins_when_it_was_forgotten_before() -> None:
    """237: a member without its data whom nobody lists any more asks for its turn to join: there is nothing to lose."""
    o = replaced(AMNESIC)
    assert o.store is not None
    o = replace(o, store=replace(o.store, operation=None))

    fires(237, o, act.StartOperation)
    fires(233, replace(o, store=replace(o.store, operation=operation(OperationKind.JOIN, ready=True))), act.StartBroker)


@pytest.mark.parametrize("disk", [AMNESIC, BLANK])
def test_235_waits_until_the_steward_says_so(disk: Any) -> None:
    """235: nobody lists it, but its replicas may not be taken off yet: it waits for the record to say ready."""
    fires(235, replaced(disk, ready=False))


def test_235_waits_when_it_was_forgotten_before() -> None:
    """235: also who joins by a turn of its own boots only when the monitor has read that nothing lists it."""
    o = replaced(AMNESIC)
    assert o.store is not None

    fires(235, replace(o, store=replace(o.store, operation=operation(OperationKind.JOIN))))


@pytest.mark.parametrize("disk", [AMNESIC, BLANK])
def test_235_waits_until_it_is_forgotten(disk: Any) -> None:
    """235: before it boots its old self is forgotten: one word of somebody who still lists it keeps it down."""
    store = committed(operation=operation(OperationKind.REPLACE))

    fires(235, observe(disk, store=store))


def test_240_holds_a_member_without_its_data() -> None:
    """240: the marker says member and the data is gone: held, with or without Redis."""
    assert fires(240, observe(AMNESIC)).held
    assert fires(240, observe(AMNESIC, store=None)).held


def test_240_says_what_the_monitor_found() -> None:
    """240: for a person only what needs one: what passes by itself is waited for."""
    for_a_person = committed(member(B, findings=(f"{A} its disk was last on h",)), member(C), lease=LEASE_OF_B)
    by_itself = committed(member(B, findings=(f"{A} waits for replicas",)), member(C), lease=LEASE_OF_B)

    assert "replace rabbit@a" in (fires(240, observe(AMNESIC, store=for_a_person)).held or "")
    assert fires(240, observe(AMNESIC, store=by_itself)).held is None


@pytest.mark.parametrize("disk", [BLANK, replace(HALF_JOINED, marker=Marker(OTHER_ID, Stage.JOINING, 1))])
def test_250_holds_a_blank_disk_under_a_listed_name(disk: Any) -> None:
    """250: members list the name and this disk never met their cluster: nothing boots."""
    fires(250, observe(disk, store=committed()))


def test_250_leaves_a_killed_join_alone() -> None:
    """250: a join into that very cluster which was killed half way left only a name, no data: it joins again."""
    fires(
        450, observe(HALF_JOINED, store=committed(operation=operation(OperationKind.JOIN, ready=True))), act.StartBroker
    )


def test_255_holds_a_founding_under_a_listed_name() -> None:
    """255: a wiped member that founded something meanwhile is still a wiped member: nothing boots."""
    disk = replace(FOUNDING, marker=Marker(OTHER_ID, Stage.FOUNDING, 1))

    fires(255, observe(disk, store=committed()))


def test_260_holds_a_foreign_volume() -> None:
    """260: a mutual member, or a majority of the disks, says another id: two clusters must never meet."""
    mine = replace(DATA, marker=Marker(OTHER_ID, Stage.MEMBER, 1))

    assert fires(260, observe(mine, store=committed())).held


def test_260_believes_disks_not_redis() -> None:
    """260: another id in Redis alone keeps no data from starting (S3)."""
    fires(340, observe(DATA, store=stored(record=Record(OTHER_ID, 9, B))), act.StartBroker)


def test_268_puts_its_data_aside_for_a_person() -> None:
    """268: rejoin: a forgotten member keeps a copy of its directory and is blank then, once."""
    without_me = {B, C}
    members = member(B, without_me), member(C, without_me)
    o = observe(DATA, store=committed(*members, operation=operation(OperationKind.REJOIN, ready=True)))

    fires(268, o, act.SetAside)
    fires(270, observe(DATA, store=committed(*members, operation=operation(OperationKind.REJOIN))))
    fires(270, replace(o, handled=frozenset({"op-1"})))


def test_270_holds_who_was_forgotten() -> None:
    """270: mutual members of my own cluster no longer list me: held, nothing is reset."""
    without_me = {B, C}

    assert fires(270, observe(DATA, store=committed(member(B, without_me), member(C, without_me)))).held


# ---- 3xx booting with data ----


def test_310_asks_redis_for_objections_first() -> None:
    """310: for the time of one reply a node with data waits for who could object; an error, or no reply, is enough."""
    o = observe(DATA, store=None, started_at=NOW - 1.0)

    fires(310, o)
    fires(340, replace(o, store_trouble="connection refused"), act.StartBroker)
    fires(340, replace(o, started_at=NOW - 3.0), act.StartBroker)


def test_320_ends_for_a_broken_configuration() -> None:
    """320: what fails the same way every time needs a person: exit 78 with the broker's own reason."""
    ended = broker(DOWN, exits=(Exit(1, "unknown key", configuration=True, at=NOW),))

    assert fires(320, observe(DATA, broker=ended), act.ExitProcess).reason == "unknown key"


def test_330_backs_off() -> None:
    """330: after the second unexpected end the broker waits before it boots."""
    twice = (Exit(1, "first", at=NOW - 5.0), Exit(1, "second", at=NOW - 0.5))

    fires(330, observe(DATA, broker=broker(DOWN, exits=twice)))
    fires(340, observe(DATA, broker=broker(DOWN, exits=twice[:1])), act.StartBroker)


@pytest.mark.parametrize("store", [None, stored()])
def test_340_boots_with_data(store: Any) -> None:
    """340: data just starts, Redis or not (S3)."""
    decision = fires(340, observe(DATA, store=store), act.StartBroker)

    assert decision.actions == (act.StartBroker(Purpose.DATA, ID),)


def test_340_a_dead_broker_keeps_no_label() -> None:
    """340: the labels go at once when the supervisor sees its broker die (L3)."""
    fires(340, observe(DATA, store=committed()), act.Leave, act.StartBroker)


def test_350_boots_unmarked_data() -> None:
    """350: data without our marker is started as it is."""
    fires(350, observe(UNMARKED), act.StartBroker)


@pytest.mark.parametrize("disk", [JOINING, FOUNDING], ids=["a join", "a founding"])
def test_355_asks_again_before_it_gives_up_what_it_began(disk: Disk) -> None:
    """355: who was paused, its broker killed meanwhile, wakes with a reading in which nobody counts on its disk yet."""
    ended = replace(broker(DOWN), since=NOW - 0.2)
    asked = committed(operation=operation(OperationKind.JOIN, ready=True), at=NOW - 4.0)

    fires(355, observe(disk, broker=ended, store=asked))
    assert decide(MEMBER_RULES, observe(disk, broker=ended, store=replace(asked, at=NOW - 0.1))).rule != 355


def test_360_boots_a_founding_that_was_committed() -> None:
    """360: the record names my founding: its disk is no longer disposable."""
    fires(360, observe(FOUNDING, store=stored(record=Record(ID, 1, A))), act.StartBroker)


def test_360_remembers_a_record_that_was_read() -> None:
    """360: Redis emptied after I read the record of my founding does not make it uncommitted."""
    fires(360, observe(FOUNDING, seen_cluster_id=ID), act.StartBroker)


@pytest.mark.parametrize(
    "store",
    [
        committed(),
        stored(founder_of_ours(listed=ALL), record=Record(ID, 1, B)),
        stored(founder_of_ours(listed=ALL), claim=CLAIM_OF_B),
    ],
    ids=["members list me", "committed, the founder lists me", "claimed, the founder lists me"],
)
def test_370_boots_a_join_that_may_have_succeeded(store: Any) -> None:
    """370: a disk that its cluster may count on is not emptied again."""
    decision = fires(370, observe(JOINING, store=replace(store, members=frozenset())), act.StartBroker)

    assert decision.actions == (act.StartBroker(Purpose.DATA, ID),)


def test_370_not_for_one_that_was_forgotten() -> None:
    """370: a joiner that a person took out again while it was down joins anew: its broker would be refused for ever."""
    known = replace(JOINING, marker=replace(JOINING.marker, members=(A, B, C)))  # type: ignore[type-var]
    rest = {"members": frozenset({B, C}), "operation": operation(OperationKind.JOIN, ready=True)}
    unproven = member(B, {B, C}, mutual=None), member(C, {B, C}, mutual=None)

    fires(450, observe(known, store=committed(member(B, {B, C}), member(C, {B, C}), **rest)), act.StartBroker)
    fires(370, observe(known, store=committed(*unproven, **rest)), act.StartBroker)


def test_370_not_for_one_that_strayed() -> None:
    """370: who was seen standing alone joins anew."""
    fires(
        450,
        observe(JOINING, store=committed(operation=operation(OperationKind.JOIN, ready=True)), strayed=True),
        act.StartBroker,
    )


# ---- 4xx blank disks ----


def test_405_ends_when_redis_refuses() -> None:
    """405: a wrong password does not become right by waiting."""
    fires(405, observe(store=None, store_refused=True), act.ExitProcess)


def test_410_ends_when_redis_never_came() -> None:
    """410: a blank node that saw no Redis for the whole wait exits 69."""
    decision = fires(410, observe(store=None, started_at=NOW - 121.0, store_since=NOW - 121.0), act.ExitProcess)

    assert decision.actions[0].code == 69  # type: ignore[attr-defined]


@pytest.mark.parametrize("disk", [BLANK, FOUNDING, JOINING, HALF_JOINED])
def test_420_waits_for_redis(disk: Any) -> None:
    """420: without Redis a disk without proven data does nothing."""
    fires(420, observe(disk, store=None))


def joinable(
    kind: OperationKind | None = OperationKind.JOIN, subject: str = A, ready: bool = True, **changes: Any
) -> Any:
    """A committed cluster of the two others, while this operation is recorded."""
    under_way = operation(kind, subject, ready=ready) if kind is not None else None
    members = member(B, {B, C}, **changes), member(C, {B, C})
    return committed(*members, members=frozenset({B, C}), operation=under_way)


def test_445_asks_for_its_turn_to_join() -> None:
    """445: a join of a committed cluster is an operation (S5)."""
    started = fires(445, observe(store=joinable(None)), act.StartOperation).actions[0]

    assert isinstance(started, act.StartOperation)
    assert (started.kind, started.subject, started.executor) == (OperationKind.JOIN, A, A)


def test_447_waits_for_its_turn() -> None:
    """447: while another operation is under way nobody begins to join; the sentence names it."""
    assert "replace rabbit@c" in fires(447, observe(store=joinable(OperationKind.REPLACE, C))).reason


@pytest.mark.parametrize("kind", [OperationKind.JOIN, OperationKind.REJOIN])
def test_447_waits_until_nothing_lists_its_name(kind: OperationKind) -> None:
    """447: its own join is recorded, but the monitor has not read yet that no queue lists it (S4)."""
    assert "looks whether any queue" in fires(447, observe(store=joinable(kind, ready=False))).reason
    fires(450, observe(store=joinable(kind, ready=True)), act.StartBroker)


def test_250_waits_while_a_queue_lists_its_name() -> None:
    """250: no member lists it, but the monitor found replicas of its old self: it asks for no join (S4)."""
    found = joinable(None, findings=(f"{A} waits for other replicas",))

    fires(250, observe(store=found))


def test_430_names_a_differing_cookie() -> None:
    """430: brokers with different cookies never meet: held, the value is not shown."""
    assert fires(430, observe(store=joinable(cookie="another"))).held


def test_440_names_a_differing_version() -> None:
    """440: major versions do not mix: held."""
    assert fires(440, observe(store=joinable(version="4.1.0"))).held


def test_450_joins_the_proven_master() -> None:
    """450: a blank node joins through the master, with the committed id on its disk first."""
    decision = fires(450, observe(store=joinable()), act.StartBroker)

    assert decision.actions == (act.StartBroker(Purpose.JOIN, ID, B, 1, fresh=True),)


def test_450_joins_a_founder_that_is_up() -> None:
    """450: before the commit the claim's holder is the target."""
    store = stored(founder_of_ours(), claim=CLAIM_OF_B)

    assert fires(450, observe(store=store), act.StartBroker).actions[0].target == B  # type: ignore[attr-defined]


def test_460_holds_when_all_disks_are_blank() -> None:
    """460: Redis remembers a cluster and a blank majority is all there is: a person decides."""
    assert fires(460, observe(store=stored(says(B), record=Record(ID, 1, B)))).held


def test_470_ends_without_a_master() -> None:
    """470: a cluster exists, nobody to join for the whole wait: exit 69."""
    late = {"started_at": NOW - 181.0, "store_since": NOW - 181.0}

    fires(470, observe(store=stored(record=Record(ID, 1, B)), **late), act.ExitProcess)


@pytest.mark.parametrize("store", [stored(record=Record(ID, 1, B)), stored(member(B, {B, C}, mutual=None))])
def test_480_waits_for_a_master(store: Any) -> None:
    """480: a record, or somebody with data, forbids a founding."""
    fires(480, observe(store=store))


def test_483_gives_a_used_claim_back() -> None:
    """483: a second broker under the same founding id would be taken for the first: the claim is given up."""
    fires(483, observe(FOUNDING, store=stored(says(B), claim=MY_CLAIM)), act.AbandonClaim)


def test_485_founds_with_the_claim() -> None:
    """485: the holder of the claim boots an empty disk, with the claim's id and epoch."""
    decision = fires(485, observe(store=stored(says(B), claim=MY_CLAIM)), act.StartBroker)

    assert decision.actions == (act.StartBroker(Purpose.FOUND, ID, None, 1, fresh=True),)


def test_490_claims_with_a_blank_majority() -> None:
    """490: two of three blank and nothing else known: claim."""
    fires(490, observe(store=stored(says(B))), act.ClaimFounding)


@pytest.mark.parametrize(
    "o",
    [
        observe(),
        observe(store=stored(says(B, held="foreign"))),
        observe(store=stored(says(B)), seen_cluster_id=OTHER_ID),
        observe(store=stored(says(B), claim=replace(CLAIM_OF_B, instance="gone"))),
        observe(store=stored(says(B, disk=DiskKind.UNCOMMITTED, listed=frozenset({B, C}), epoch_high=5))),
        observe(
            replace(JOINING, marker=replace(JOINING.marker, members=(A, B)), epoch_high=5),  # type: ignore[type-var]
            store=stored(founder_of_ours()),
        ),
    ],
    ids=[
        "alone",
        "the other is held",
        "a cluster was seen",
        "another claims",
        "an unfinished join remembers more",
        "the founder that I joined still runs",
    ],
)
def test_495_waits_for_company(o: Observation) -> None:
    """495: no founding without a blank majority, nor beside anything that may be a cluster."""
    fires(495, o)


def test_492_ends_without_company() -> None:
    """492: a founding that never gets its majority ends with the names of those it misses."""
    late = {"started_at": NOW - 181.0, "store_since": NOW - 181.0}

    assert "1 of 3 announced" in fires(492, observe(**late), act.ExitProcess).reason


def test_495_counts_an_unfinished_join_once_redis_remembers() -> None:
    """495: while Redis knows the epoch of that founding, its missing record proves that it was not committed."""
    unfinished = says(B, disk=DiskKind.UNCOMMITTED, listed=frozenset({B, C}), epoch_high=5)

    fires(490, observe(store=stored(unfinished, epoch=5)), act.ClaimFounding)


# ---- 5xx up but unproven ----


def test_510_gives_up_for_data() -> None:
    """510: somebody with data appeared while the founder boots: claim and broker are given up."""
    store = stored(says(B, disk=DiskKind.DATA), claim=MY_CLAIM)

    fires(510, founder(STARTING, store=store), act.AbandonClaim, act.KillBroker)


def test_520_kills_without_a_claim() -> None:
    """520: a founder whose claim is another's, or can no longer be trusted, does not run."""
    fires(520, founder(READY, store=stored(says(B), claim=CLAIM_OF_B)), act.KillBroker)
    fires(520, founder(READY, store=None, claim_safe_until=NOW - 1.0), act.KillBroker)


def test_520_trusts_a_renewed_claim_for_its_time() -> None:
    """520: while Redis is silent a claim counts as long as it is safe."""
    fires(560, founder(READY, store=None, claim_safe_until=NOW + 1.0))


@pytest.mark.parametrize("o", [founder(READY, store=committed(), view=TOGETHER), joiner(READY, view=TOGETHER)])
def test_530_becomes_a_member_when_committed_and_proven(o: Observation) -> None:
    """530: the record and both sides' lists make a member."""
    decision = fires(530, o, act.WriteMarker)

    assert decision.actions == (act.WriteMarker(ID, Stage.MEMBER, 1),)


def test_530_takes_the_id_of_where_it_arrived() -> None:
    """530: a joiner that landed in the committed cluster under another intention is a member of that cluster."""
    disk = replace(JOINING, marker=Marker(OTHER_ID, Stage.JOINING, 1))
    decision = fires(530, joiner(READY, disk=disk, view=TOGETHER), act.WriteMarker)

    assert decision.actions[0].cluster_id == ID  # type: ignore[attr-defined]


def test_540_offers_itself() -> None:
    """540: joiners need a name: the founder that is up offers its own."""
    fires(540, founder(READY, store=stored(says(B), claim=MY_CLAIM)), act.OfferFounder)


def test_550_commits_with_a_mutual_majority() -> None:
    """550: two of three list each other: commit."""
    pair = View(frozenset({A, B}), frozenset({A, B}))
    joined = says(B, disk=DiskKind.UNCOMMITTED, broker=READY, cluster_id=ID, view=pair)
    store = stored(joined, claim=MY_CLAIM, master=A)

    fires(550, founder(READY, view=pair, store=store), act.CommitFounding)


def test_560_waits_for_a_majority() -> None:
    """560: a founder alone commits nothing."""
    fires(560, founder(READY))


def test_570_kills_who_was_misled() -> None:
    """570: the cluster that exists is another one, and its members do not list this joiner."""
    disk = replace(JOINING, marker=Marker(OTHER_ID, Stage.JOINING, 1))

    fires(570, joiner(STARTING, disk=disk, store=joinable()), act.KillBroker)


def test_575_kills_who_joins_nothing() -> None:
    """575: claim gone, no record, no list: there is nothing to join."""
    fires(575, joiner(STARTING, store=stored(says(B))), act.KillBroker)


def test_575_spares_a_member_of_a_seen_cluster() -> None:
    """575: a cluster whose record was read once is not nothing because Redis was emptied."""
    fires(610, joiner(STARTING, store=stored(says(B)), seen_cluster_id=ID))


def test_580_turns_to_the_new_target() -> None:
    """580: the master moved while the joiner boots: it boots again against the new one."""
    fires(580, joiner(STARTING, store=committed(master=C)), act.KillBroker)


def test_583_ends_a_join_that_takes_too_long() -> None:
    """583: a joiner whose broker never gets in ends with its broker's words."""
    state = broker(STARTING, Purpose.JOIN, target=B, cluster_id=ID, since=NOW - 181.0, waits_for="discovery")

    assert "discovery" in fires(583, joiner(STARTING, broker=state), act.KillBroker, act.ExitProcess).reason


def test_585_one_long_act_at_a_time() -> None:
    """585: while the join command runs nothing is judged."""
    fires(585, joiner(READY, view=ALONE, busy="join"))


def test_586_waits_after_a_failed_command() -> None:
    """586: a join by command that failed is tried again after a heartbeat, not at once."""
    mode = Policy(join=JoinMode.RABBITMQCTL)

    fires(586, joiner(READY, view=ALONE, policy=mode, act_failed_at=NOW - 4.0))
    fires(587, joiner(READY, view=ALONE, policy=mode, act_failed_at=NOW - 5.0), act.JoinByCommand)


def test_587_joins_by_command() -> None:
    """587: RMQCLUSTER_JOIN=rabbitmqctl joins the broker that is up."""
    fires(587, joiner(READY, view=ALONE, policy=Policy(join=JoinMode.RABBITMQCTL)), act.JoinByCommand)


def test_590_kills_who_strayed() -> None:
    """590: a joiner that booted alone confirmed nothing to anybody and is made anew."""
    fires(590, joiner(READY, view=ALONE), act.KillBroker)


def test_590_kills_whom_its_target_never_listed() -> None:
    """590: the target's word is younger than the boot and does not name this joiner: it is made anew."""
    unaware = committed(member(B, {B, C}), member(C, {B, C}))

    fires(590, joiner(READY, view=TOGETHER, store=unaware), act.KillBroker)


def test_590_not_while_a_join_by_command_is_under_way() -> None:
    """590: while rabbitmqctl joins, the target does not list the joiner yet and the broker is not heard: it is left."""
    long_ago = replace(broker(READY, Purpose.JOIN), since=NOW - 60.0)
    elsewhere = committed(member(B, (B, C)), member(C, (B, C)), members=frozenset({B, C}))
    fires(595, observe(JOINING, broker=long_ago, store=elsewhere, view=None, busy="join"))
    apart = View(frozenset({A, "rabbit@x"}), frozenset({A}))
    fires(590, observe(JOINING, broker=long_ago, store=elsewhere, view=apart), act.KillBroker)


def test_595_waits_for_both_sides() -> None:
    """595: listing the others is not enough, and what they said before the boot says nothing yet."""
    unaware = committed(member(B, {B, C}), member(C, {B, C}))
    fresh = broker(READY, Purpose.JOIN, target=B, cluster_id=ID, since=NOW - 5.0)

    fires(595, joiner(READY, broker=fresh, view=TOGETHER, store=unaware))


# ---- 6xx members ----


def test_602_takes_the_name_while_running() -> None:
    """602: a member that started without Redis takes its name from its dead predecessor."""
    store = committed(owner=Owner("another", 5))

    fires(602, serving(store=store, owner_moved_at=NOW - 10.0), act.TakeOwnership)


def test_604_tells_of_a_twin() -> None:
    """604: a live instance beats under this name elsewhere: said, and the broker stays."""
    fires(604, serving(store=committed(owner=Owner("another", 5)), owner_moved_at=NOW))


def strange(**changes: Any) -> Observation:
    """Data of another cluster than the one whose members are here."""
    return observe(replace(DATA, marker=Marker(OTHER_ID, Stage.MEMBER, 1)), store=committed(), **changes)


def unlisted(**changes: Any) -> Observation:
    """Data of this cluster, whose members no longer list this node."""
    return observe(DATA, store=committed(member(B, {B, C}), member(C, {B, C})), **changes)


def test_605_starts_again_what_does_not_resume() -> None:
    """605: a broker that stopped its application, with nothing in it to start that, is restarted, heard or not."""
    standing = replace(broker(STARTING, Purpose.DATA), was_ready=True, since=NOW - 30.0)
    seen = {"looked": Looked(STANDING, NOW - 10.0), "tables_asked_at": NOW - 10.0}
    fires(605, observe(DATA, broker=standing, **seen, store=None), act.KillBroker)
    fires(605, observe(DATA, broker=replace(standing, purpose=Purpose.JOIN), **seen), act.KillBroker)
    fires(610, observe(DATA, broker=standing, **seen, busy="join"))
    for other in (None, Looked(APART, NOW - 10.0), Looked(STANDING, NOW - 40.0)):
        fires(610, observe(DATA, broker=standing, **{**seen, "looked": other}))
    fires(610, observe(DATA, broker=replace(standing, was_ready=False), **seen))


def test_606_stops_a_stranger_that_boots() -> None:
    """606: the members' brokers say that the disk belongs elsewhere: the boot ends, the disk stays."""
    assert fires(606, strange(broker=broker(STARTING, Purpose.DATA)), act.StopBroker).held


def test_607_starts_again_what_never_gets_to_its_peers() -> None:
    """607: a boot whose Mnesia stays connected to nobody while its peers run is begun anew."""
    booting = replace(broker(STARTING, Purpose.DATA), since=NOW - 130.0)
    asked = {"broker": booting, "tables_asked_at": NOW - 10.0}

    fires(607, observe(DATA, **asked, looked=Looked(APART, NOW - 61.0), store=committed()), act.KillBroker)
    for other in (Looked(APART, NOW - 59.0), None, Looked(APART, NOW - 140.0), Looked(STANDING, NOW - 61.0)):
        fires(610, observe(DATA, **asked, looked=other, store=committed()))
    fires(610, observe(DATA, **asked, looked=Looked(APART, NOW - 61.0), busy="load tables", store=committed()))
    resumes = replace(booting, was_ready=True, purpose=Purpose.JOIN)
    seen = {**asked, "broker": resumes, "looked": Looked(APART, NOW - 61.0)}
    fires(607, observe(DATA, **seen, store=committed()), act.KillBroker)
    nobody_runs = stored(member(B, ALL, view=View(ALL, frozenset({B}))))
    fires(610, observe(DATA, **asked, looked=Looked(APART, NOW - 61.0), store=nobody_runs))


def test_608_stops_a_forgotten_one_that_boots() -> None:
    """608: a forgotten disk would wait for members that do not wait for it."""
    assert fires(608, unlisted(broker=broker(STARTING, Purpose.DATA)), act.StopBroker).held


def test_609_looks_whether_the_metadata_waits_for_ever() -> None:
    """609: a boot with data that takes a minute: is it a majority that waits for who never returns (B5)?"""
    booting = replace(broker(STARTING, Purpose.DATA), since=NOW - 61.0)

    fires(609, observe(DATA, broker=booting, store=None), act.LoadTables)
    fires(609, observe(DATA, broker=booting, tables_asked_at=NOW - 21.0), act.LoadTables)
    for waits in ({"tables_asked_at": NOW - 19.0}, {"busy": "load tables"}):
        fires(610, observe(DATA, broker=booting, **waits))
    fires(610, observe(DATA, broker=replace(booting, since=NOW - 59.0)))


def test_609_looks_whether_a_stopped_application_resumes() -> None:
    """609: whatever it was booted for, a broker that was ready and is not any more is looked into, and again."""
    stopped = replace(broker(STARTING, Purpose.JOIN), was_ready=True, since=NOW - 16.0)

    looked = fires(609, observe(DATA, broker=stopped), act.LoadTables)
    assert looked.actions == (act.LoadTables({}),), "what has not waited for a minute was to be loaded"
    fires(609, observe(DATA, broker=replace(stopped, since=NOW - 60.0), tables_asked_at=NOW - 21.0), act.LoadTables)
    fires(610, observe(DATA, broker=stopped, tables_asked_at=NOW - 19.0))
    fires(610, observe(DATA, broker=stopped, busy="join"))
    fires(610, observe(DATA, broker=replace(stopped, since=NOW - 14.0)))


def test_610_waits_for_the_boot() -> None:
    """610: a member's broker that boots is waited for, and the missing are named."""
    disk = replace(DATA, marker=replace(DATA.marker, members=(A, B, C)))  # type: ignore[type-var]
    decision = fires(610, observe(disk, broker=broker(STARTING, Purpose.DATA)))

    assert B in decision.reason


def test_620_adopts_a_cluster_made_by_hand() -> None:
    """620: data without our marker that is mutual gets one; nothing is reset."""
    up = broker(READY, Purpose.DATA, broker_cluster_id="rabbitmq's own id")
    o = observe(UNMARKED, broker=up, view=TOGETHER, store=committed())

    assert fires(620, o, act.WriteMarker).actions[0].cluster_id == ID  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [OperationKind.DRAIN, OperationKind.REVIVE])
def test_630_does_what_it_was_asked(kind: OperationKind) -> None:
    """630: maintenance is carried out by its subject, once."""
    o = serving(store=committed(operation=operation(kind)))

    fires(630, o, act.Perform)
    fires(640, replace(o, handled=frozenset({"op-1"})))


def test_640_is_a_member() -> None:
    """640: mutual, nothing to do."""
    fires(640, serving())


FORGOTTEN = {
    "view": TOGETHER,
    "store": committed(member(B, {B, C}), member(C, {B, C})),
    "peer_views": {B: View(frozenset({B, C}), frozenset({B, C})), C: View(frozenset({B, C}), frozenset({B, C}))},
}


def test_643_stops_who_was_forgotten_while_paused() -> None:
    """643: the peers' brokers, asked directly, do not list it: no client may come in (facts M4)."""
    fires(643, serving(**FORGOTTEN), act.StopBroker)
    fires(643, serving(**{**FORGOTTEN, "store": None}, disk=KNOWS_ALL), act.StopBroker)


@pytest.mark.parametrize(
    "views",
    [
        {},
        {B: View(frozenset({B}), frozenset({B})), C: TOGETHER},
        {B: View(frozenset({B, C}), frozenset({B}))},
    ],
    ids=["nobody was asked", "one still lists it", "the other sees no majority"],
)
def test_643_never_on_the_word_of_redis(views: dict[str, View]) -> None:
    """643: Redis may be stale or restored: it never stops a broker with data (S3)."""
    decision = decide(MEMBER_RULES, serving(**{**FORGOTTEN, "peer_views": views}))

    assert not any(isinstance(a, act.StopBroker | act.KillBroker) for a in decision.actions)


def test_641_stops_a_stranger_whom_the_peers_do_not_know() -> None:
    """641: another cluster's members, asked directly, do not list it."""
    theirs = {"cluster_id": OTHER_ID}
    store = committed(member(B, {B, C}, **theirs), member(C, {B, C}, **theirs))

    fires(641, serving(**{**FORGOTTEN, "store": store}, disk=KNOWS_ALL), act.StopBroker)


def test_642_tells_of_a_running_stranger() -> None:
    """642: a broker of another cluster that runs is held with words and not touched."""
    assert fires(642, strange(broker=broker(READY, Purpose.DATA), view=TOGETHER)).held


def test_644_tells_of_a_running_forgotten_one() -> None:
    """644: a running broker that the members no longer list is held with words and not touched."""
    assert fires(644, unlisted(broker=broker(READY, Purpose.DATA), view=TOGETHER)).held


def test_646_tells_what_unmarked_data_misses() -> None:
    """646: data made by hand is adopted only when proven, and says what that takes."""
    assert "RMQCLUSTER_SIZE" in fires(646, observe(UNMARKED, broker=broker(READY, Purpose.DATA), view=ALONE)).reason


def test_650_unknown_is_not_false() -> None:
    """650: a broker that has not been heard is neither proven nor disproven."""
    fires(650, serving(view=None))


def test_690_local_health_proves_nothing() -> None:
    """690: the broker runs and the members do not list it: unproven, and not touched."""
    fires(690, serving(view=TOGETHER, store=committed(member(B, {B, C}, mutual=None), member(C, {B, C}, mutual=None))))


# ---- the table ----


def test_every_row_has_a_test() -> None:
    """A row without a test is a row nobody asked for."""
    named = {int(n) for name in dir(sys.modules[__name__]) if (n := re.sub(r"^test_(\d+)_.*", r"\1", name)).isdigit()}

    assert named == {rule.number for rule in MEMBER_RULES}


def test_the_table_is_well_formed() -> None:
    """Numbers rise, every row has a reason, the last one holds always, and it can be printed."""
    assert check(MEMBER_RULES) == []
    assert all(str(rule.number) in render("table", MEMBER_RULES) for rule in MEMBER_RULES)


DISKS = (BLANK, DATA, AMNESIC, UNMARKED, FOUNDING, JOINING, HALF_JOINED)
STORES = (
    None,
    stored(),
    stored(says(B)),
    stored(says(B), says(C)),
    stored(says(B), claim=MY_CLAIM),
    stored(founder_of_ours(), claim=CLAIM_OF_B, master=B),
    stored(says(B), record=Record(ID, 1, B)),
    stored(says(B), record=Record(OTHER_ID, 1, B)),
    stored(says(B), says(C, disk=DiskKind.AMNESIC, cluster_id=ID)),
    stored(member(B, mutual=None), says(C)),
    stored(says(B), owner=Owner("another", 3)),
    committed(),
    committed(member(B, {B, C}), member(C, {B, C})),
    committed(member(B, cluster_id=OTHER_ID), member(C, cluster_id=OTHER_ID)),
)
VIEWS = (None, ALONE, TOGETHER)


def small_space() -> list[Observation]:
    """Every combination of the conditions that matter, possible or not."""
    found = []
    for disk, phase, purpose, store in product(DISKS, BrokerPhase, (None, *Purpose), STORES):
        target = B if purpose is Purpose.JOIN else None
        for view, stop in product(VIEWS if phase is READY else (None,), (None, NOW - 1.0)):
            state = broker(phase, purpose, target=target, broker_cluster_id="rabbitmq's own id")
            found.append(observe(disk, broker=state, store=store, view=view, stop_asked_at=stop))
    return found


def test_exhaustive_small_space() -> None:
    """Every observation has a decision; none founds, empties, kills or acts blindly where it must not (S1-S3, S10)."""
    sacred = (DiskKind.DATA, DiskKind.UNMARKED, DiskKind.AMNESIC)
    for o in small_space():
        decision = decide(MEMBER_RULES, o)
        kinds = {type(a) for a in decision.actions}
        starts = [a for a in decision.actions if isinstance(a, act.StartBroker)]

        assert decision.reason, o
        assert all("DO: " in held for held in [decision.held] if held is not None), o
        if act.ClaimFounding in kinds:
            assert o.store is not None, o
            assert o.store.record is None, o
            assert not e.identities(o), o
            assert len(e.blank_announcements(o)) >= o.policy.majority, o
        for start in starts:
            assert o.broker.phase is DOWN, o
            assert not (start.fresh and o.disk.kind in sacred), o
            assert start.fresh or o.disk.has_data, o
            assert start.target != o.me, o
        if o.store is None:
            assert all(s.purpose is Purpose.DATA for s in starts), o
            assert not kinds & {act.ClaimFounding, act.CommitFounding, act.WriteMarker, act.JoinByCommand}, o
        if o.disk.kind in sacred and o.stop_asked_at is None:
            assert act.KillBroker not in kinds, o
            if act.StopBroker in kinds:
                assert o.broker.phase is STARTING, o
                assert e.majority_cluster_id(o) != o.disk.cluster_id or e.unlisted_by(o), o
