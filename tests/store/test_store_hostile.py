"""What a stranger wrote under the prefix: it is left out, told, and never an exception; unclear is never harmless."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace

import pytest
from store_bench import Member, RedisBench, announcement, fake_bench

from rmqcluster.agent.ports import Event
from rmqcluster.core.actions import (
    ClaimFounding,
    CommitFounding,
    EndOperation,
    Leave,
    RestoreRecord,
    SetMaster,
    StartOperation,
    TakeLease,
    TakeOwnership,
)
from rmqcluster.core.model import Claim, DiskKind, Lease, Operation, OperationKind, Owner, Record, View
from rmqcluster.store import codec
from rmqcluster.store.keys import KEYS, Keys
from rmqcluster.store.text import is_node_name, printable

GOOD = announcement("rabbit@a", "i", listed=frozenset({"rabbit@a"}), view=View(frozenset({"rabbit@a"}), frozenset()))
LATER_FIELDS = ("drained", "notes", "findings", "whole")
GARBAGE = [
    "",
    "\0\xff",
    "null",
    "[]",
    "{}",
    '{"v":0}',
    '{"v":true}',
    "NaN",
    "{" * 20000,
    "[" * 20000,
    "9" * 10000,
    "x" * 70000,
    json.dumps({"v": 1, "node": "x" * 70000}),
]
WRONG = [
    ("node", "rabbit@a\nrabbit@b"),
    ("node", "-rf@a"),
    ("node", 1),
    ("instance", ""),
    ("instance", None),
    ("instance", "a\x1b[31m"),
    ("disk", "empty"),
    ("disk", ["blank"]),
    ("broker", None),
    ("cluster_id", 5),
    ("mutual", 1),
    ("view", []),
    ("view", {"members": ["rabbit@a"]}),
    ("view", {"members": "rabbit@a", "running": [], "alarms": []}),
    ("listed", ["rabbit@a", 3]),
    ("listed", ["a b@c"]),
    ("listed", [f"rabbit@n{i}" for i in range(300)]),
    ("epoch_high", -1),
    ("epoch_high", 1.5),
    ("epoch_high", True),
    ("epoch_high", 10**13),
    ("epoch_high", "7"),
    ("beat_sequence", None),
    ("management", "host:1 evil\r\n"),
    ("state", None),
    ("drained", 1),
    ("notes", "text"),
    ("notes", [1]),
    ("findings", ["x"] * 21),
]
OPERATION = Operation("o1", OperationKind.FORGET, "rabbit@b", "", "ann@host", 3, 1.7e9, 120.0, why="gone")
WRONG_IN_OPERATION = [
    ("id", ""),
    ("id", "a\nb"),
    ("kind", "explode"),
    ("kind", None),
    ("subject", "-rf@a"),
    ("subject", None),
    ("executor", "rabbit"),
    ("by", None),
    ("epoch", -1),
    ("epoch", 1.5),
    ("since", -1),
    ("since", "1"),
    ("since", True),
    ("since", float("nan")),
    ("seconds", -120),
    ("seconds", float("inf")),
    ("seconds", None),
    ("consent", None),
    ("consent", 1),
    ("target", "x"),
    ("target", ""),
    ("why", 5),
]


@pytest.fixture(params=["fakeredis", pytest.param("redis", marks=pytest.mark.redis)])
def bench(request: pytest.FixtureRequest) -> Iterator[RedisBench]:
    if request.param == "redis":
        yield request.getfixturevalue("real_bench")
        return
    fake = fake_bench()
    yield fake
    fake.close()


def encoded(**changes: object) -> str:
    return json.dumps({**json.loads(codec.encode(GOOD)), **changes})


@pytest.mark.parametrize("raw", GARBAGE)
def test_garbage_is_no_record(raw: str):
    """Text that is not one of our records is malformed, whichever is asked for."""
    decoders = (
        codec.decode_announcement,
        codec.decode_claim,
        codec.decode_record,
        codec.decode_lease,
        codec.decode_owner,
        codec.decode_operation,
    )
    for decode in decoders:
        with pytest.raises(codec.Malformed):
            decode(raw)


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_field_of_the_wrong_kind_spoils_the_record(name: str, value: object):
    """Types are never guessed: one field of another kind and the announcement is malformed."""
    with pytest.raises(codec.Malformed):
        codec.decode_announcement(encoded(**{name: value}))


@pytest.mark.parametrize(("name", "value"), WRONG_IN_OPERATION)
def test_a_field_of_the_wrong_kind_spoils_the_operation(name: str, value: object):
    """An operation is carried out as it stands or not at all."""
    fields = {**json.loads(codec.encode(OPERATION)), name: value}
    with pytest.raises(codec.Malformed):
        codec.decode_operation(json.dumps(fields))


@pytest.mark.parametrize("name", [n for n in asdict(OPERATION) if n not in ("target", "ready")])
def test_a_missing_field_spoils_the_operation(name: str):
    """Above all no consent is made up."""
    fields = json.loads(codec.encode(OPERATION))
    del fields[name]
    with pytest.raises(codec.Malformed):
        codec.decode_operation(json.dumps(fields))


def test_an_announcement_of_before_has_no_remarks():
    """Members of an rmqcluster that knew nothing of drains, remarks and whole replicas are read as they always were."""
    fields = json.loads(encoded(drained=True, notes=["n"], findings=["f"], whole=["i"]))
    for name in LATER_FIELDS:
        del fields[name]
    assert codec.decode_announcement(json.dumps(fields)) == GOOD


def test_remarks_are_bounded():
    """At most 20 notes of 400 characters are written, control characters escaped, and never so much that nobody
    reads the announcement."""
    long = codec.decode_announcement(codec.encode(replace(GOOD, notes=("x" * 5000, "a\x1b[2J") + ("n",) * 50)))
    assert [len(note) for note in long.notes] == [400, 8] + [1] * 18
    assert long.notes[1] == "a\\x1b[2J"
    huge = codec.encode(replace(GOOD, notes=("語" * 400,) * 20, findings=("語" * 400,) * 20))
    assert codec.decode_announcement(huge) == GOOD


@pytest.mark.parametrize(
    "name", [n for n in asdict(GOOD) if asdict(GOOD)[n] is not None and n not in ("view", *LATER_FIELDS)]
)
def test_a_missing_field_spoils_the_record(name: str):
    """No default is made up for a field that is always written."""
    fields = json.loads(encoded())
    del fields[name]
    with pytest.raises(codec.Malformed):
        codec.decode_announcement(json.dumps(fields))


def test_unknown_fields_and_versions_are_ignored():
    """A newer member may add fields and raise the version."""
    assert codec.decode_announcement(encoded(v=2, later={"x": 1})) == GOOD


@pytest.mark.parametrize(
    ("record", "decode"),
    [
        (Claim("c", "rabbit@a", "i", 3), codec.decode_claim),
        (Record("c", 3, "rabbit@a"), codec.decode_record),
        (Record("c", 3, ""), codec.decode_record),
        (Lease("rabbit@a", "i", 3), codec.decode_lease),
        (Owner("i", 9), codec.decode_owner),
        (OPERATION, codec.decode_operation),
        (replace(OPERATION, subject="", executor="rabbit@a", consent=True, target="rabbit@c"), codec.decode_operation),
    ],
)
def test_records_come_back_as_they_were(record, decode):
    """Encoding and decoding are each other's inverse."""
    assert decode(codec.encode(record)) == record


