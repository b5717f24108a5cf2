"""The failover monitor without a broker: it asks the members' brokers, judges, and moves labels under its lease.

What needs a broker (queues, provisioning, forgetting) stays with the master while this one holds the lease.
"""

import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import replace
from signal import SIGINT, SIGTERM

from rmqcluster.agent.act import STORE_ACTIONS, end_of_failover
from rmqcluster.agent.journal import Journal
from rmqcluster.agent.memory import Identity, Memory
from rmqcluster.agent.ports import Beat, Clock, Event
from rmqcluster.agent.prober import Prober
from rmqcluster.agent.store_worker import StoreWorker
from rmqcluster.agent.threads import Stepper
from rmqcluster.agent.watcher import ExpiryWatcher, Watcher
from rmqcluster.agent.wiring import MonotonicClock
from rmqcluster.broker.management import ManagementApi
from rmqcluster.config.load import load
from rmqcluster.config.settings import Settings
from rmqcluster.core import actions as a
from rmqcluster.core import evidence as e
from rmqcluster.core.engine import decide
from rmqcluster.core.model import (
    BrokerPhase,
    BrokerState,
    Decision,
    Disk,
    Marker,
    Observation,
    Policy,
    Stage,
    View,
)
from rmqcluster.core.monitor_conditions import cannot_act
from rmqcluster.core.monitor_rules import MONITOR_RULES
from rmqcluster.errors import ConfigurationError, ExitCode, RmqclusterError
from rmqcluster.process.signals import Wakeup
from rmqcluster.store.redis_store import RedisStore

TURN_SECONDS = 1.0
FAREWELL_SECONDS = 1.0


class LoneMonitor:
    """Observe, decide by the monitor's table, act on Redis. `tick` may be called as often as one likes."""

    def __init__(
        self, identity: Identity, policy: Policy, worker: StoreWorker, prober: Prober, clock: Clock, journal: Journal
    ) -> None:
        self._identity, self._policy = identity, policy
        self._worker, self._prober, self._clock, self._journal = worker, prober, clock, journal
        self._memory = Memory(started_at=clock.monotonic())
        self._epoch = 0
        self._said: tuple[int, str] | None = None
        worker.on_act = self._store_act_done
        prober.active = prober.settled = worker.settled = True

    def tick(self) -> Decision:
        """One turn; returns what was decided."""
        o = self._observe()
        self._prober.want_peers({n: x.management for n, x in e.others(o).items() if x.management})
        decision = decide(MONITOR_RULES, o)
        self._worker.announce(Beat(None, False, not cannot_act(o), False))
        if ending := self._memory.end_again(o.store):
            self._worker.submit(ending)
        if (decision.rule, decision.state) != self._said:
            self._said = (decision.rule, decision.state)
            self._journal.say(decision.reason, kind="monitor", rule=decision.rule)
        for action in decision.actions:
            self._act(action, decision)
        return decision

    def leave(self) -> None:
        """Give the lease back."""
        self._worker.announce(Beat(None, False, False, False))
        self._worker.submit(a.ReleaseLease("the monitor stops"))

    def _observe(self) -> Observation:
        now, reading = self._clock.monotonic(), self._worker.reading()
        if reading.view is not None:
            self._memory.learn(self._identity, now, reading.view)
        peers = self._prober.answers(0.0).peer_views()
        base = Observation(
            now=now,
            policy=self._policy,
            me=self._identity.me,
            instance=self._identity.instance,
            started_at=self._memory.started_at,
            disk=Disk(False),
            broker=BrokerState(BrokerPhase.READY),
            store=reading.view,
            store_since=reading.since,
            steady_since=reading.steady_since,
            store_trouble=reading.trouble,
            peer_views=peers,
            standalone=True,
        )
        view = self._borrowed_view(base)
        self._memory.watch(now, view)
        cluster_id = e.committed_id(base)
        marker = Marker(cluster_id, Stage.MEMBER, self._epoch) if cluster_id is not None else None
        return replace(
            base,
            view=view,
            disk=Disk(marker is not None, marker, self._epoch),
            marked=self._memory.marked,
            handled=self._memory.handled,
            missed_since=dict(self._memory.missed_since),
        )

    def _borrowed_view(self, o: Observation) -> View | None:
        """That of the master, else of the first member that answered; only one that sees a majority will do."""
        master = o.store.master if o.store is not None else None
        good = {n: v for n, v in o.peer_views.items() if v.sees_majority()}
        first = master if master in good else min(good, default=None)
        return good[first] if first is not None else None

    def _act(self, action: object, decision: Decision) -> None:
        if isinstance(action, a.RaiseEpoch):
            self._epoch = max(self._epoch, action.epoch)
        elif isinstance(action, a.Report):
            self._memory.marked |= {action.key.removeprefix("marked ")}
            self._event("report", action.text, decision.rule)
        elif isinstance(action, STORE_ACTIONS):
            self._worker.submit(action)

    def _event(self, kind: str, text: str, rule: int = 0, epoch: int = 0) -> None:
        self._journal.say(text, kind=kind, rule=rule, epoch=epoch)
        self._worker.submit(Event(self._identity.me, kind, text, rule, epoch))

    def _store_act_done(self, action: a.StoreAction, done: bool) -> None:
        ending = end_of_failover(action, done)
        if ending is not None:
            self._memory.handled |= {ending.operation.id}
            self._memory.ending = ending
            self._worker.submit(ending)
        if isinstance(action, a.EndOperation) and done:
            told = Event(self._identity.me, action.outcome, action.text, operation=action.operation.id)
            self._worker.submit(told)
        text = "the monitor lease is mine" if isinstance(action, a.TakeLease) else getattr(action, "reason", "")
        if isinstance(action, a.RemoveMember):
            text = f"LOST {action.node}: {action.reason}"
        if done and text:
            self._event(type(action).__name__, text, epoch=getattr(action, "epoch", 0))


