"""Observe, decide, act: one tick of a supervisor. No thread, no select and no clock of its own.

The same code runs in production, driven by `supervisor`, and in the simulation, driven by its scheduler.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from rmqcluster.agent.act import Hands, LongActs
from rmqcluster.agent.journal import Journal
from rmqcluster.agent.memory import Identity, Memory, observe
from rmqcluster.agent.ports import Beat, BrokerProcess, Clock, Commands, Store, Volume
from rmqcluster.agent.prober import Prober
from rmqcluster.agent.published import Published
from rmqcluster.agent.store_worker import StoreWorker
from rmqcluster.core import evidence as e
from rmqcluster.core import queues as q
from rmqcluster.core import upkeep as u
from rmqcluster.core.actions import ExitProcess
from rmqcluster.core.engine import Rule, decide
from rmqcluster.core.member_record import JOINS
from rmqcluster.core.member_rules import MEMBER_RULES
from rmqcluster.core.model import (
    Announcement,
    BrokerPhase,
    Decision,
    Disk,
    DiskKind,
    Exit,
    Marker,
    Observation,
    Operation,
    Policy,
    Stage,
)
from rmqcluster.core.monitor_conditions import cannot_act
from rmqcluster.core.monitor_rules import MONITOR_RULES
from rmqcluster.core.tables import missed_by, missed_now
from rmqcluster.errors import RmqclusterError


@dataclass(slots=True)
class Parts:
    """The adapters of one supervisor."""

    store: Store
    worker: StoreWorker
    prober: Prober
    volume: Volume
    broker: BrokerProcess
    commands: Commands
    long_acts: LongActs
    journal: Journal
    clock: Clock


class Agent:
    """One member's mind. `tick` may be called as often as one likes; only changes are said and written."""

    def __init__(self, identity: Identity, policy: Policy, parts: Parts) -> None:
        self._identity, self._policy, self._parts = identity, policy, parts
        self.memory = Memory(started_at=parts.clock.monotonic())
        self._hands = Hands(
            identity,
            self.memory,
            parts.clock,
            parts.store,
            parts.worker,
            parts.volume,
            parts.broker,
            parts.commands,
            parts.long_acts,
            parts.journal,
        )
        self._said: dict[str, tuple[int, str, str]] = {}
        self._warned: tuple[str, ...] = ()
        self._disk: Disk | None = None
        self._trouble = ""
        self.published: Published | None = None
        self.on_published: Callable[[Published], None] = lambda _published: None
        self.member_rules: tuple[Rule, ...] = MEMBER_RULES
        self.monitor_rules: tuple[Rule, ...] = MONITOR_RULES

    def ask_stop(self) -> None:
        """A stop was requested; asking twice changes nothing."""
        if self.memory.stop_asked_at is None:
            self.memory.stop_asked_at = self._parts.clock.monotonic()

    def broker_exits(self) -> tuple[Exit, ...]:
        """The unexpected ends of my broker that still count."""
        return self._parts.broker.state().exits

    def event(self, kind: str, text: str) -> None:
        """Write something that happened outside of a decision into log and history."""
        self._hands.event(kind, text)

    def tick(self) -> ExitProcess | None:
        """Observe once, decide by both tables, act. Returns the wish to end the process, if any."""
        o = self._remember_peers(self._observe())
        self._say_warnings(o)
        decision = decide(self.member_rules, o)
        monitors = o.store is not None and e.stage(o) is Stage.MEMBER
        monitor = decide(self.monitor_rules, o) if monitors else None
        self._say_change("member", decision)
        if ending := self.memory.end_again(o.store):
            self._parts.worker.submit(ending)
        self._announce(o, decision)
        self._publish(o, decision, monitor)  # before acting: an act that fails must not make the loop look dead
        leaving = self._hands.carry_out(o, decision)
        if monitor is not None and leaving is None:
            self._say_change("monitor", monitor)
            self._hands.carry_out(o, monitor)
        return leaving

    def _observe(self) -> Observation:
        parts = self._parts
        broker = parts.broker.state()
        if parts.prober.active != (broker.phase is BrokerPhase.READY):
            parts.prober.active = broker.phase is BrokerPhase.READY
            parts.prober.wake()
        return observe(
            self._identity,
            self._policy,
            self.memory,
            parts.clock.monotonic(),
            self._read_disk(),
            broker,
            parts.worker.reading(),
            parts.prober.answers(broker.since),
            parts.long_acts.busy,
        )

    def _read_disk(self) -> Disk:
        """The volume as it is; as it was, while it cannot be read under a running broker."""
        try:
            self._disk = self._parts.volume.read()
        except RmqclusterError as error:
            if self._disk is None or self._parts.broker.state().phase is BrokerPhase.DOWN:
                raise
            self._tell_trouble(str(error))
        return self._disk

    def _tell_trouble(self, text: str) -> None:
        if text != self._trouble:
            self._trouble = text
            self._parts.journal.say(f"{text}; the broker goes on", kind="trouble")

    def _announce(self, o: Observation, decision: Decision) -> None:
        registered = e.registers(o)
        self.memory.was_registered = registered
        marker = o.disk.marker
        listed = o.view.members if o.view is not None else frozenset(marker.members if marker else ())
        announcement = Announcement(
            node=o.me,
            instance=o.instance,
            disk=o.disk.kind,
            broker=o.broker.phase,
            cluster_id=o.disk.cluster_id,
            host=o.host,
            version=o.broker.version,
            cookie=o.cookie,
            mutual=e.is_mutual(o),
            view=o.view,
            listed=listed,
            epoch_high=o.disk.epoch_high,
            management=self._identity.management,
            http=self._identity.http,
            state=decision.state,
            held=decision.held,
            wanted=o.wanted_stamp,
            stamp=o.broker.stamp,
            missed=missed_by(o)[o.me],
            drained=o.drained,
            notes=self._notes(o),
            findings=tuple(f"{n} {u.obstacle(o, n)}" for n in u.wiped(o)) if u.is_steward(o) else (),
            whole=self._whole(o),
        )
        founding = e.stage(o) is Stage.FOUNDING or o.disk.kind in (DiskKind.BLANK, DiskKind.UNCOMMITTED)
        keep_claim = founding and o.stop_asked_at is None
        operation, left = self._held_operation(o)
        beat = Beat(announcement, registered, not cannot_act(o), keep_claim, operation, left)
        self._parts.worker.announce(beat)
        quiet = registered and o.store is not None and o.busy is None and not e.somebody_on_the_way(o)
        self._parts.worker.settled = quiet or decision.held is not None
        self._parts.prober.settled = quiet

    def _notes(self, o: Observation) -> tuple[str, ...]:
        """What the last look at the queues found; the steward says it for everybody."""
        if o.queues is None or not u.is_steward(o):
            return ()
        return q.facts_in_words(o.queues, o.policy.replicas)

    def _whole(self, o: Observation) -> frozenset[str]:
        """Which runs of the members the last look found whole; nobody while one of them is missed."""
        complete = o.view is not None and o.view.members <= o.view.running
        if not u.is_steward(o) or not complete or not u.is_whole(o):
            return frozenset()
        return frozenset(instance for _, instance in self.memory.live or ())

    def _held_operation(self, o: Observation) -> tuple[Operation | None, float]:
        """What I carry out, or am joining under, and how long it may still take."""
        mine = e.operation_on_me(o, *JOINS)
        if mine is not None and o.store is not None and o.broker.phase is BrokerPhase.STARTING:
            self.memory.held = (mine, o.store.at + o.store.operation_left_seconds)
        elif o.busy is None and o.broker.phase is not BrokerPhase.STARTING:
            self.memory.held = None
        if self.memory.held is None or self.memory.held[1] <= o.now:
            return None, 0.0
        return self.memory.held[0], self.memory.held[1] - o.now

    def _remember_peers(self, o: Observation) -> Observation:
        """Keep on disk whom my broker lists and where they answer, for the time when Redis is away or empty.

        It is written before it is announced: nobody counts on a member whose disk does not know it yet.
        """
        marker = o.disk.marker
        proven = marker is not None and (marker.stage is not Stage.MEMBER or e.is_mutual(o) is True)
        if marker is not None and proven and o.view is not None:
            known = dict(marker.peers) | {n: x.management for n, x in e.others(o).items() if x.management}
            peers = tuple(sorted((n, known[n]) for n in o.view.members if n in known))
            hosts = self._hosts(o, marker)
            missed = missed_now(o.view, marker.missed)
            fresh = replace(marker, members=tuple(sorted(o.view.members)), peers=peers, hosts=hosts, missed=missed)
            if fresh != marker:
                o = self._keep_marker(o, fresh)
        unheard = o.store is None or e.is_mutual(o) is not True
        wanted = dict(marker.peers) if marker is not None and unheard else {}
        self._parts.prober.want_peers({n: where for n, where in wanted.items() if n != o.me})
        return o

    def _hosts(self, o: Observation, marker: Marker) -> tuple[tuple[str, str], ...]:
        """Where each member's good disk was last seen: only a proven member's word counts."""
        seen = dict(marker.hosts)
        if o.host is not None and marker.stage is Stage.MEMBER:
            seen[o.me] = o.host
        seen |= {n: x.host for n, x in e.others(o).items() if x.host and x.mutual and x.disk is DiskKind.DATA}
        listed = o.view.members if o.view is not None else frozenset(seen)
        return tuple(sorted((n, host) for n, host in seen.items() if n in listed))

    def _keep_marker(self, o: Observation, fresh: Marker) -> Observation:
        try:
            self._parts.volume.write_marker(fresh)
        except RmqclusterError as error:
            self._tell_trouble(str(error))
            return o
        return replace(o, disk=replace(o.disk, marker=fresh))

    def _say_warnings(self, o: Observation) -> None:
        warnings = o.store.warnings if o.store is not None else self._warned
        for warning in sorted(set(warnings) - set(self._warned)):
            self._parts.journal.say(warning, kind="warning")
        self._warned = warnings

    def _say_change(self, who: str, decision: Decision) -> None:
        """Another rule that says the same is no news."""
        before, said = self._said.get(who), (decision.rule, decision.held or decision.state, decision.reason)
        self._said[who] = said
        is_news = before is None or (before[:2] != said[:2] and before[1:] != said[1:])
        if is_news and (who == "member" or decision.actions or decision.state):
            self._parts.journal.say(decision.held or decision.reason, kind=decision.state or who, rule=decision.rule)

    def _publish(self, o: Observation, decision: Decision, monitor: Decision | None) -> None:
        registered = o.store is not None and o.me in o.store.members and o.me in o.store.heartbeats
        self.published = Published(o.now, o, decision, monitor, e.is_mutual(o), registered)
        self.on_published(self.published)
