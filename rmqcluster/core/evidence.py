"""Named questions about one observation. No thresholds of their own: the numbers come from the policy.

Whatever is not known is answered `None` or counted as no evidence, never as `False`.
"""

from collections.abc import Mapping

from rmqcluster.core.model import (
    Announcement,
    BrokerPhase,
    DiskKind,
    Observation,
    Operation,
    OperationKind,
    Stage,
    View,
)


def others(o: Observation) -> dict[str, Announcement]:
    """Live announcements of everybody but me."""
    if o.store is None:
        return {}
    return {node: a for node, a in o.store.announcements.items() if node != o.me}


def stage(o: Observation) -> Stage | None:
    return o.disk.marker.stage if o.disk.marker else None


def peer_views(o: Observation) -> dict[str, View]:
    """Whom the other brokers list: asked directly where that was done, announced otherwise."""
    announced = {n: a.view for n, a in others(o).items() if a.broker is BrokerPhase.READY and a.view is not None}
    return {**announced, **{n: v for n, v in o.peer_views.items() if n != o.me}}


def majority_of(count: int) -> int:
    return count // 2 + 1


def same_cluster(o: Observation, node: str) -> bool:
    """Does nothing that `node` announces contradict my own cluster id?"""
    announced = others(o).get(node)
    theirs = announced.cluster_id if announced else None
    mine = o.disk.cluster_id
    if stage(o) is Stage.JOINING:
        mine = committed_id(o) or mine  # a joiner's marker is an intention; where it arrived, the brokers say
    return theirs is None or mine is None or theirs == mine


def is_mutual(o: Observation) -> bool | None:
    """I list a majority of the members and they list me, myself included; None while my broker is not heard.

    A wiped broker that lists only itself is no member of anything (facts T2), and one that was forgotten while paused
    still lists everybody but is listed by none (facts M4).
    """
    if o.broker.phase is not BrokerPhase.READY or o.view is None:
        return None
    if o.me not in o.view.members:
        return False
    views, needed = peer_views(o), quorum(o)
    listing = {n for n in o.view.members if n in views and o.me in views[n].members and same_cluster(o, n)}
    if len(listing | {o.me}) >= needed:
        return True
    unheard = {n for n in o.view.members if n != o.me and n not in views}
    return None if len(listing | unheard | {o.me}) >= needed else False


def quorum(o: Observation) -> int:
    """How many members are a majority: of the expected size or of those that are listed, whichever are more.

    Of the listed alone where fewer than a majority of the size were proven to be all there are: a person recovered
    one, or raised the size.
    """
    listed = len(o.view.members) if o.view is not None else 0
    small = 0 < listed < o.policy.majority and (_was_proven(o) or _is_vouched_for(o))
    return majority_of(listed if small else max(o.policy.size, listed))


def _was_proven(o: Observation) -> bool:
    """Does my disk say that I was a member of a cluster of no others than those that I list now?"""
    marker = o.disk.marker
    known = set(marker.members) if marker is not None and marker.stage is Stage.MEMBER else set()
    return o.me in known and o.view is not None and known <= o.view.members


def _is_vouched_for(o: Observation) -> bool:
    """Is anybody whom I list a proven member?"""
    listed = o.view.members if o.view is not None else frozenset()
    return any(a.mutual and n in listed and same_cluster(o, n) for n, a in others(o).items())


def stands_alone_by_right(o: Observation) -> bool:
    """This member is the whole cluster, and was proven to be: a person recovered it, and nobody has joined it yet."""
    return o.view is not None and o.view.members == {o.me} and _was_proven(o)


def alive_needed(o: Observation) -> int:
    """How many members have to be registered before anybody is judged or an act is done for the cluster."""
    return min(quorum(o), o.policy.majority) if o.view is not None else o.policy.majority


def registers(o: Observation) -> bool:
    """May my next beat carry a heartbeat? An unknown keeps what was proven before while the broker runs."""
    if o.stop_asked_at is not None or o.broker.phase is not BrokerPhase.READY or stage(o) is not Stage.MEMBER:
        return False
    mutual = is_mutual(o)
    return mutual is True or (mutual is None and o.was_registered)


def majority_cluster_id(o: Observation) -> str | None:
    """The cluster id that outranks Redis: of a mutual member, or of a majority of the announced disks."""
    found = [a for a in others(o).values() if a.disk is DiskKind.DATA and a.cluster_id is not None]
    for a in sorted(found, key=lambda a: a.node):
        if a.mutual:
            return a.cluster_id
    counts: dict[str, int] = {}
    for a in found:
        counts[a.cluster_id or ""] = counts.get(a.cluster_id or "", 0) + 1
    best = max(counts, key=lambda i: (counts[i], i), default=None)
    return best if best is not None and counts[best] >= o.policy.majority else None


def committed_id(o: Observation) -> str | None:
    """The id of the committed cluster as far as a blank node can know it; disks outrank the record."""
    if o.store is None:
        return None
    by_disks = majority_cluster_id(o)
    if by_disks is not None:
        return by_disks
    if o.store.record is not None:
        return o.store.record.cluster_id
    ids = sorted({a.cluster_id for a in others(o).values() if a.disk is DiskKind.DATA and a.cluster_id})
    return ids[0] if len(ids) == 1 else None