def test_control_characters_are_escaped_while_reading():
    """CR, LF, ANSI and NUL in free text reach nobody as they are, and long text is cut."""
    found = codec.decode_announcement(encoded(held="a\r\n\x1b[31m\0b\u2028", state="x" * 5000))
    assert found.held == "a\\r\\n\\x1b[31m\\x00b\\u2028"
    assert len(found.state) == 2000


@pytest.mark.parametrize(
    "name", ["", "rabbit", "@a", "a@", "-a@b", "a@-b", "a b@c", "a@b\n", "a@b:c", "ä@b", "a@" + "b" * 300]
)
def test_names_that_are_no_node_names(name: str):
    """A node name becomes a key, an argument and a line of output, so its shape is strict."""
    assert not is_node_name(name)


def test_printable_keeps_what_people_write():
    """Ordinary text, with accents, stays as it is."""
    assert printable("Grüße, 100 %: ok") == "Grüße, 100 %: ok"


@pytest.mark.parametrize("raw", GARBAGE[1:])
def test_garbage_values_are_left_out_with_a_warning(bench: RedisBench, raw: str):
    """Every JSON and number key may hold garbage: the reading goes on and names each key."""
    member, keys = Member(bench, "a"), bench.keys
    member.beat(registered=True)
    spoiled = [keys.record, keys.founding, keys.lease, keys.epoch, keys.roll_call, keys.announcement("rabbit@a")]
    spoiled.append(keys.operation)
    for key in spoiled:
        bench.raw.set(key, raw, px=60000)
    view = member.store.snapshot()
    assert (view.record, view.claim, view.lease, view.epoch, view.announcements) == (None, None, None, 0, {})
    assert (view.operation, view.operation_left_seconds, member.store.read_operation()) == (None, 0.0, None)
    warned = "\n".join(view.warnings)
    assert all(key in warned for key in spoiled if not (key == keys.epoch and raw.isdigit() and len(raw) < 5))
    assert warned.replace("\n", "").isprintable()


