"""What is done about members and queues: operations under way, blank disks and their replacing, maintenance, pauses."""

import re
from collections.abc import Iterator

from rmqcluster.core.model import Announcement, BrokerPhase
from rmqcluster.core.operations import KINDS, in_words
from rmqcluster.core.status import DONT, MemberStatus
from rmqcluster.core.status_format import clock, duration, names, shown
from rmqcluster.core.status_members import known_views
from rmqcluster.core.status_picture import Note, Picture

REPLACING_STEPS = 5
BY_CHOICE = re.compile(r"\d+ single-replica queues?: ")  # how the one note begins that is no trouble


def paused(picture: Picture) -> Iterator[Note]:
    store = picture.sources.store
    if store is not None and store.paused:
        yield Note(
            f"PAUSED: {shown(store.paused)}",
            "no automatic act until the pause ends by itself; heartbeats go on",
            "rmqcluster resume, when it is no longer needed",
        )


def operation(picture: Picture) -> Iterator[Note]:
    """An act that is under way is no trouble of its own."""
    found = picture.operation
    if found is None:
        return
    left = duration(picture.operation_left_seconds)
    yield Note(
        f"OPERATION {shown(in_words(found), 200)} since {clock(found.since)}: {KINDS[found.kind].words}; "
        f"at most {left} left",
        f"the {found.kind} ends by itself, other operations wait for it",
        harmless=True,
    )


def blank(picture: Picture) -> Iterator[Note]:
    """A member whose disk is gone: a stranger with the same name."""
    for member in picture.members:
        said = picture.said(member.node)
        if picture.is_replaced(member.node):
            yield _progress(picture, member, said)
        elif picture.is_wiped(member.node) and member.held is None:
            if picture.majority_lost:
                yield Note(f"{member.node} BLANK DISK under a known name{picture.place(member.node)}")
                continue
            disk = f"BLANK DISK under a known name{picture.place(member.node)}; client ports CLOSED"
            yield Note(
                f"{member.node} {disk}: {_finding(picture, member.node)}",
                f"{member.node} is replaced by itself as soon as every queue keeps its majority without it",
                f"{DONT}restart the other members: queues may have their only other replicas there",
            )


def _progress(picture: Picture, member: MemberStatus, said: Announcement | None) -> Note:
    """Which of the five steps is done now, from what the brokers list."""
    node = member.node
    views = known_views(picture.sources)
    listing = any(node in view.members for other, view in views.items() if other != node)
    phase = said.broker if said is not None else BrokerPhase.DOWN
    if phase is BrokerPhase.DOWN and listing:
        step, now = 1, "its old self is being forgotten; client ports CLOSED"
    elif phase is BrokerPhase.DOWN:
        step, now = 2, "old self forgotten, it boots next; client ports CLOSED"
    elif phase is BrokerPhase.STARTING or not member.proven:
        step, now = 3, "old self forgotten, it boots and joins; client ports CLOSED"
    elif any(is_trouble(note) for note in picture.queue_notes):
        step, now = 4, "old self forgotten, joined, its replicas grow"
    else:
        step, now = 5, "old self forgotten, joined, replicas are there"
    others = [one.node for one in picture.members if one.node != node and one.serves]
    return Note(
        f"{node} REPLACING {step}/{REPLACING_STEPS}: majority ok, {now}",
        "its replicas grow to each queue's target, then the operation ends",
        f"{DONT}restart {names(others, ' or ')}: queues may have their only replicas there",
    )


def _finding(picture: Picture, node: str) -> str:
    """Why it is not replaced yet, in the words of the one who looks after the queues."""
    steward = picture.steward
    found = [text for text in (steward.findings if steward else ()) if text.startswith(f"{node} ")]
    if not found:
        return "nobody has looked at its queues yet"
    return shown(found[0].removeprefix(f"{node} ")) or "nothing is in the way of replacing it"


def maintenance(picture: Picture) -> Iterator[Note]:
    for member in picture.members:
        if member.drained:
            yield Note(
                f"{member.node} DRAINED: in maintenance, no clients and no queue leaders on it",
                f"{member.node} stays drained until it is revived or restarted",
                f"rmqcluster revive {member.node}",
            )


def queues(picture: Picture) -> Iterator[Note]:
    """What the last look at the queues found. A deliberate single replica is told, and degrades nothing."""
    by_itself = picture.operation is None and all(member.proven for member in picture.members)
    for note in picture.queue_notes:
        if is_trouble(note):
            yield Note(shown(note), "missing replicas grow to each queue's target by themselves" if by_itself else "")
        else:
            yield Note(shown(note), harmless=True)


def is_trouble(note: str) -> bool:
    """Whatever was found is trouble (`queues.facts_in_words`), but for replicas that somebody chose not to have."""
    return BY_CHOICE.match(note) is None
