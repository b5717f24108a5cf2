"""Acts on queues and their replicas: grown, spread, moved away from a member, taken off a node that is forgotten.

Leaders are moved by us, not by `rabbitmq-queues rebalance`: that takes the node with the fewest leaders as its
destination even when it is down (sources of 3.10.8 to 4.3.6). Run with ten queues and one of three members down, it
moved nothing, stopped each queue for 30 s, and took 46 s on 3.10.8, more than 200 s on 4.3.6. Here a leader goes
only to a running replica that has caught up; RabbitMQ's own lock keeps a rebalance by hand and ours apart.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from rmqcluster.broker import look
from rmqcluster.broker.erlang import as_json
from rmqcluster.core import queues as q
from rmqcluster.core.queues import Growth, Move, QueueKind, QueueReport
from rmqcluster.errors import CommandFailed

T = TypeVar("T")

GROW_SECONDS = 240.0  # for everything that is due; below the deadline of the operation
GROW_COMMAND_SECONDS = 60.0
FORGET_SECONDS = 100.0  # after which nothing is begun any more
FORGET_COMMAND_SECONDS = 100.0
SHRINK_SECONDS = 100.0
DRAIN_SECONDS = 100.0  # replicas are stopped one after the other
MOVE_SECONDS = 60.0
NAMES_AT_ONCE = 200  # an argument of a command is at most 128 KiB long
_LOOK_AGAIN_SECONDS = 0.5
_PROGRESS_SECONDS = 20.0  # replicas that catch up hold up the next ones (4.3)

_MOVE = """
Moves = %s,
Running = [atom_to_binary(N, utf8) || N <- case erlang:function_exported(rabbit_nodes, list_running, 0) of
    true -> rabbit_nodes:list_running(); false -> rabbit_nodes:all_running() end],
Move = fun([VHost, Name, From, To]) ->
    case rabbit_amqqueue:lookup(rabbit_misc:r(VHost, queue, Name)) of
        {ok, Q} ->
            {Ra, _} = amqqueue:get_pid(Q),
            Node = fun(Text) -> binary_to_existing_atom(Text, utf8) end,
            lists:member(To, Running) andalso
                ok =:= (catch ra:transfer_leadership({Ra, Node(From)}, {Ra, Node(To)}));
        _ -> true end end,
Lock = {rebalance_queues, self()},
Answer = case global:set_lock(Lock, [node() | nodes()], 0) of
    false -> busy;
    true -> try length([M || M <- Moves, Move(M) =/= true]) after global:del_lock(Lock) end end,
base64:encode(iolist_to_binary(rabbit_json:encode(Answer)))."""

_HAND_OVER = """
_ = [code:ensure_loaded(M) || M <- [rabbit_nodes, rabbit_khepri]],
Running = case erlang:function_exported(rabbit_nodes, list_running, 0) of
    true -> rabbit_nodes:list_running(); false -> rabbit_nodes:all_running() end,
Heirs = rabbit_maintenance:filter_out_drained_nodes_local_read(Running -- [node()]),
Nodes = fun(Q) -> case maps:get(nodes, amqqueue:get_type_state(Q), []) of
    Map when is_map(Map) -> maps:keys(Map); List -> List end end,
Give = fun(Q, Turn) ->
    case [N || N <- Nodes(Q), lists:member(N, Heirs)] of
        [] -> Turn;
        Fit ->
            {Ra, _} = amqqueue:get_pid(Q),
            To = lists:nth(Turn rem length(Fit) + 1, lists:sort(Fit)),
            _ = (catch ra:transfer_leadership({Ra, node()}, {Ra, To})),
            Turn + 1 end end,
Given = lists:foldl(Give, 0, rabbit_amqqueue:list_local_leaders()),
_ = case Heirs =/= [] andalso erlang:function_exported(rabbit_khepri, transfer_leadership, 1) of
    true -> (catch rabbit_khepri:transfer_leadership(Heirs)); false -> ok end,
