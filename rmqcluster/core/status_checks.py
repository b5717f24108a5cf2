"""What may be wrong with Redis, the cluster as a whole, its network, its configuration, and its labels.

Each check looks at one kind of trouble and yields notes: fact, what happens by itself, what a person should type.
"""

from collections.abc import Iterator

from rmqcluster.core.model import DiskKind
from rmqcluster.core.status_format import name, shown
from rmqcluster.core.status_members import known_views
from rmqcluster.core.status_picture import Note, Picture


def redis(picture: Picture) -> Iterator[Note]:
    if picture.sources.store is not None:
        return
    address = shown(picture.sources.store_address, 120)
    yield Note(
        store_trouble(picture),
        "when Redis answers all re-register; nobody is judged until it has been steady longer than the TTL",
        f"bring Redis back at {address} (an empty Redis is fine, keys are rebuilt from the brokers)",
    )
    if picture.serving >= picture.needed:
        yield Note(
            "frozen: joining of blank nodes, the master label, operations. "
            "Working: publish, consume, restart with own disk, stop"
        )


def store_trouble(picture: Picture) -> str:
    """Names the address once, whether or not the trouble does."""
    address, trouble = picture.sources.store_address, picture.sources.store_trouble or "does not answer"
    return shown(trouble if address in trouble else f"Redis at {address}: {trouble}").rstrip(".")


def alarm(picture: Picture) -> Iterator[Note]:
    for one in picture.alarms:
        kind, _, node = one.partition(" ")
        more = "free space on" if kind == "disk" else "give memory to"
        yield Note(
            f"{kind} alarm on {node}{picture.place(node)}",
            "nothing: an alarm is not a death. No restart, failover or rebalance while it lasts",
            f"start the consumers of the longest queues, or {more} {node}. Restarting brokers frees nothing",
        )
    if picture.alarms:
        yield from (Note(shown(fact)) for fact in picture.sources.alarm_facts)


def forming(picture: Picture) -> Iterator[Note]:
    store, policy = picture.sources.store, picture.sources.policy
    if store is None or store.record is not None:
        return
    if picture.listed and store.members:
        yield Note("the cluster record is missing in Redis", "it is restored from a majority of the disks")
        return
    there = len(store.announcements)
    reason = f"no committed cluster: {there} of {policy.size} nodes have announced themselves"
    if store.claim is not None:
        yield Note(reason, f"{name(store.claim.node)} is founding; it commits when {policy.majority} are mutual")
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


def strays(picture: Picture) -> Iterator[Note]:
    for member in picture.members:
        beats = member.heartbeat_age_seconds is not None
        if beats and member.mutual is False and member.held is None:
            yield Note(
                f"{member.node} beats, but is not a mutual member of the cluster",
                f"{member.node} repairs its membership by itself",
            )
        elif beats and member.registered is False:
            yield Note(f"{member.node} beats, but is not in the members set", "it registers with its next heartbeat")


def unseen(picture: Picture) -> Iterator[Note]:
    """Brokers that run and do not see each other: a cut between them."""
    views = known_views(picture.sources)
    for node, view in sorted(views.items()):
        for other in sorted(view.members - view.running - {node}):
            if other in views and other in views[other].running:
                yield Note(
                    f"{name(node)} does not see {name(other)}, which runs: a network cut or a fresh crash",
                    "the brokers find each other again when the network heals",
                    f"check the network between {name(node)} and {name(other)} (ports 4369 and 25672)",
                )


def identity(picture: Picture) -> Iterator[Note]:
    """Announcements whose id is not the recorded one, and configuration that differs."""
    store = picture.sources.store
    if store is None:
        return
    said = sorted(store.announcements.values(), key=lambda one: one.node)
    for one in said:
        proven = one.disk is DiskKind.DATA or one.disk is DiskKind.AMNESIC
        if proven and store.record is not None and one.cluster_id not in (None, store.record.cluster_id):
            yield Note(
                f"{name(one.node)} carries cluster id {shown(one.cluster_id or '', 60)}, Redis says "
                f"{shown(store.record.cluster_id, 60)}",
                "a majority of the disks decides which id is right",
            )
    if len({one.wanted for one in said if one.wanted and one.disk is DiskKind.DATA}) > 1:
        yield Note(
            "the members are configured with different accounts, passwords or definitions: nothing is provisioned",
            "provisioning goes on when all live members are configured alike",
            "give all members the same MQ_* settings and definitions file, and restart them one after another",
            restarts_mend=True,
        )
    elif (steward := picture.steward) and steward.stamp is not None and steward.wanted not in (None, steward.stamp):
        kept = "others are there than are configured" if steward.stamp else "there are none yet"
        yield Note(
            f"accounts, permissions and queues wait to be provisioned: {kept}",
            f"{name(steward.node)} provisions them, and tries again when that fails (its log says why)",
        )
    if len({one.cookie for one in said if one.cookie}) > 1:
        prints = ", ".join(f"{name(one.node)} {shown(one.cookie or '', 8)}" for one in said if one.cookie)
        yield Note(
            f"the Erlang cookies differ (fingerprints: {prints})",
            "nodes with another cookie cannot join",
            "give every node the same RABBITMQ_ERLANG_COOKIE and restart those that differ",
        )


def labels(picture: Picture) -> Iterator[Note]:
    store = picture.sources.store
    if store is None or store.record is None or picture.majority_lost:
        return
    by_name = {member.node: member for member in picture.members}
    if store.master is None:
        yield Note("no master is named", "the monitor names a live member within the TTL + 2 s")
    elif store.master not in by_name or not by_name[store.master].proven:
        yield Note(f"the master {name(store.master)} is not a live member", "the monitor moves the label")


def count(picture: Picture) -> Iterator[Note]:
    """Last: there may be too few or too many without any other trouble."""
    size, known = picture.sources.policy.size, len(picture.members)
    proven = sum(1 for member in picture.members if member.proven)
    store = picture.sources.store
    if store is None or picture.majority_lost:
        return
    if store.record is not None and known < size:
        missing = size - known
        yield Note(
            f"{proven} of {size} members are mutual and registered, {known} are known",
            f"a node with a blank disk joins by itself when it is started with RMQCLUSTER_SIZE={size}",
            f"start {missing} more node{'s' * (missing > 1)}, or set RMQCLUSTER_SIZE={known} on every node",
        )
    elif proven < size:
        yield Note(f"{proven} of {size} members are mutual and registered")
    elif known > size:
        yield Note(
            f"{known} members are known, RMQCLUSTER_SIZE is {size}",
            "",
            f"to grow: set RMQCLUSTER_SIZE={known} on every node; "
            "to shrink: rmqcluster drain N, stop N, rmqcluster forget N",
        )
    if size % 2 == 0:
        yield Note(f"RMQCLUSTER_SIZE is {size}: an even size bears no more losses than {size - 1}", harmless=True)