def test_bytes_that_are_no_text_do_not_end_a_reading(bench: RedisBench):
    """Bytes outside UTF-8 are garbage like any other."""
    Member(bench, "a").beat()
    bench.raw.set(bench.keys.record, b"\xff\xfe\x00")
    bench.raw.sadd(bench.keys.members, b"rabbit@\xff")
    view = Member(bench, "a").store.snapshot()
    assert (view.record, view.members) == (None, frozenset())
    assert len(view.warnings) >= 2


def test_keys_of_another_type_do_not_end_a_reading(bench: RedisBench):
    """A list where a value or a set belongs is left out with a warning."""
    member, keys = Member(bench, "a"), bench.keys
    member.beat()
    spoiled = [keys.members, keys.master, keys.record, keys.founding, keys.lease, keys.epoch, keys.roll_call]
    spoiled += [keys.operation, keys.paused, keys.owner("rabbit@a"), keys.announcement("rabbit@a")]
    for key in spoiled:
        bench.raw.delete(key)
        bench.raw.rpush(key, "x")
    view = member.store.snapshot()
    assert (view.members, view.master, view.owner, view.paused) == (frozenset(), None, None, None)
    assert (view.operation, member.store.read_operation()) == (None, None)
    assert all(any(key in warning for warning in view.warnings) for key in spoiled)


def test_hostile_names_reach_nobody(bench: RedisBench):
    """Names that are no node names are left out of members, master and announcements."""
    member, keys = Member(bench, "a"), bench.keys
    member.beat()
    evil = "rabbit@x\r\n\x1b[2J"
    bench.raw.sadd(keys.members, evil)
    bench.raw.sadd(keys.known, evil)
    bench.raw.set(keys.master, evil)
    bench.raw.set(keys.announcement(evil), codec.encode(announcement(evil, "i")))
    view = member.store.snapshot()
    assert (view.members, view.master, set(view.announcements)) == (frozenset(), None, {"rabbit@a"})
    assert view.warnings
    assert all(warning.isprintable() for warning in view.warnings)


def test_a_crowd_of_names_is_bounded(bench: RedisBench):
    """More names than any cluster has are not looked at, and told."""
    bench.raw.sadd(bench.keys.members, *(f"rabbit@n{i:05}" for i in range(3000)))
    view = Member(bench, "a").store.snapshot()
    assert len(view.members) == codec.NAMES_LIMIT
    assert "3000 names" in view.warnings[0]