base64:encode(iolist_to_binary(rabbit_json:encode(Given)))."""

_RESTART_REPLICAS = """
Nodes = fun(Q) -> case maps:get(nodes, amqqueue:get_type_state(Q), []) of
    Map when is_map(Map) -> maps:keys(Map); List -> List end end,
_ = [catch rabbit_quorum_queue:restart_server({Ra, node()}) || Q <- rabbit_amqqueue:list(),
    amqqueue:get_type(Q) =:= rabbit_quorum_queue, lists:member(node(), Nodes(Q)),
    {Ra, _} <- [amqqueue:get_pid(Q)], whereis(Ra) =:= undefined],
base64:encode(<<"null">>)."""

_ADD_STREAMS = """
Node = binary_to_existing_atom(%s, utf8),
_ = [catch rabbit_stream_queue:add_replica(%s, Name, Node) || Name <- %s],
base64:encode(<<"null">>)."""

# `rabbitmq-queues shrink` of 4.3 refuses a node that is no running member.
_DELETE_MEMBERS = """
Node = binary_to_atom(%s, utf8),
Keys = [rpc:async_call(node(), rabbit_quorum_queue, delete_member, [VHost, Name, Node]) || [VHost, Name] <- %s],
_ = [rpc:yield(Key) || Key <- Keys],
base64:encode(<<"null">>)."""

# 3.10 leaves the forgotten node a voter of the stream coordinator, and refuses to delete replicas on nodes that are
# down unless the coordinator is asked itself.
_DELETE_STREAMS = """
Node = binary_to_atom(%s, utf8),
_ = code:ensure_loaded(rabbit_stream_coordinator),
Delete = fun(VHost, Name) ->
    {ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(VHost, queue, Name)),
    rabbit_stream_coordinator:delete_replica(maps:get(name, amqqueue:get_type_state(Q)), Node) end,
_ = [catch Delete(VHost, Name) || [VHost, Name] <- %s],
_ = (catch ra:remove_member({rabbit_stream_coordinator, node()}, {rabbit_stream_coordinator, Node})),
base64:encode(<<"null">>)."""

# Nobody may be left to agree to the deletion: then its record goes alone (a queue to 4.x, its name to 3.10).
_DELETE_QUEUES = """
User = <<"rmqcluster">>,
Delete = fun(VHost, Name) ->
    Resource = rabbit_misc:r(VHost, queue, Name),
    Known = case rabbit_amqqueue:lookup(Resource) of {ok, Q} -> [Q]; _ -> [] end,
    case catch [{ok, _} = rabbit_amqqueue:delete(Found, false, false, User) || Found <- Known] of
        [_] -> ok;
        _ -> [catch rabbit_amqqueue:internal_delete(What, User) || What <- Known ++ [Resource]] end end,
_ = [catch Delete(VHost, Name) || [VHost, Name] <- %s],
base64:encode(<<"null">>)."""

_WHO_LISTS = """
Node = binary_to_atom(%s, utf8),
_ = code:ensure_loaded(rabbit_nodes),
{List, Running} = case erlang:function_exported(rabbit_nodes, list_members, 0) of
    true -> {list_members, rabbit_nodes:list_running()}; false -> {all, rabbit_nodes:all_running()} end,
Answers = lists:zip(Running, erpc:multicall(Running, rabbit_nodes, List, [], 10000)),
Streams = case whereis(rabbit_stream_coordinator) =/= undefined
        andalso ra:members({rabbit_stream_coordinator, node()}, 10000) of
    {ok, Coordinators, _} -> [<<"the stream coordinator">> || {_, Where} <- Coordinators, Where =:= Node];
    _ -> [] end,
