"""What a supervisor remembers between ticks, and how an observation is put together from it.

Nothing here survives the process; what must survive is on the volume (marker, epoch) or in Redis.
"""

from dataclasses import dataclass, field, replace

from rmqcluster.agent.prober import Answers
from rmqcluster.agent.store_worker import Reading
from rmqcluster.core import evidence as e
from rmqcluster.core.actions import EndOperation
from rmqcluster.core.model import (
    Announcement,
    BrokerPhase,
    BrokerState,
    Disk,
    Looked,
    Observation,
    Operation,
    Policy,
    Stage,
    StoreView,
    View,
)
from rmqcluster.core.queues import QueueReport


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this supervisor is; fixed for the life of the process."""

    me: str
    instance: str
    host: str | None = None
    cookie: str | None = None  # fingerprint
    management: str | None = None
    http: str | None = None
    predecessor: str | None = None
    wanted_stamp: str | None = None


@dataclass(slots=True)
class Memory:
    """Facts that only this process has seen."""

    started_at: float
    stop_asked_at: float | None = None
    stop_signalled: bool = False
    stop_killed: bool = False
    seen_cluster_id: str | None = None
    owner_key: tuple[str, int] | None = None
    owner_moved_at: float = 0.0
    owner_moves: int = 0
    was_registered: bool = False
    strayed: bool = False
    lease_since: float | None = None
    marked: frozenset[str] = frozenset()
    act_failed_at: float | None = None
    tables_asked_at: float | None = None
    looked: Looked | None = None
    failures: int = 0
    failed_act: str = ""
    provision_failed_at: float | None = None
    handled: frozenset[str] = frozenset()
    ending: EndOperation | None = None  # told again until the record is gone
    held: tuple[Operation, float] | None = None  # the operation that I carry out, and when it is overdue
    queues: QueueReport | None = None
    queues_at: float = 0.0
    live: frozenset[tuple[str, str]] = frozenset()  # members that serve, and which run of their supervisor it is
    members_changed_at: float = 0.0
    rebalanced_at: float = 0.0
    missed_since: dict[str, float] = field(default_factory=dict)
    drained: bool = False
    stop_prepared: bool = False
    hopeless_since: float = 0.0
    provisioned_at: float = 0.0  # a stamp that was read before says nothing any more

    def learn(self, identity: Identity, now: float, view: StoreView) -> None:
        """Take from a reading what must be remembered beyond it."""
        if view.record is not None:
            self.seen_cluster_id = view.record.cluster_id
        for node, announced in sorted(view.announcements.items()):
            if node != identity.me and announced.has_identity and announced.cluster_id:
                self.seen_cluster_id = announced.cluster_id
        owner = view.owner
        key = (owner.instance, owner.sequence) if owner and owner.instance != identity.instance else None
        if key != self.owner_key:
            same_owner = key is not None and self.owner_key is not None and key[0] == self.owner_key[0]
            self.owner_moves = self.owner_moves + 1 if same_owner else 0
            self.owner_key, self.owner_moved_at = key, now
        mine = view.lease is not None and view.lease.instance == identity.instance
        self.lease_since = (self.lease_since or now) if mine else None
        self.marked = frozenset(n for n in self.marked if n not in view.heartbeats)
        said = view.announcements
        beating = view.members & view.heartbeats.keys()
        live = frozenset(
            (n, said[n].instance if n in said else "") for n in beating if n not in said or serves(said[n])
        )
        if live != self.live:
            self.live, self.members_changed_at = live, now

    def failed(self, act: str, now: float) -> None:
        self.act_failed_at, self.failures, self.failed_act = now, self.failures + 1, act

    def succeeded(self, act: str, only_looked: bool = False) -> None:
        """No failure counts any more; a look that succeeds says nothing of an act that failed."""
        if not only_looked or act == self.failed_act:
            self.act_failed_at, self.failures = None, 0

    def tables_seen(self, now: float, booting_since: float, why_not: str) -> None:
        """A look into the metadata of this boot; what was seen in an earlier boot says nothing of it."""
        before = self.looked
        same = before is not None and before.why_not == why_not and before.since >= booting_since
        self.looked = before if same else Looked(why_not, now)

    def end_again(self, store: StoreView | None) -> EndOperation | None:
        """An end that Redis did not hear, to be told until its record is gone."""
        if self.ending is None or store is None:
            return None
        if store.operation is None or store.operation.id != self.ending.operation.id:
            self.ending = None
        return self.ending

    def watch(self, now: float, view: View | None) -> None:
        """Since when my broker misses which members; an unknown changes nothing."""
        if view is not None:
            gone = view.members - view.running
            self.missed_since = {n: self.missed_since.get(n, now) for n in sorted(gone)}


def serves(announced: Announcement) -> bool:
    """Does this member take clients and leaders, as far as it says?"""
    return announced.broker is BrokerPhase.READY and announced.mutual is not False and not announced.drained


def observe(
    identity: Identity,
    policy: Policy,
    memory: Memory,
    now: float,
    disk: Disk,
    broker: BrokerState,
    reading: Reading,
    answers: Answers,
    busy: str | None,
) -> Observation:
    """One immutable picture of everything, at one moment."""
    if reading.view is not None:
        memory.learn(identity, now, reading.view)
    facts = answers.facts if broker.phase is BrokerPhase.READY else None
    memory.watch(now, facts.view if facts else None)
    if broker.phase is not BrokerPhase.READY:
        memory.drained = False  # maintenance does not outlive the broker's run
    o = Observation(
        now=now,
        policy=policy,
        me=identity.me,
        instance=identity.instance,
        started_at=memory.started_at,
        disk=disk,
        broker=replace(
            broker,
            stamp=facts.stamp if facts and answers.at >= memory.provisioned_at else None,
            broker_cluster_id=facts.broker_cluster_id if facts else None,
        ),
        store=reading.view,
        store_since=reading.since,
        steady_since=reading.steady_since,
        store_trouble=reading.trouble,
        store_refused=reading.refused,
        view=facts.view if facts else None,
        peer_views=_heard(answers, reading, now - 2 * policy.heartbeat_seconds),
        host=identity.host,
        cookie=identity.cookie,
        seen_cluster_id=memory.seen_cluster_id,
        claim_safe_until=reading.claim_safe_until,
        owner_moved_at=memory.owner_moved_at,
        owner_moves=memory.owner_moves,
        stop_asked_at=memory.stop_asked_at,
        stop_signalled=memory.stop_signalled,
        stop_killed=memory.stop_killed,
        busy=busy,
        wanted_stamp=identity.wanted_stamp,
        act_failed_at=memory.act_failed_at,
        tables_asked_at=memory.tables_asked_at,
        looked=memory.looked,
        failures=memory.failures,
        provision_failed_at=memory.provision_failed_at,
        hopeless_since=max(memory.started_at, memory.hopeless_since),
        predecessor=identity.predecessor,
        was_registered=memory.was_registered,
        strayed=memory.strayed,
        lease_since=memory.lease_since,
        marked=memory.marked,
        handled=memory.handled,
        queues=memory.queues,
        queues_at=memory.queues_at,
        members_changed_at=memory.members_changed_at,
        rebalanced_at=memory.rebalanced_at,
        missed_since=dict(memory.missed_since),
        drained=memory.drained,
        stop_prepared=memory.stop_prepared,
    )
    _conclude(memory, o)
    return o


def _heard(answers: Answers, reading: Reading, not_before: float) -> dict[str, View]:
    announced = reading.view.announcements if reading.view is not None else {}
    return answers.peer_views(announced, not_before)


def _conclude(memory: Memory, o: Observation) -> None:
    """Remember what only the whole picture tells."""
    if o.broker.phase is not BrokerPhase.DOWN or e.join_target(o) is not None or (o.store and o.store.claim):
        memory.hopeless_since = o.now
    if e.strayed(o):
        memory.strayed = True
    elif e.stage(o) is Stage.MEMBER:
        memory.strayed = False
