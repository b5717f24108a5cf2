"""Carries out operations: guards looked at again right before, one broker command each, an end that is always told.

An end is *done*, *failed* or *refused*, and takes the record away. A command that did not answer in time is
unknown: the record then stays until its deadline, and nothing else starts before.
"""

from collections.abc import Callable
from dataclasses import replace

from rmqcluster.agent.memory import Identity, Memory
from rmqcluster.agent.ports import Clock, Commands, Store, Volume
from rmqcluster.core import queues as q
from rmqcluster.core import upkeep as u
from rmqcluster.core.actions import (
    ClaimOperation,
    EndOperation,
    ForgetName,
    Perform,
    ReadyOperation,
    StoreAction,
)
from rmqcluster.core.model import BrokerPhase, DiskKind, Marker, Observation, Operation, OperationKind, Stage, StoreView
from rmqcluster.core.operations import CATCH_UP_SECONDS, STOPPING_TAKES_SECONDS, recovered_id, step
from rmqcluster.errors import CommandFailed, OperationRefused, RmqclusterError, StoreUnavailable

Tell = Callable[[str, str, str], None]  # kind, text, id of the operation


class NotMine(RmqclusterError):
    """The record is gone, or somebody else may carry it out now."""


class NotYet(RmqclusterError):
    """What it needs is about to come, so nothing was begun."""


class NotSeen(RmqclusterError):
    """The queues could not be read, so nothing was begun."""


