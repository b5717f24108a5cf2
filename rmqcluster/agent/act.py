"""One executor for each action. An action does what its record says, or raises a named error; it decides nothing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from rmqcluster.agent.journal import Journal
from rmqcluster.agent.memory import Identity, Memory
from rmqcluster.agent.performer import Performer
from rmqcluster.agent.ports import Boot, BrokerProcess, Clock, Commands, Event, Store, Volume
from rmqcluster.agent.store_worker import StoreWorker
from rmqcluster.core import actions as a
from rmqcluster.core.model import Decision, Marker, Observation, Purpose, Stage
from rmqcluster.core.operations import KINDS, step
from rmqcluster.errors import CommandFailed, RmqclusterError, StoreUnavailable

STORE_ACTIONS = (
    a.ClaimFounding,
    a.AbandonClaim,
    a.CommitFounding,
    a.RestoreRecord,
    a.TakeOwnership,
    a.TakeLease,
    a.ReleaseLease,
    a.RemoveMember,
    a.SetMaster,
    a.StartOperation,
    a.ClaimOperation,
    a.ReadyOperation,
    a.EndOperation,
    a.ForgetName,
    a.OfferFounder,
    a.Leave,
)


def end_of_failover(act: a.StoreAction, done: bool) -> a.EndOperation | None:
    """A label that moved on a person's word ends the operation that asked for it."""
    if isinstance(act, a.SetMaster) and act.operation is not None and done:
        return a.EndOperation(act.operation, "done", act.reason)
    return None


class LongActs(Protocol):
    """Runs one long act at a time, off the loop."""

    @property
    def busy(self) -> str | None: ...

    def run(self, name: str, act: Callable[[], None]) -> None: ...