def identities(o: Observation) -> list[str]:
    """Others whose disk forbids a founding."""
    return sorted(n for n, a in others(o).items() if a.has_identity)


def blank_announcements(o: Observation) -> list[str]:
    """Everybody, me included, who announced a disk that a founding may use."""
    usable = (DiskKind.BLANK, DiskKind.UNCOMMITTED)
    blank = {n for n, a in others(o).items() if a.disk in usable and a.held is None} | {o.me}
    return sorted(blank - undecided(o).keys())


def undecided(o: Observation) -> dict[str, frozenset[str]]:
    """Unfinished joins that nobody can call aborted yet, and whom each still has to hear.

    A disk that saw a higher epoch than Redis knows tells that Redis was emptied since: its founding may have been
    committed, and one of those it lists may carry the proof. While Redis remembers, its missing record is proof.
    Who still runs a broker of that founding has not said its last word either: it may be a member by now.
    """
    if o.store is None:
        return {}
    known = {n: (a.cluster_id, a.epoch_high, a.listed) for n, a in others(o).items() if a.disk is DiskKind.UNCOMMITTED}
    if o.disk.kind is DiskKind.UNCOMMITTED and o.disk.marker is not None:
        known[o.me] = (o.disk.cluster_id, o.disk.epoch_high, frozenset(o.disk.marker.members))
    found = {}
    for node, (cluster_id, high, listed) in known.items():
        missing = frozenset(n for n in listed - {o.me} if not _has_given_up(o, n, cluster_id))
        if high > o.store.epoch and missing:
            found[node] = missing
    return found


def _has_given_up(o: Observation, node: str, cluster_id: str | None) -> bool:
    """Did `node` announce itself, and not as one that still runs this unfinished founding?"""
    a = others(o).get(node)
    return a is not None and not (
        a.disk is DiskKind.UNCOMMITTED and a.cluster_id == cluster_id and a.broker is not BrokerPhase.DOWN
    )


def claim_is_mine(o: Observation) -> bool:
    """Is the founding claim mine, by the last reading or, when Redis is silent, by time that is still safe?"""
    if o.store is None:
        return o.now < o.claim_safe_until
    return o.store.claim is not None and o.store.claim.instance == o.instance


def is_committed(o: Observation) -> bool:
    """Is the cluster that my marker names the committed one? A record that was read once counts while none is there."""
    return o.disk.cluster_id is not None and (committed_id(o) or o.seen_cluster_id) == o.disk.cluster_id


def was_in_company(o: Observation) -> bool:
    """Did my broker list others, or does anybody of the same cluster, member or not yet, list me?"""
    mine = o.disk.marker
    if mine is None:
        return False
    return len(mine.members) > 1 or any(
        o.me in a.listed and a.cluster_id == mine.cluster_id for a in others(o).values()
    )


def arrived(o: Observation) -> bool:
    """Do members of the committed cluster list this joiner, whatever it was told to join?"""
    wanted = committed_id(o)
    return wanted is not None and any(others(o)[n].cluster_id == wanted for n in listed_by(o))


def listed_by_strangers(o: Observation) -> list[str]:
    """Members who list my name while this disk never met their cluster: another disk bore the name there."""
    return [n for n in listed_by(o) if others(o)[n].cluster_id != o.disk.cluster_id]


def listed_by(o: Observation) -> list[str]:
    """Members with data who list my name."""
    return sorted(n for n, a in others(o).items() if a.disk is DiskKind.DATA and o.me in a.listed)


def unlisted_by(o: Observation) -> list[str]:
    """Mutual members of my own cluster whose broker does not list me."""
    return sorted(
        n
        for n, a in others(o).items()
        if a.mutual and a.cluster_id == o.disk.cluster_id and a.view is not None and o.me not in a.view.members
    )


def forgotten_by_brokers(o: Observation) -> bool:
    """Do the peers' brokers, asked directly, no longer list me?

    Redis may be stale or restored, so its word never stops a broker. The peers that do not list me are a majority
    of those that I list, or are mutual members of my own cluster besides; and nobody who was asked lists me.
    """
    said = {n: v for n, v in o.peer_views.items() if n != o.me}
    marker = o.disk.marker
    if marker is None or not said or any(o.me in v.members for v in said.values()):
        return False
    without_me = {n for n, v in said.items() if v.sees_majority()}
    announced = set(unlisted_by(o)) & without_me
    return len(without_me & set(marker.members)) >= majority_of(len(marker.members)) or bool(announced)


def operation(o: Observation) -> Operation | None:
    """The operation under way, as far as Redis could be read."""
    return o.store.operation if o.store is not None else None


def operation_on_me(o: Observation, *kinds: OperationKind) -> Operation | None:
    """The operation under way, if it is of one of these kinds and about me."""
    found = operation(o)
    return found if found is not None and found.subject == o.me and found.kind in kinds else None


