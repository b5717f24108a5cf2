"""Members that are not there: lost, stopped, on their way, held; and what it means when a majority is not."""

from collections.abc import Iterator

from rmqcluster.core.model import BrokerPhase, DiskKind
from rmqcluster.core.status import DONT, STOPPING, MemberStatus
from rmqcluster.core.status_format import duration, name, names
from rmqcluster.core.status_members import known_views
from rmqcluster.core.status_picture import Note, Picture

TWIN = "twin"
KHEPRI_ONLY = (4, 3)  # before it, Mnesia may wait for all that died at the same instant


def held(picture: Picture) -> Iterator[Note]:
    for member in picture.members:
        if member.held is None:
            continue
        words, _, command = member.held.partition(" DO: ")
        yield Note(
            f"{member.node} HELD: {words}",
            f"{member.node} stays held until a person decides; nothing of it is touched",
            f"{member.node}: {command}" if command else f"{member.node}: decide what its HELD line asks",
        )


def majority(picture: Picture) -> Iterator[Note]:
    """Whom the survivors wait for, and the one command for the day when nobody returns.

    Without Redis nobody is told to recover: who hears neither Redis nor the others may be the one who is cut off.
    """
    if not picture.majority_lost:
        return
    wanted = picture.needed - len(picture.up)
    absent = [node for node in sorted(picture.listed) if node not in picture.up]
    gone = [node for node in absent if _without_disk(picture, node)]
    useful = [node for node in absent if node not in gone]
    survivor = picture.up[0] if picture.up else None
    asked = f"rmqcluster recover --from {survivor or 'NODE'}"
    recover = f". All these disks gone for good: {asked}" if picture.sources.store is not None else ""
    dont = f"{DONT}docker volume rm, make clean, forget"
    places = [name(node) + picture.place(node) for node in useful]
    if len(useful) < wanted:
        yield Note(
            f"{len(gone)} of {len(picture.listed)} disks are gone ({names(gone)}): no majority of the disks is left",
            "nothing, ever: what is left is kept as it is",
            f"mount the good disks of {names(gone)}{recover}",
        )
    else:
        whom = f"any {wanted} of: {', '.join(places)}" if len(places) > wanted else ", ".join(places)
        for node in picture.up:
            yield Note(f"{node} WAITING for {whom}")
        returning = "one of them" if wanted == 1 else f"{wanted} of them"
        yield Note(
            "" if picture.up else f"WAITING for {whom}",
            f"nothing, ever: it serves within seconds of {returning} returning. "
            f"The brokers that are up are kept running in place{_mnesia(picture)}",
            f"power on {(' OR ' if wanted == 1 else ', ').join(places)}, or mend the network there{recover}",
        )
    yield Note("", "", dont)


def _without_disk(picture: Picture, node: str) -> bool:
    said = picture.said(node)
    return said is not None and said.disk in (DiskKind.AMNESIC, DiskKind.BLANK)


def _mnesia(picture: Picture) -> str:
    """A limit of RabbitMQ before 4.3 that people have to know when the survivors boot."""
    booting = [said for node in picture.up if (said := picture.said(node)) and said.broker is BrokerPhase.STARTING]
    if any(_series(said.version) < KHEPRI_ONLY for said in booting):
        return ". Before 4.3 those that died at the same instant may all be needed"
    return ""


def _series(version: str | None) -> tuple[int, ...]:
    parts = (version or "").split(".")[:2]
    return tuple(int(part) for part in parts) if len(parts) == 2 and all(p.isdigit() for p in parts) else KHEPRI_ONLY


def absent(picture: Picture) -> Iterator[Note]:
    """Members that do not beat, and members that are on their way."""
    store = picture.sources.store
    if store is None:
        return
    on_the_way: dict[str, list[str]] = {}
    for member in picture.members:
        if member.held is not None:
            continue
        if member.heartbeat_age_seconds is not None and member.state != STOPPING:
            continue
        if picture.is_wiped(member.node) or picture.is_replaced(member.node):
            continue  # told as a blank disk
        said = picture.said(member.node)
        leaving = _leaving(member, said.broker) if said is not None else None
        if leaving is not None:
            yield leaving
        elif said is not None:
            on_the_way.setdefault(member.state or "state unknown", []).append(member.node)
        elif member.running:
            yield Note(
                f"{member.node} has no heartbeat, but its broker runs: only marked, not removed",
                f"{member.node} is registered again with its next heartbeat",
                f"look at the supervisor of {member.node}: can it reach Redis?",
            )
        else:
            yield _lost(picture, member)
    for state, nodes in on_the_way.items():
        yield Note(
            f"{names(nodes)} {'are' if len(nodes) > 1 else 'is'} not registered yet: {state}",
            f"{names(nodes)} registers as soon as its membership is proven"
            if len(nodes) == 1
            else "each of them registers as soon as its membership is proven",
        )


def _leaving(member: MemberStatus, broker: BrokerPhase) -> Note | None:
    """Announced members that will not register now; None for those that will."""
    if member.state == STOPPING or broker is BrokerPhase.STOPPING:
        return Note(
            f"{member.node} is STOPPING: it was asked to stop",
            f"its broker ends in order; started again, {member.node} rejoins by itself with its disk",
        )
    if member.state == TWIN:
        return Note(
            f"{member.node} is not registered: another instance beats under its name",
            "the second one writes no heartbeat",
            f"stop one of the two instances of {member.node}, or give it a host name of its own",
        )
    return None


def _lost(picture: Picture, member: MemberStatus) -> Note:
    node = member.node
    stopped = picture.sources.stopped_seconds.get(node)
    if stopped is not None:
        reason = f"{node} STOPPED {duration(stopped)} ago{picture.place(node)}: it was asked to stop"
        if picture.majority_lost:
            return Note(reason)
        return Note(reason, f"started again, {node} rejoins by itself with its disk", f"start {node} when it is due")
    peers = {other: view for other, view in known_views(picture.sources).items() if other != node}
    blind = sum(1 for view in peers.values() if node not in view.running)
    since = picture.sources.lost_seconds.get(node)
    lost = "LOST" if since is None else f"LOST {duration(since)}"
    seen = f", {blind} of {len(peers)} peers do not see it" if peers else ""
    reason = f"{node} {lost}{picture.place(node)}: no heartbeat{seen}"
    if picture.majority_lost:
        return Note(reason)  # what to do is told once for all of them
    if picture.serving < picture.needed:
        return Note(reason, f"{node} rejoins by itself with its disk", f"start the host or container of {node} again")
    return Note(
        reason,
        f"nothing is forgotten: {node} rejoins by itself with its disk",
        f"nothing tonight. Its disk gone for good: start {node} with a blank one and, if it is held then, "
        f"rmqcluster replace {node}. Never to return: rmqcluster forget {node}",
    )