class Hands:
    """Everything an action may touch."""

    def __init__(
        self,
        identity: Identity,
        memory: Memory,
        clock: Clock,
        store: Store,
        worker: StoreWorker,
        volume: Volume,
        broker: BrokerProcess,
        commands: Commands,
        long_acts: LongActs,
        journal: Journal,
    ) -> None:
        self._identity, self._memory, self._clock, self._store = identity, memory, clock, store
        self._worker, self._volume, self._broker = worker, volume, broker
        self._commands, self._long_acts, self._journal = commands, long_acts, journal
        self._executors: dict[type, Callable[[Any, Observation, Decision], None]] = {
            a.WriteMarker: self._write_marker,
            a.RaiseEpoch: lambda act, _o, _d: self._volume.raise_epoch(act.epoch),
            a.StartBroker: self._start,
            a.StopBroker: self._stop,
            a.KillBroker: self._kill,
            a.JoinByCommand: self._join_by_command,
            a.Provision: self._provision,
            a.Inspect: self._inspect,
            a.LoadTables: self._load_tables,
            a.Perform: self._perform,
            a.SetAside: self._set_aside,
            a.Report: self._report,
            a.ExitProcess: lambda _act, _o, _d: None,
            **dict.fromkeys(STORE_ACTIONS, lambda act, _o, _d: self._worker.submit(act)),
        }
        worker.on_act = self._store_act_done
        self._performer = Performer(
            identity, memory, clock, store, volume, commands, worker.submit, self._tell_operation
        )

    def carry_out(self, o: Observation, decision: Decision) -> a.ExitProcess | None:
        """Do the actions in order. Returns the wish to exit, if there is one."""
        leaving = None
        for act in decision.actions:
            self._executors[type(act)](act, o, decision)
            leaving = act if isinstance(act, a.ExitProcess) else leaving
        return leaving

    def _record(self, kind: str, text: str, rule: int = 0, epoch: int = 0) -> None:
        """Into the history alone: the decision that led here has said it in the log."""
        self._worker.submit(Event(self._identity.me, kind, text, rule, epoch))

    def event(self, kind: str, text: str, rule: int = 0, epoch: int = 0, operation: str = "") -> None:
        """Say it in the log and write it into the history."""
        self._journal.say(text, kind=kind, rule=rule, epoch=epoch)
        self._worker.submit(Event(self._identity.me, kind, text, rule, epoch, operation))

    def _tell_operation(self, kind: str, text: str, operation: str) -> None:
        self.event(kind, text, operation=operation)

    def _write_marker(self, act: a.WriteMarker, o: Observation, d: Decision) -> None:
        old = o.disk.marker
        marker = Marker(act.cluster_id, act.stage, act.epoch, self._identity.host)
        if old is not None and old.cluster_id == act.cluster_id:
            marker = replace(old, stage=act.stage, epoch=max(act.epoch, old.epoch), host=self._identity.host)
        self._volume.write_marker(marker)
        self._volume.raise_epoch(act.epoch)
        self._record("member" if act.stage is Stage.MEMBER else str(act.stage), d.reason, d.rule, act.epoch)

    def _start(self, act: a.StartBroker, o: Observation, d: Decision) -> None:
        if act.fresh:
            self._volume.empty()
            self._memory.strayed = False
        if act.purpose is not Purpose.DATA:
            assert act.cluster_id is not None, "a founding or a join always has an id"
            stage = Stage.FOUNDING if act.purpose is Purpose.FOUND else Stage.JOINING
            self._volume.write_marker(Marker(act.cluster_id, stage, act.epoch, self._identity.host))
        self._broker.start(Boot(act.purpose, act.cluster_id, act.target))
        self._record("boot", d.reason, d.rule, act.epoch)

    def _stop(self, act: a.StopBroker, o: Observation, d: Decision) -> None:
        self._memory.stop_signalled = o.stop_asked_at is not None
        self._broker.terminate()
        self._record("stop", act.reason, d.rule)

    def _kill(self, act: a.KillBroker, o: Observation, d: Decision) -> None:
        self._memory.stop_killed = o.stop_asked_at is not None
        self._broker.kill()
        self.event("kill", act.reason, d.rule)

    def _report(self, act: a.Report, o: Observation, d: Decision) -> None:
        if act.key.startswith("marked "):
            self._memory.marked |= {act.key.removeprefix("marked ")}
        self._record("report", act.text, d.rule)

    def _join_by_command(self, act: a.JoinByCommand, o: Observation, d: Decision) -> None:
        self._long("join", lambda: self._commands.join(act.target), d)

    def _provision(self, act: a.Provision, o: Observation, d: Decision) -> None:
        seen = o.store.lease if o.store is not None else None

        def provision() -> None:
            lease = self._store.read_lease()
            if lease is None or lease != seen:
                raise CommandFailed("provisioning was not begun: the lease has moved", exit_status=None)
            self._commands.provision(act.cluster_id)
            self._memory.provisioned_at = self._clock.monotonic()
            self._memory.queues = None

        self._long("provision", provision, d, act.epoch)

    def _inspect(self, act: a.Inspect, o: Observation, d: Decision) -> None:
        def look() -> None:
            asked_at = self._clock.monotonic()
            self._memory.queues, self._memory.queues_at = self._commands.queues(), asked_at

        self._long("look", look, d, quiet=True)

    def _load_tables(self, act: a.LoadTables, o: Observation, d: Decision) -> None:
        def load() -> None:
            self._memory.tables_asked_at = now = self._clock.monotonic()
            try:
                why_not = self._commands.load_tables(act.missed)
            except CommandFailed as error:
                self.event("failed", f"load tables: {error}", d.rule)
            else:
                if not why_not:
                    self.event("load tables", f"done: {d.reason}", d.rule)
                self._memory.tables_seen(now, o.broker.since, why_not)

        self._long("load tables", load, d, quiet=True)

    def _perform(self, act: a.Perform, o: Observation, d: Decision) -> None:
        if self._long_acts.busy is not None:
            return
        left = o.store.operation_left_seconds if o.store is not None else 0.0
        self._memory.handled |= {step(act.operation, act.part)}
        claimed = act.part == 1 and not KINDS[act.operation.kind].by_subject
        mine = replace(act.operation, executor=self._identity.me) if claimed else act.operation
        self._memory.held = (mine, o.now + left)
        self.event("begin", d.reason, d.rule, act.epoch, act.operation.id)
        self._long_acts.run(str(act.operation.kind), lambda: self._performer.run(act, o))

    def _set_aside(self, act: a.SetAside, o: Observation, d: Decision) -> None:
        kept = self._volume.set_aside()
        self._memory.handled |= {act.operation.id}
        self.event("rejoin", f"{d.reason}: {kept}", d.rule, operation=act.operation.id)

    def _long(self, name: str, act: Callable[[], None], d: Decision, epoch: int = 0, quiet: bool = False) -> None:
        """Run `act` on the worker; its failure is told, its success unless it is `quiet`."""
        if self._long_acts.busy is not None:
            return

        def guarded() -> None:
            try:
                act()
            except (CommandFailed, StoreUnavailable, RmqclusterError) as error:
                self._failed(name)
                self.event("failed", f"{name}: {error}", d.rule, epoch)
            else:
                self._memory.succeeded(name, only_looked=quiet)
                if not quiet:
                    self.event(name, f"done: {d.reason}", d.rule, epoch)

        self._long_acts.run(name, guarded)

    def _failed(self, name: str) -> None:
        now = self._clock.monotonic()
        if name == "provision":
            self._memory.provision_failed_at = now
        else:
            self._memory.failed(name, now)

    def _store_act_done(self, act: a.StoreAction, done: bool) -> None:
        ending = end_of_failover(act, done)
        if ending is not None:
            self._memory.handled |= {ending.operation.id}
            self._memory.ending = ending
            self._worker.submit(ending)
        said = {
            a.ClaimFounding: "the founding claim is mine",
            a.CommitFounding: "the cluster is committed",
            a.TakeLease: "the monitor lease is mine",
            a.TakeOwnership: "took over the name: its last owner is dead",
            a.RestoreRecord: "the cluster record was rebuilt from the disks",
        }
        text = getattr(act, "reason", "") or said.get(type(act), "")
        if isinstance(act, a.RemoveMember):
            text = f"LOST {act.node}: {act.reason}"
        if isinstance(act, a.EndOperation):
            if done:
                self.event(act.outcome, act.text, epoch=act.operation.epoch, operation=act.operation.id)
        elif isinstance(act, a.StartOperation):
            if done:
                self.event("operation", f"{act.kind} {act.subject}".strip() + (f": {act.why}" if act.why else ""))
        elif done and text:
            self.event(type(act).__name__, text, epoch=getattr(act, "epoch", 0))