base64:encode(iolist_to_binary(rabbit_json:encode([N || {N, Answer} <- Answers, case Answer of
    {ok, Listed} -> lists:member(Node, Listed); _ -> true end] ++ Streams)))."""


class Tools(Protocol):
    """What is needed of `Ctl`."""

    def run(self, tool: str, *arguments: str, deadline_seconds: float) -> str: ...

    def eval_json(self, expression: str, *, deadline_seconds: float) -> object: ...

    def grow(self, node: str, vhost: str, queues: frozenset[str]) -> None: ...


class Replicas:
    """The acts of port `Commands` that are about queues; slow, for a worker. Every one raises CommandFailed."""

    def __init__(
        self,
        tools: Tools,
        node: str,
        default_target: int,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tools, self._node, self._default = tools, node, default_target
        self._sleep, self._monotonic = sleep, monotonic

    def queues(self, deadline_seconds: float = look.LOOK_SECONDS) -> QueueReport:
        """All queues with their replicas, leaders, and who has caught up; one process, whatever their number."""
        answer = self._tools.eval_json(look.EXPRESSION, deadline_seconds=deadline_seconds)
        return look.parse(answer, self._node)

    def grow(self) -> None:
        """Bring every queue to its own target on the running members that are not drained.

        Replicas that an interrupted forget left on other nodes are taken away first: they count as voters.
        """
        deadline = self._monotonic() + GROW_SECONDS
        fewest, progress_at = None, self._monotonic()
        while True:
            report = self.queues()
            usable = report.running - report.drained
            left = q.missing_count(report, usable, self._default)
            if left == 0:
                return
            now = self._monotonic()
            if fewest is None or left < fewest:
                fewest, progress_at = left, now
            if now >= deadline or now - progress_at >= _PROGRESS_SECONDS:
                raise CommandFailed(f"{left} replicas of queues could not be added yet", exit_status=None)
            for node in sorted({stray for _, stray in q.strays(report)}):
                self._take_off(report, node, delete=False)
            for growth in q.missing(report, usable, self._default):
                self._add(growth)
            self._sleep(_LOOK_AGAIN_SECONDS)

    def rebalance(self, seen: QueueReport | None = None) -> None:
        """Spread the leaders of quorum queues over the running members that are not drained.

        `seen` saves the first look where it shows what to move: a replica that lags since, or a leader that has moved,
        refuses. That nothing is left to move is never taken from it.
        """
        deadline = self._monotonic() + MOVE_SECONDS
        moves = _spreading(seen) if seen is not None else ()
        while True:
            moves = moves or _spreading(self.queues())
            if not moves:
                return
            if self._monotonic() >= deadline:
                raise CommandFailed(
                    f"leaders of {len(moves)} queues did not move, {moves[0].name} first", exit_status=None
                )
            self._move(moves)
            moves = ()
            self._sleep(_LOOK_AGAIN_SECONDS)

    def prepare_stop(self, seconds: float) -> None:
        """Give the leaders of this member's queues to other members, within so many seconds.

        Not by a drain, which takes 52 s for 270 leaders on 4.3.6 and closes the member's ports first (this: 1 s).

        Clients stay connected. Nothing is waited for: a replica that lags refuses, and the queue elects another.
        """
        self._tools.eval_json(_HAND_OVER, deadline_seconds=seconds)

    def drain(self) -> None:
        """Into maintenance: no client, no leader, and no running replica of a quorum queue; ends with the process."""
        self._tools.run("rabbitmq-upgrade", "drain", deadline_seconds=DRAIN_SECONDS)

    def revive(self) -> None:
        """Out of maintenance, with all replicas running again (3.10 leaves those stopped that led at the drain)."""
        self._tools.run("rabbitmq-upgrade", "revive", deadline_seconds=DRAIN_SECONDS)
        self._tools.eval_json(_RESTART_REPLICAS, deadline_seconds=DRAIN_SECONDS)

    def forget(self, node: str, *, leave_streams: bool = False) -> None:
        """Take `node`, which does not run, out of the cluster; returns when nothing lists it any more.

        `leave_streams`: but streams, whose replicas cannot be taken off where their majority is gone (3.10).

        RabbitMQ ignores what fails in between on 3.10 and reports it on 4.x with the node already out; so what is
        left is looked for, and taken off again. What had its only replica there is deleted, as RabbitMQ deletes the
        node's classic queues: the caller has asked before.
        """
        deadline = self._monotonic() + FORGET_SECONDS
        trouble = ""
        if node in self.queues().members:
            try:
                self._tools.run("rabbitmqctl", "forget_cluster_node", node, deadline_seconds=FORGET_COMMAND_SECONDS)
            except CommandFailed as error:
                if error.timed_out or node in self.queues().members:
                    raise
                trouble = f" ({error})"  # it is out; what the command could not do is done below
        while True:
            report, listing = self.queues(), self._listing(node)
            kept = (QueueKind.CLASSIC, QueueKind.STREAM) if leave_streams else (QueueKind.CLASSIC,)
            held = [queue.label for queue in report.queues if queue.kind not in kept and node in queue.members]
            if not listing and not held:
                return
            if self._monotonic() >= deadline:
                where = ", ".join([*listing, *held[:4]])
                raise CommandFailed(f"{node} is still listed by {where}{trouble}", exit_status=None)
            self._take_off(report, node, delete=True)
            self._sleep(_LOOK_AGAIN_SECONDS)  # members learn it one after the other

    def _listing(self, node: str) -> list[str]:
        """Who lists `node`: running members, one that gave no answer among them, and the stream coordinator."""
        answer = self._tools.eval_json(_WHO_LISTS % as_json(node), deadline_seconds=look.LOOK_SECONDS)
        return [str(name) for name in answer] if isinstance(answer, list) else [self._node]

    def _take_off(self, report: QueueReport, node: str, delete: bool) -> None:
        """Remove the replicas that are listed on `node`, which is no member any more; nothing when it is one.

        `delete`: also the queues whose only replica was there.
        """
        if node in report.members:
            return
        held = [queue for queue in report.queues if queue.is_replicated and node in queue.members]
        lost = [[queue.vhost, queue.name] for queue in held if delete and queue.members == {node}]
        for some in _chunks(lost, NAMES_AT_ONCE):
            self._tools.eval_json(_DELETE_QUEUES % as_json(some), deadline_seconds=SHRINK_SECONDS)
        held = [queue for queue in held if queue.members != {node}]
        quorum = [[queue.vhost, queue.name] for queue in held if queue.kind is QueueKind.QUORUM]
        for some in _chunks(quorum, NAMES_AT_ONCE):
            self._tools.eval_json(_DELETE_MEMBERS % (as_json(node), as_json(some)), deadline_seconds=SHRINK_SECONDS)
        streams = [[queue.vhost, queue.name] for queue in held if queue.kind is QueueKind.STREAM]
        for some in _chunks(streams, NAMES_AT_ONCE) if streams else ([],):
            expression = _DELETE_STREAMS % (as_json(node), as_json(some))
            self._tools.eval_json(expression, deadline_seconds=SHRINK_SECONDS)

    def _add(self, growth: Growth) -> None:
        for names in _chunks(sorted(growth.names), NAMES_AT_ONCE):
            if growth.kind is QueueKind.QUORUM:
                self._tools.grow(growth.node, growth.vhost, frozenset(names))
            else:
                expression = _ADD_STREAMS % (as_json(growth.node), as_json(growth.vhost), as_json(names))
                self._tools.eval_json(expression, deadline_seconds=GROW_COMMAND_SECONDS)

    def _move(self, moves: tuple[Move, ...]) -> None:
        for some in _chunks(moves, NAMES_AT_ONCE):
            wanted = as_json([[move.vhost, move.name, move.source, move.to] for move in some])
            answer = self._tools.eval_json(_MOVE % wanted, deadline_seconds=MOVE_SECONDS)
            if answer == "busy":
                raise CommandFailed("another rebalance of queues is in progress (rebalance_in_progress)", exit_status=0)


def _spreading(report: QueueReport) -> tuple[Move, ...]:
    return q.rebalance_moves(report, report.running - report.drained)


def _chunks(things: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (things[start : start + size] for start in range(0, len(things), size))