def test_an_announcement_of_somebody_else_is_left_out(bench: RedisBench):
    """The name in the value must be the name in the key."""
    member = Member(bench, "a")
    member.beat()
    bench.raw.set(bench.keys.announcement("rabbit@a"), codec.encode(announcement("rabbit@b", "i")))
    view = member.store.snapshot()
    assert view.announcements == {}
    assert "rabbit@b" in view.warnings[0]


def test_a_heartbeat_without_end_counts_and_is_told(bench: RedisBench):
    """A hand-made heartbeat that never ends is no reason to judge the member lost."""
    member = Member(bench, "a")
    member.beat(registered=True)
    bench.raw.persist(bench.keys.heartbeat("rabbit@a"))
    view = member.store.snapshot()
    assert view.heartbeats == {"rabbit@a": 15.0}
    assert "no time limit" in view.warnings[0]


@pytest.mark.parametrize("raw", ["garbage", '{"v":1,"disk":"new kind","epoch_high":0}', '{"v":1,"disk":"blank"}'])
def test_an_unclear_announcement_forbids_founding(bench: RedisBench, raw: str):
    """What cannot be read may be a disk with data: no claim, and no commit of one that was made before."""
    a, b = Member(bench, "a"), Member(bench, "b")
    a.beat()
    b.beat()
    bench.raw.sadd(bench.keys.known, "rabbit@c")
    bench.raw.set(bench.keys.announcement("rabbit@c"), raw)
    assert not a.store.apply(ClaimFounding())
    bench.expire("announcement", "rabbit@c")
    assert a.store.apply(ClaimFounding())
    bench.age_roll_call(30)
    claim = a.store.snapshot().claim
    assert claim is not None
    bench.raw.set(bench.keys.announcement("rabbit@c"), raw)
    assert not a.store.apply(CommitFounding(claim.cluster_id))


def test_an_unreadable_record_forbids_founding_and_can_be_restored(bench: RedisBench):
    """A spoiled record is no absent one for a founder, and gives way to what the disks say."""
    a, b = Member(bench, "a"), Member(bench, "b")
    a.beat()
    b.beat()
    bench.raw.set(bench.keys.record, "garbage")
    assert not a.store.apply(ClaimFounding())
    assert a.store.apply(RestoreRecord("c1", 2, None))
    assert a.store.snapshot().record == Record("c1", 2, "")


@pytest.mark.parametrize("raw", ["NaN", "-1", "inf", "0x0", "", "9" * 400])
def test_a_spoiled_roll_call_forbids_the_commit(bench: RedisBench, raw: str):
    """Without a time at which the roll call began nobody knows who is missing; the next beat begins it again."""
    a, b = Member(bench, "a"), Member(bench, "b")
    a.beat()
    b.beat()
    assert a.store.apply(ClaimFounding())
    claim = a.store.snapshot().claim
    assert claim is not None
    bench.raw.set(bench.keys.roll_call, raw)
    assert not a.store.apply(CommitFounding(claim.cluster_id))
    a.beat()
    bench.age_roll_call(30)
    assert a.store.apply(CommitFounding(claim.cluster_id))


def test_a_spoiled_owner_is_nobody(bench: RedisBench):
    """An owner that cannot be read does not lock a name for ever."""
    member = Member(bench, "a")
    bench.raw.set(bench.keys.owner("rabbit@a"), "garbage")
    assert member.store.apply(TakeOwnership(None))
    assert member.store.snapshot().owner == Owner(member.instance, 0)


def test_a_spoiled_lease_is_nobodys_and_not_free(bench: RedisBench):
    """A lease that cannot be read gives no right, and nobody takes over what may be somebody's."""
    a = Member(bench, "a")
    a.beat(registered=True)
    bench.raw.set(bench.keys.lease, "garbage")
    assert a.store.read_lease() is None
    assert not a.store.apply(TakeLease(0))
    assert not a.store.apply(SetMaster("rabbit@a", None, 1, "test"))