def run_monitor(environ: Mapping[str, str] | None = None) -> int:
    """Watch until SIGTERM or SIGINT; returns the exit code."""
    environment = dict(os.environ if environ is None else environ)
    journal = Journal(f"monitor@{socket.gethostname()}", environment.get("RMQCLUSTER_LOG", ""))
    with Wakeup() as wakeup:
        journal.start()
        try:
            settings = load(environment, role="client")
            if not settings.cookie:
                raise ConfigurationError("RABBITMQ_ERLANG_COOKIE: required; the members' brokers answer with it only")
            return _watch(settings, journal, wakeup)
        except RmqclusterError as error:
            journal.say(str(error), kind="refused")
            return int(error.exit_code)
        finally:
            journal.stop()


def _watch(settings: Settings, journal: Journal, wakeup: Wakeup) -> int:
    clock, instance = MonotonicClock(), uuid.uuid4().hex
    name = f"monitor-{instance[:8]}@{socket.gethostname()}"
    store = RedisStore(settings, node=name, instance=instance)
    worker = StoreWorker(store, settings.policy, clock, instance)
    prober = Prober(ManagementApi(settings), settings.policy, clock)
    monitor = LoneMonitor(Identity(name, instance), settings.policy, worker, prober, clock, journal)
    speaking = Stepper("store", worker.step, journal)
    asking = Stepper("prober", prober.step_peers, journal)
    watching = Stepper("watcher", Watcher(store, settings.policy, speaking.wake).step, journal)
    expiring = Stepper("expiry", ExpiryWatcher(store, settings.policy, speaking.wake).step, journal)
    worker.wake, prober.wake = speaking.wake, asking.wake
    worker.on_reading = prober.on_answer = wakeup.wake
    steppers = (speaking, asking, watching, expiring)
    _turn_until_stopped(monitor, steppers, wakeup)
    monitor.leave()
    worker.drain(FAREWELL_SECONDS)
    for stepper in steppers:
        stepper.stop(0.0)
    journal.say("stopped on request", kind="stopped")
    return int(ExitCode.OK)


def _turn_until_stopped(monitor: LoneMonitor, steppers: tuple[Stepper, ...], wakeup: Wakeup) -> None:
    while True:
        for stepper in steppers:
            stepper.start()
        monitor.tick()
        wakeup.wait(TURN_SECONDS)
        if {SIGTERM, SIGINT} & wakeup.drain():
            return
