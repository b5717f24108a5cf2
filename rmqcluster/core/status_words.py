"""The verdict and its headline, and all checks put together into one `Status`.

The words follow the operator's view: facts first, then NEXT, then DO, and "nothing" when nothing is wanted.
"""

from collections.abc import Callable, Iterable, Iterator

from rmqcluster.core import status_absence as absence
from rmqcluster.core import status_acts as acts
from rmqcluster.core import status_checks as checks
from rmqcluster.core.status import Moved, OperationStatus, Sources, Status, Verdict
from rmqcluster.core.status_format import duration, name, short_name, shown
from rmqcluster.core.status_picture import Note, Picture, picture_of

# In the order in which they are read.
CHECKS: tuple[Callable[[Picture], Iterator[Note]], ...] = (
    acts.paused,
    checks.redis,
    checks.alarm,
    absence.majority,
    absence.held,
    acts.blank,
    checks.forming,
    absence.absent,
    acts.maintenance,
    acts.operation,
    acts.queues,
    checks.strays,
    checks.unseen,
    checks.identity,
    checks.labels,
    checks.count,
)


def summarise(sources: Sources) -> Status:
    """The one entry of this room: everything that was read in, the status out."""
    picture = picture_of(sources)
    found = [note for check in CHECKS for note in check(picture)]
    bad = [note for note in found if not note.harmless]
    store = sources.store
    verdict = _verdict(picture, bool(bad))
    record = store.record if store else None
    return Status(
        verdict=verdict,
        headline=_headline(picture, verdict),
        reasons=_unique(note.reason for note in bad),
        next=_unique(note.next for note in found),
        do=_unique(note.do for note in found),
        cluster_id=_cluster_id(sources, record.cluster_id if record else None),
        size=sources.policy.size,
        epoch=store.epoch if store else None,
        master=name(store.master) if store and store.master else None,
        paused=shown(store.paused) if store and store.paused else None,
        members=picture.members,
        redis_reachable=store is not None,
        redis_last_contact_seconds=_last_contact(sources),
        redis_warnings=_unique((*(store.warnings if store else ()), *sources.warnings)),
        operation=_operation(picture),
        moved=_moved(sources),
        notes=_unique(note.reason for note in found if note.harmless),
        lacking=_lacking(picture, verdict, bad),
    )


def _verdict(picture: Picture, has_reasons: bool) -> Verdict:
    if picture.serving < picture.needed:
        nothing_read = picture.sources.store is None and not picture.members
        may_serve = picture.undecided and picture.serving + picture.undecided >= picture.needed
        return Verdict.UNKNOWN if nothing_read or may_serve else Verdict.UNAVAILABLE
    return Verdict.DEGRADED if has_reasons else Verdict.HEALTHY


def _lacking(picture: Picture, verdict: Verdict, bad: Iterable[Note]) -> str:
    reasons = [shown(note.reason) for note in bad if not note.restarts_mend]
    if reasons or verdict in (Verdict.UNKNOWN, Verdict.UNAVAILABLE):
        return reasons[0] if reasons else _headline(picture, verdict)
    return "" if picture.is_whole else "the monitor has not seen yet that all replicas have caught up"


def _headline(picture: Picture, verdict: Verdict) -> str:
    sources, count = picture.sources, f"{picture.serving} of {picture.total}"
    if verdict is Verdict.UNKNOWN:
        return f"UNKNOWN  {count} brokers seen to run; the others could not be read."
    if verdict is Verdict.UNAVAILABLE:
        return f"UNAVAILABLE{_since(_unavailable_seconds(picture))}  {_unavailable(picture)}"
    if picture.alarms:
        return f"BLOCKED  publishers blocked on ALL nodes; consumers work. {count} members serve."
    if sources.store is None:
        clients = ", clients unaffected" if picture.serving == picture.total else ""
        return f"COORDINATION LOST{_since(sources.store_lost_seconds)}. Brokers {count} serve{clients}."
    if verdict is Verdict.HEALTHY:
        return f"HEALTHY  {count} members serve."
    open_to_clients = [short_name(one.node) for one in picture.members if one.serves and one.takes_clients]
    via = f", clients OK via {' '.join(open_to_clients)}" if 0 < len(open_to_clients) < picture.total else ""
    last = " One more loss stops all quorum queues." if picture.serving == picture.needed > 1 else ""
    return f"DEGRADED  {count} members serve{via}.{last}"


def _since(seconds: float | None) -> str:
    return "" if seconds is None else f" {duration(seconds)}"


def _unavailable(picture: Picture) -> str:
    store = picture.sources.store
    if not picture.listed and store is not None and store.record is None:
        policy = picture.sources.policy
        return (
            f"no cluster yet: {len(store.announcements)} of {policy.size} nodes have announced themselves, "
            f"a founding needs {policy.majority}."
        )
    up = len(picture.up)
    if up >= picture.needed:
        return f"{up} of {picture.total} up, {picture.serving} serve: the others boot. Data on the disks is kept."
    return f"{up} of {picture.total} up; metadata and quorum queues have no majority. Data on the disks is kept."


def _unavailable_seconds(picture: Picture) -> float | None:
    """Since the loss that took the majority away: the last of so many that it was gone."""
    losses = sorted(picture.sources.lost_seconds.values(), reverse=True)
    decisive = len(picture.listed) - picture.needed
    return losses[decisive] if picture.majority_lost and len(losses) > decisive else picture.sources.minority_seconds


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


def _operation(picture: Picture) -> OperationStatus | None:
    found = picture.operation
    if found is None:
        return None
    left = round(picture.operation_left_seconds, 1)
    return OperationStatus(found.kind, name(found.subject), name(found.by), round(found.since, 3), left, found.epoch)


def _moved(sources: Sources) -> Moved | None:
    """The last move, while the label still is where it went."""
    moved = sources.moved
    if moved is None or sources.store is None or sources.store.master != moved.to:
        return None
    return Moved(name(moved.was), name(moved.to), moved.at, moved.epoch)


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(shown(text) for text in texts if text))