@pytest.mark.parametrize("raw", ["garbage", "[]", '{"v":1,"kind":"forget"}', "x" * 70000])
def test_a_spoiled_operation_is_nobodys_and_not_free(bench: RedisBench, raw: str):
    """What cannot be read may be under way: nobody starts another, nobody ends it, and a leaver leaves it."""
    a = Member(bench, "a")
    bench.raw.set(bench.keys.operation, raw, px=60000)
    assert not a.store.apply(StartOperation(OperationKind.FORGET, "rabbit@b", 120.0, "ann@host"))
    assert not a.store.apply(EndOperation(OPERATION, "done", ""))
    assert a.store.apply(Leave(final=True))
    assert bench.raw.get(bench.keys.operation) == raw


def test_an_operation_of_another_type_is_not_free(bench: RedisBench):
    """A list where the operation belongs forbids a new one, without an error."""
    a = Member(bench, "a")
    bench.raw.rpush(bench.keys.operation, "x")
    assert not a.store.apply(StartOperation(OperationKind.FORGET, "rabbit@b", 120.0, "ann@host"))
    assert not a.store.apply(EndOperation(OPERATION, "done", ""))
    assert a.store.apply(Leave(final=True))
    a.beat(operation=OPERATION)
    assert bench.raw.llen(bench.keys.operation) == 1


def test_an_operation_without_end_is_told(bench: RedisBench):
    """A hand-made operation that never ends still counts, and every reading says so."""
    bench.raw.set(bench.keys.operation, codec.encode(OPERATION))
    view = Member(bench, "a").store.snapshot()
    assert (view.operation, view.operation_left_seconds) == (OPERATION, 15.0)
    assert "no time limit" in view.warnings[0]


def test_spoiled_epochs_never_bring_epochs_down(bench: RedisBench):
    """A garbage counter is counted as lost: record and announcements still hold epochs up."""
    a = Member(bench, "a")
    a.beat(DiskKind.DATA, epoch_high=20)
    bench.raw.set(bench.keys.epoch, "-5 apples")
    assert a.store.apply(TakeLease(3))
    assert a.store.snapshot().epoch == 21


def test_rows_that_are_no_events_are_left_out(bench: RedisBench):
    """History shows what was written as history, escaped; a stranger's row is skipped."""
    store = Member(bench, "a").store
    bench.raw.xadd(bench.keys.events, {"hello": "world"})
    bench.raw.xadd(
        bench.keys.events, {"actor": "x\n", "kind": "k", "text": "\x1b[31m", "rule": "9" * 99, "epoch": "-1"}
    )
    store.record_event(Event("rabbit@a", "k", "y" * 5000, operation="o\n1"))
    first, second = store.recent_events(10)
    assert (first.operation, second.operation) == ("", "o\\n1")
    assert (first.actor, first.text, first.rule, first.epoch) == ("x\\n", "\\x1b[31m", 0, 0)
    assert len(second.text) == 1000


def test_nothing_lies_outside_the_named_keys(bench: RedisBench):
    """Every key that a life of two members leaves behind is one of the documented ones."""
    a, b = Member(bench, "a"), Member(bench, "b")
    for member in (a, b):
        member.beat(registered=True)
    assert a.store.apply(ClaimFounding())
    assert a.store.apply(TakeLease(0))
    assert a.store.apply(StartOperation(OperationKind.STOP, "rabbit@a", 20.0, "rabbit@a"))
    a.store.record_event(Event("rabbit@a", "k", "t"))
    named = {name.name.replace("{n}", node) for name in KEYS for node in ("rabbit@a", "rabbit@b")}
    found = {key.removeprefix(bench.settings.prefix + ":") for key in bench.raw.scan_iter()}
    assert found <= named
    assert {"cluster:members", "node:rabbit@a:heartbeat"} <= found
    assert bench.raw.get(Keys(bench.settings.prefix).heartbeat("rabbit@a")).isdigit()