def finding(o: Observation) -> str:
    """Why the steward does not replace this member yet, in its words."""
    said = [text for a in others(o).values() for text in a.findings if text.startswith(f"{o.me} ")]
    return said[0].removeprefix(f"{o.me} ") if said else ""


def peers_are_stopping(o: Observation) -> bool:
    """Most of the members, me included, stop at this moment: the whole cluster is being stopped."""
    stopping = [n for n, a in others(o).items() if a.broker is BrokerPhase.STOPPING or a.state == "stopping"]
    return len(stopping) + 1 >= majority_of(max(o.policy.size, len(o.view.members) if o.view else 0))


def join_target(o: Observation) -> Announcement | None:
    """Whom a blank node joins through: the proven master, or a founder whose claim stands; never itself."""
    if o.store is None:
        return None
    committed = committed_id(o)
    if committed is not None:
        master = others(o).get(o.store.master or "")
        proven = master is not None and master.mutual and master.cluster_id == committed
        return master if proven and master is not None and master.broker is BrokerPhase.READY else None
    claim = o.store.claim
    founder = others(o).get(claim.node) if claim is not None else None
    if claim is None or founder is None or founder.instance != claim.instance:
        return None
    up = founder.broker is BrokerPhase.READY or (
        founder.broker is BrokerPhase.STARTING and waits_for_founder(founder.version)
    )
    return founder if up and founder.cluster_id == claim.cluster_id else None


def waits_for_founder(version: str | None) -> bool:
    """May joiners boot beside a founder that is not up yet? Their discovery waits for it; that saves seconds.

    Measured on 4.3.6 (Khepri). On 3.10.8 (Mnesia) a joiner that finds the founder before its feature flags are
    all enabled copies tables that do not fit and dies with `schema_integrity_check_failed`.
    """
    numbers = [int(part) for part in (version or "").split(".")[:2] if part.isdigit()]
    return len(numbers) == 2 and numbers >= [4, 3]


def target_cluster_id(o: Observation) -> str | None:
    """The id that a joiner joins now: the committed one, else that of the standing claim."""
    committed = committed_id(o)
    if committed is not None or o.store is None or o.store.claim is None:
        return committed
    return o.store.claim.cluster_id


def series(version: str | None) -> str | None:
    """`3.10` of `3.10.8`: brokers of different major versions cannot form one cluster."""
    parts = (version or "").split(".")
    return parts[0] if parts[0].isdigit() else None


def stands_alone(o: Observation) -> bool:
    """My broker is up and lists nobody but itself."""
    return o.broker.phase is BrokerPhase.READY and o.view is not None and o.view.members == {o.me}


def strayed(o: Observation) -> bool:
    """My broker is up, but not where it was to join: it stands alone, or its target does not list it.

    The target's word counts when it must be younger than my boot: an announcement is never older than a TTL.
    """
    if stage(o) is not Stage.JOINING or o.broker.phase is not BrokerPhase.READY:
        return False
    if stands_alone(o):
        return True
    target = join_target(o)
    if target is None or target.view is None or o.view is None or o.busy is not None:
        return False
    settled = waited(o, o.broker.since, o.policy.ttl_seconds + o.policy.heartbeat_seconds)
    return settled and o.me not in target.view.members


def waited(o: Observation, since: float, seconds: float) -> bool:
    return o.now - since >= seconds


def somebody_on_the_way(o: Observation) -> bool:
    """A broker boots, or is up and not proven yet: its proof needs a fresh word of the others."""
    waiting = (BrokerPhase.STARTING, BrokerPhase.READY)
    return any(a.broker in waiting and a.mutual is not True and a.held is None for a in others(o).values())


def store_is_steady(o: Observation) -> bool:
    """Timely replies for a TTL and a heartbeat without a gap: before that nobody is judged."""
    needed = o.policy.ttl_seconds + o.policy.heartbeat_seconds
    return o.store is not None and o.steady_since is not None and o.now - o.steady_since >= needed


def running_by(o: Observation, node: str) -> Mapping[str, bool]:
    """Which brokers that see a majority say that `node` runs or does not; silence is no entry."""
    views = dict(peer_views(o))
    if o.view is not None and o.broker.phase is BrokerPhase.READY and not o.standalone:
        views[o.me] = o.view
    return {n: node in v.running for n, v in views.items() if n != node and v.sees_majority()}


def is_gone(o: Observation, node: str) -> bool:
    """Evidence of S7: the brokers that see a majority, mine among them, and most of them, miss `node`."""
    said = running_by(o, node)
    if said.get(o.me, not o.standalone):
        return False
    missing = sum(1 for runs in said.values() if not runs)
    return missing >= majority_of(len(said)) and missing > 0


def restart_delay_seconds(o: Observation) -> float:
    """How long after its last unexpected end the broker may boot again: at once, then 1, 2, 4 … 30 s."""
    ends = len(o.broker.exits)
    return 0.0 if ends <= 1 else float(min(2 ** (ends - 2), 30))
