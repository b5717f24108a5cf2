"""The verdict and its words: what is wrong, what happens by itself, what a person should type.

Each check looks at one kind of trouble and yields notes; `summarise` puts them into one `Status`. The words
follow the operator's view: facts first, then NEXT, then DO, and "nothing" when nothing is wanted.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from rmqcluster.core.model import DiskKind
from rmqcluster.core.status import (
    MemberStatus,
    Sources,
    Status,
    Verdict,
    describe_members,
    known_views,
    shown,
)


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that is not as it should be."""

    reason: str
    next: str = ""
    do: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """The rows, and the counts that several checks share."""

    sources: Sources
    members: tuple[MemberStatus, ...]
    listed: frozenset[str]  # what the brokers list, all of them together

    @property
    def total(self) -> int:
        """How many members there should be."""
        return max(self.sources.policy.size, len(self.listed))

    @property
    def serving(self) -> int:
        return sum(1 for member in self.members if member.serves)

    @property
    def undecided(self) -> int:
        return sum(1 for member in self.members if member.running is None)

    @property
    def needed(self) -> int:
        """A majority of what the brokers list; of the expected size while nothing is listed."""
        return (len(self.listed) or self.sources.policy.size) // 2 + 1


def duration(seconds: float) -> str:
    """`4m12s`, `41s`, `3h05m`, `2d04h`."""
    whole = int(max(0.0, seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def summarise(sources: Sources) -> Status:
    """The one entry of this room: everything that was read in, the status out."""
    picture = _picture(sources)
    notes = [note for check in _CHECKS for note in check(picture)]
    store = sources.store
    verdict = _verdict(picture, bool(notes))
    record = store.record if store else None
    return Status(
        verdict=verdict,
        headline=_headline(picture, verdict),
        reasons=_unique(note.reason for note in notes),
        next=_unique(note.next for note in notes),
        do=_unique(note.do for note in notes),
        cluster_id=_cluster_id(sources, record.cluster_id if record else None),
        size=sources.policy.size,
        epoch=store.epoch if store else None,
        master=shown(store.master, 120) if store and store.master else None,
        paused=shown(store.paused) if store and store.paused else None,
        members=picture.members,
        redis_reachable=store is not None,
        redis_last_contact_seconds=_last_contact(sources),
        redis_warnings=_unique((*(store.warnings if store else ()), *sources.warnings)),
    )


def _picture(sources: Sources) -> Picture:
    listed: frozenset[str] = frozenset()
    for view in known_views(sources).values():
        listed |= view.members
    if not listed and sources.store is not None:
        for said in sources.store.announcements.values():
            listed |= said.listed
    return Picture(sources, describe_members(sources), listed)


def _verdict(picture: Picture, has_notes: bool) -> Verdict:
    if picture.serving < picture.needed:
        nothing_read = picture.sources.store is None and not picture.members
        may_serve = picture.undecided and picture.serving + picture.undecided >= picture.needed
        return Verdict.UNKNOWN if nothing_read or may_serve else Verdict.UNAVAILABLE
    return Verdict.DEGRADED if has_notes else Verdict.HEALTHY


def _headline(picture: Picture, verdict: Verdict) -> str:
    sources, count = picture.sources, f"{picture.serving} of {picture.total}"
    if verdict is Verdict.UNKNOWN:
        return f"UNKNOWN  {count} brokers seen to run; the others could not be read."
    if verdict is Verdict.UNAVAILABLE:
        return f"UNAVAILABLE  {_unavailable(picture)}"
    if _alarms(picture):
        return f"BLOCKED  publishers blocked on ALL nodes; consumers work. {count} members serve."
    if sources.store is None:
        lost = "" if sources.store_lost_seconds is None else f" {duration(sources.store_lost_seconds)}"
        clients = ", clients unaffected" if picture.serving == picture.total else ""
        return f"COORDINATION LOST{lost}. Brokers {count} serve{clients}."
    if verdict is Verdict.HEALTHY:
        return f"HEALTHY  {count} members serve."
    last = " One more loss stops all quorum queues." if picture.serving == picture.needed > 1 else ""
    return f"DEGRADED  {count} members serve.{last}"


def _unavailable(picture: Picture) -> str:
    store = picture.sources.store
    if not picture.listed and store is not None and store.record is None:
        policy = picture.sources.policy
        return (
            f"no cluster yet: {len(store.announcements)} of {policy.size} nodes have announced themselves, "
            f"a founding needs {policy.majority}."
        )
    return (
        f"{picture.serving} of {picture.total} up; metadata and quorum queues have no majority. "
        "Data on the disks is kept."
    )


def _store_trouble(sources: Sources) -> str:
    """Names the address once, whether or not the trouble does."""
    address, trouble = sources.store_address, sources.store_trouble or "does not answer"
    return shown(trouble if address in trouble else f"Redis at {address}: {trouble}").rstrip(".")


def _last_contact(sources: Sources) -> float | None:
    if sources.store is not None:
        return round(sources.store_age_seconds, 1)
    return None if sources.last_contact_seconds is None else round(sources.last_contact_seconds, 1)


def _cluster_id(sources: Sources, recorded: str | None) -> str | None:
    """Redis' record, else the one id that every disk carries."""
    if recorded:
        return shown(recorded, 120)
    said = [*(sources.store.announcements if sources.store else {}).values(), *sources.reports.values()]
    ids = {one.cluster_id for one in said if one.cluster_id} | ({sources.cluster_id} - {None})
    only = ids.pop() if len(ids) == 1 else None
    return shown(only, 120) if only else None


def _alarms(picture: Picture) -> list[str]:
    return sorted({shown(alarm, 120) for view in known_views(picture.sources).values() for alarm in view.alarms})


def _unique(texts: Iterator[str] | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(shown(text) for text in texts if text))


# --- the checks, in the order in which they are read ---


def _redis(picture: Picture) -> Iterator[Note]:
    if picture.sources.store is not None:
        return
    yield Note(
        _store_trouble(picture.sources),
        "when Redis answers all re-register; nobody is judged until it has been steady longer than the TTL",
        f"bring Redis back at {shown(picture.sources.store_address, 120)} "
        "(an empty Redis is fine, keys are rebuilt from the brokers)",
    )


def _frozen(picture: Picture) -> Iterator[Note]:
    if picture.sources.store is None and picture.serving:
        yield Note(
            "frozen: joining of blank nodes, the master label. Working: publish, consume, restart with own disk, stop"
        )


def _forming(picture: Picture) -> Iterator[Note]:
    store, policy = picture.sources.store, picture.sources.policy
    if store is None or store.record is not None:
        return
    if picture.listed and store.members:
        yield Note("the cluster record is missing in Redis", "it is restored from a majority of the disks")
        return
    there = len(store.announcements)
    reason = f"no committed cluster: {there} of {policy.size} nodes have announced themselves"
    if store.claim is not None:
        yield Note(reason, f"{shown(store.claim.node, 120)} is founding; it commits when {policy.majority} are mutual")
    elif there < policy.majority:
        missing = policy.majority - there
        yield Note(
            reason,
            f"a founding begins when {policy.majority} nodes have announced themselves",
            f"start at least {missing} more node{'s' * (missing > 1)} "
            f"(if they run: do they use the same Redis and prefix?)",
        )
    else:
        yield Note(reason, "one of them claims the founding, or restores the record from the disks")


def _held(picture: Picture) -> Iterator[Note]:
    for member in picture.members:
        if member.held is None:
            continue
        words, _, command = member.held.partition(" DO: ")
        yield Note(
            f"{member.node} HELD: {words}",
            f"{member.node} stays held until a person decides; nothing of it is touched",
            f"{member.node}: {command}" if command else f"{member.node}: decide what its HELD line asks",
        )


def _absent(picture: Picture) -> Iterator[Note]:
    """Members that do not beat, and members that are on their way."""
    store = picture.sources.store
    if store is None:
        return
    for member in picture.members:
        if member.held is not None or member.heartbeat_age_seconds is not None:
            continue
        if member.node in store.announcements or member.node in picture.sources.reports:
            yield Note(
                f"{member.node} is not registered yet: {member.state or 'its state is unknown'}",
                f"{member.node} registers as soon as its membership is proven",
            )
        elif member.running:
            yield Note(
                f"{member.node} has no heartbeat, but its broker runs: only marked, not removed",
                f"{member.node} is registered again with its next heartbeat",
                f"look at the supervisor of {member.node}: can it reach Redis?",
            )
        else:
            yield _lost(picture, member)


def _lost(picture: Picture, member: MemberStatus) -> Note:
    peers = {node: view for node, view in known_views(picture.sources).items() if node != member.node}
    blind = sum(1 for view in peers.values() if member.node not in view.running)
    since = picture.sources.lost_seconds.get(member.node)
    lost = "LOST" if since is None else f"LOST {duration(since)}"
    seen = f", {blind} of {len(peers)} peers do not see it" if peers else ""
    return Note(
        f"{member.node} {lost}: no heartbeat{seen}",
        f"{member.node} rejoins by itself with its disk",
        f"start the host or container of {member.node} again; its disk brings it back",
    )


def _strays(picture: Picture) -> Iterator[Note]:
    for member in picture.members:
        beats = member.heartbeat_age_seconds is not None
        if beats and member.mutual is False and member.held is None:
            yield Note(
                f"{member.node} beats, but is not a mutual member of the cluster",
                f"{member.node} repairs its membership by itself",
            )
        elif beats and member.registered is False:
            yield Note(f"{member.node} beats, but is not in the members set", "it registers with its next heartbeat")


def _unseen(picture: Picture) -> Iterator[Note]:
    """Brokers that run and do not see each other: a cut between them."""
    views = known_views(picture.sources)
    for node, view in sorted(views.items()):
        for other in sorted(view.members - view.running - {node}):
            if other in views and other in views[other].running:
                yield Note(
                    f"{shown(node, 120)} does not see {shown(other, 120)}, which runs: a network cut or a fresh crash",
                    "the brokers find each other again when the network heals",
                    f"check the network between {shown(node, 120)} and {shown(other, 120)} (ports 4369 and 25672)",
                )


def _alarm(picture: Picture) -> Iterator[Note]:
    for alarm in _alarms(picture):
        kind, _, node = alarm.partition(" ")
        yield Note(
            f"{kind} alarm on {node}",
            "nothing: an alarm is not a death. No restart and no failover while it lasts",
            "start the consumers of the longest queues, or free space there. Restarting brokers frees nothing",
        )


def _identity(picture: Picture) -> Iterator[Note]:
    """Announcements whose id is not the recorded one, and cookies that differ."""
    store = picture.sources.store
    if store is None:
        return
    said = sorted(store.announcements.values(), key=lambda one: one.node)
    for one in said:
        proven = one.disk is DiskKind.DATA or one.disk is DiskKind.AMNESIC
        if proven and store.record is not None and one.cluster_id not in (None, store.record.cluster_id):
            yield Note(
                f"{shown(one.node, 120)} carries cluster id {shown(one.cluster_id or '', 60)}, Redis says "
                f"{shown(store.record.cluster_id, 60)}",
                "a majority of the disks decides which id is right",
            )
    if len({one.wanted for one in said if one.wanted and one.disk is DiskKind.DATA}) > 1:
        yield Note(
            "the members are configured with different accounts, passwords or definitions: nothing is provisioned",
            "provisioning goes on when all live members are configured alike",
            "give all members the same MQ_* settings and definitions file, and restart them one after another",
        )
    if len({one.cookie for one in said if one.cookie}) > 1:
        prints = ", ".join(f"{shown(one.node, 120)} {shown(one.cookie or '', 8)}" for one in said if one.cookie)
        yield Note(
            f"the Erlang cookies differ (fingerprints: {prints})",
            "nodes with another cookie cannot join",
            "give every node the same RABBITMQ_ERLANG_COOKIE and restart those that differ",
        )


def _labels(picture: Picture) -> Iterator[Note]:
    store = picture.sources.store
    if store is None or store.record is None:
        return
    by_name = {member.node: member for member in picture.members}
    if store.master is None:
        yield Note("no master is named", "the monitor names a live member within the TTL + 2 s")
    elif store.master not in by_name or not by_name[store.master].proven:
        yield Note(f"the master {shown(store.master, 120)} is not a live member", "the monitor moves the label")
    if store.paused:
        yield Note(f"paused: {shown(store.paused)}", "no automatic act until the pause ends")


def _count(picture: Picture) -> Iterator[Note]:
    """Last: there may be too few or too many without any other trouble."""
    size = picture.sources.policy.size
    proven = sum(1 for member in picture.members if member.proven)
    if picture.sources.store is None:
        return
    if proven < size:
        yield Note(f"{proven} of {size} members are mutual and registered")
    elif len(picture.members) > size:
        yield Note(
            f"{len(picture.members)} members are known, RMQCLUSTER_SIZE is {size}",
            "",
            "set RMQCLUSTER_SIZE to the number of members on every node",
        )


_CHECKS = (_redis, _frozen, _alarm, _held, _forming, _absent, _strays, _unseen, _identity, _labels, _count)