class Performer:
    """`run` is one operation from its last check to its end; it is called off the loop."""

    def __init__(
        self,
        identity: Identity,
        memory: Memory,
        clock: Clock,
        store: Store,
        volume: Volume,
        commands: Commands,
        submit: Callable[[StoreAction], None],
        tell: Tell,
    ) -> None:
        self._me, self._memory, self._clock = identity.me, memory, clock
        self._host = identity.host
        self._store, self._volume, self._commands = store, volume, commands
        self._submit, self._tell = submit, tell
        self._acts: dict[OperationKind, Callable[[Perform, Observation], str]] = {
            OperationKind.STOP: self._stop,
            OperationKind.DRAIN: self._drain,
            OperationKind.REVIVE: self._revive,
            OperationKind.FORGET: self._forget,
            OperationKind.REPLACE: self._forget,
            OperationKind.GROW: self._grow,
            OperationKind.REBALANCE: self._rebalance,
            OperationKind.RECOVER: self._recover,
            OperationKind.JOIN: self._admit,
            OperationKind.REJOIN: self._admit,
        }

    def run(self, act: Perform, o: Observation) -> None:
        """Never raises what is expected: every end is an event, and takes the record away unless it is unknown."""
        operation = act.operation
        try:
            self._still_mine(act, o)
            text = self._acts[operation.kind](act, o)
        except NotMine as moved:
            self._memory.handled -= {step(operation, act.part)}
            self._fail("waiting", f"{operation.kind} was not begun here: {moved}", operation)
        except NotYet as reason:
            self._memory.handled -= {step(operation, act.part)}
            self._memory.act_failed_at = self._clock.monotonic()  # it is looked at again soon, and nothing failed
            self._tell("waiting", f"{operation.kind} was not begun yet: {reason}", operation.id)
        except OperationRefused as refusal:
            self._end(EndOperation(operation, "refused", str(refusal)), failed=True)
        except (StoreUnavailable, NotSeen) as error:
            self._memory.handled -= {step(operation, act.part)}  # nothing was begun: it is looked at again
            self._fail("failed", f"{operation.kind} was not begun: {error}", operation)
        except RmqclusterError as error:
            if operation.kind is OperationKind.STOP or act.part > 1:
                self._memory.handled -= {step(operation, act.part)}
                self._fail("waiting", f"{operation.kind}: {error}", operation)  # it is tried again
            elif isinstance(error, CommandFailed) and error.timed_out:
                self._fail("unknown", f"{error}; nothing else starts before its deadline", operation)
            else:
                self._end(EndOperation(operation, "failed", str(error)), failed=True)
        except Exception as bug:
            self._fail("bug", f"{operation.kind}: {bug!r}; its record stays until its deadline", operation)
            raise
        else:
            self._memory.succeeded(operation.kind)
            if text:
                self._end(EndOperation(operation, "done", text), failed=False)

    def _end(self, end: EndOperation, failed: bool) -> None:
        if failed:
            self._memory.failed(end.operation.kind, self._clock.monotonic())
        self._memory.ending = end
        self._submit(end)

    def _fail(self, kind: str, text: str, operation: Operation) -> None:
        self._memory.failed(operation.kind, self._clock.monotonic())
        self._tell(kind, text, operation.id)

    def _still_mine(self, act: Perform, o: Observation) -> None:
        """The record, and the lease under which it is done for the cluster, as they are at this moment (S12).

        What the lease holder may do is claimed in the record: the next holder leaves it alone until its deadline.
        """
        operation, now = act.operation, self._store.read_operation()
        if now is None or now.id != operation.id:
            raise NotMine("its record is gone")
        lease = self._store.read_lease() if act.epoch else None
        if act.epoch and lease != (o.store.lease if o.store else None):
            raise NotMine("the lease has moved")
        if act.part == 1 and operation.executor == "":
            mine = lease is not None and lease.node == self._me
            if not self._store.apply(ClaimOperation(operation, act.epoch if mine else 0)):
                raise NotMine("somebody else has begun it")

    def _stop(self, act: Perform, o: Observation) -> str:
        """Leaders away. The record stays: it ends when this member has left."""
        critical = q.critical_without(self._commands.queues(), self._me)
        if critical:
            raise CommandFailed(f"needed by {u.listed(critical)}", exit_status=None)
        asked_at = o.stop_asked_at if o.stop_asked_at is not None else o.now
        left = asked_at + o.policy.stop_seconds - STOPPING_TAKES_SECONDS - self._clock.monotonic()
        if left > 0:
            self._commands.prepare_stop(left)
        self._memory.stop_prepared = True
        return ""

    def _drain(self, act: Perform, o: Observation) -> str:
        away = [n for n, a in (o.store or StoreView()).announcements.items() if a.drained and n != self._me]
        if away:
            raise OperationRefused(f"{', '.join(away)} is in maintenance already: rmqcluster revive it first")
        critical = q.critical_without(self._look(), self._me)
        if critical:
            raise OperationRefused(f"{self._me} is needed by {u.listed(critical)}: try again when they are caught up")
        self._memory.drained = True  # also when its end is unknown: no leader and no replica is sent there
        try:
            self._commands.drain()
        except CommandFailed as error:
            self._memory.drained = error.timed_out
            raise
        return f"{self._me} is in maintenance: no client, no leader"

    def _revive(self, act: Perform, o: Observation) -> str:
        self._commands.revive()
        self._memory.drained = False
        return f"{self._me} serves again"

    def _forget(self, act: Perform, o: Observation) -> str:
        """Checked on a fresh look at the queues and a fresh reading; returns when nothing lists the subject."""
        if act.part > 1:
            return self._grow_for_join(act, o)
        operation, report = act.operation, self._look()
        node = operation.subject
        self._check_gone(node, report, replaced=operation.kind is OperationKind.REPLACE)
        self._check_spared(node, report, operation, o)
        dying = () if operation.consent else q.dies_with(report, node)
        if dying:
            raise OperationRefused(f"{node} holds the only copy of {u.listed(dying)}")
        self._still_mine(act, o)
        if node in report.members or any(stray == node for _, stray in q.strays(report)):
            self._commands.forget(node)
        self._memory.queues = None
        if operation.kind is OperationKind.REPLACE:
            return self._let_in(operation)
        if act.epoch:
            self._submit(ForgetName(node, act.epoch))
        return f"{node} is no member any more"

    def _check_spared(self, node: str, report: q.QueueReport, operation: Operation, o: Observation) -> None:
        """No queue may lose its majority with `node`; one whose other replicas only have to catch up is waited for.

        A leader that died while it took over leaves its queue without one for half a minute (measured on 3.10.8).
        """
        critical = q.critical_without(report, node)
        if not critical:
            return
        taken_seconds_ago = operation.seconds - (o.store.operation_left_seconds if o.store is not None else 0.0)
        if taken_seconds_ago < CATCH_UP_SECONDS and not q.critical_without(report, node, in_the_end=True):
            raise NotYet(f"it waits for other replicas of {u.listed(critical)} to catch up")
        raise OperationRefused(f"without {node} no majority is left for {u.listed(critical)}: bring replicas back")

    def _check_gone(self, node: str, report: q.QueueReport, replaced: bool) -> None:
        """A node that lives, by anybody's word, is never taken out; the broker would accept a paused one (facts M6)."""
        view = self._store.snapshot()
        said = view.announcements.get(node)
        seen = sorted(n for n, a in view.announcements.items() if n != node and a.view and node in a.view.running)
        if node == self._me or node in report.running or node in view.heartbeats or seen:
            by = f", says {', '.join(seen)}" if seen else ""
            raise OperationRefused(f"{node} runs{by}: only a member that is down can be taken out")
        if said is not None and said.broker is not BrokerPhase.DOWN:
            raise OperationRefused(f"the broker of {node} is {said.broker}: stop it first")
        if not replaced:
            return
        if said is None or said.disk in (DiskKind.DATA, DiskKind.UNMARKED):
            words = "it is not heard" if said is None else "it announces a disk with data"
            raise OperationRefused(f"{node} cannot be replaced: {words}; start it with an empty volume first")

    def _admit(self, act: Perform, o: Observation) -> str:
        """A blank node joins under a name that nothing lists: as an amnesiac voter it could lose messages (S4)."""
        if act.part > 1:
            return self._grow_for_join(act, o)
        subject, asked_at = act.operation.subject, self._clock.monotonic()
        report = self._look()
        self._memory.queues, self._memory.queues_at = report, asked_at
        listed = q.replicas_on(report, subject)
        if listed:
            raise OperationRefused(f"{subject} is still a replica of {u.listed(listed)}: its old self goes first")
        return self._let_in(act.operation)

    def _let_in(self, operation: Operation) -> str:
        """The record stays until its subject is a member and caught up."""
        if not self._store.apply(ReadyOperation(operation)):
            raise NotMine("its record is gone")
        return ""

    def _look(self) -> q.QueueReport:
        try:
            return self._commands.queues()
        except CommandFailed as error:
            raise NotSeen(str(error)) from error

    def _grow(self, act: Perform, o: Observation) -> str:
        self._memory.queues = None
        self._commands.grow()
        return "every queue has its replicas on the running members"

    def _grow_for_join(self, act: Perform, o: Observation) -> str:
        self._memory.queues = None
        self._commands.grow()
        return ""

    def _rebalance(self, act: Perform, o: Observation) -> str:
        seen = o.queues if u.is_whole(o) else None
        self._commands.rebalance(replace(seen, running=u.usable(o)) if seen is not None else None)
        self._memory.rebalanced_at = self._clock.monotonic()
        self._memory.queues = None
        return "queue leaders are spread over the running members"

    def _recover(self, act: Perform, o: Observation) -> str:
        """Going on alone, one step at a time; the last one gives the cluster a new id, so that no old disk fits."""
        if act.part == 1:
            self._commands.prepare_boot()
            return ""
        if act.part == 2:
            self._commands.release()
            return ""
        before = o.disk.marker.members if o.disk.marker is not None else ()
        listed = frozenset(before) | (o.view.members if o.view is not None else frozenset())
        lost = self._commands.settle(listed - {self._me})
        cluster_id = recovered_id(act.operation)
        marker = Marker(cluster_id, Stage.MEMBER, o.disk.epoch_high, self._host, members=(self._me,))
        self._volume.write_marker(marker)
        without = f"; no replica was here of {u.listed(lost)}" if lost else ""
        return f"{self._me} goes on alone as cluster {cluster_id[:8]}{without}"
