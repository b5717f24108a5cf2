"""One look at all queues, with one `eval` on this member's broker: the expression, and how its answer is read.

Whether a replica has caught up is measured, not believed: first every running node tells what its replicas have
applied, then every node tells it again; a follower that has reached by then what its leader had applied before has
caught up. The nodes are asked all at once, each for all its replicas at a time, so thousands of queues cost two
calls per node. What a node evaluates goes there as parsed expressions, never as functions: those only run on nodes
with the very same code.

- Replicas of quorum queues: from 4.x `ra:key_metrics`, current counters; before, a local query of each replica
  (the metrics of 3.10 are up to 5 s old).
- Replicas of streams: the counters of `osiris`.
- Queues: `list` and `list_down` together have those of nodes that are down as well, some of them twice (3.10 to
  4.3). Exclusive queues are left out.
"""

from collections.abc import Mapping, Sequence

from rmqcluster.broker.erlang import quoted
from rmqcluster.core.queues import QueueFacts, QueueKind, QueueReport
from rmqcluster.errors import CommandFailed

LOOK_SECONDS = 40.0  # two rounds of 10 s for nodes that hang, the tool itself, a long list on a slow machine

_ON_NODE = """
_ = code:ensure_loaded(ra),
Current = erlang:function_exported(ra, key_metrics, 1),
Replica = fun(Row) ->
    Name = element(1, Row),
    Voter = tuple_size(Row) < 3 orelse lists:member(element(3, Row), [voter, unknown]),
    case Current of
        true ->
            M = ra:key_metrics({Name, node()}),
            {Name, element(2, Row), Voter, maps:get(term, M, 0), maps:get(last_applied, M, -1)};
        false ->
            case catch ra:local_query({Name, node()}, {erlang, is_map, []}, 1000) of
                {ok, {{Index, Term}, _}, _} -> {Name, element(2, Row), Voter, Term, Index};
                _ -> {Name, element(2, Row), false, 0, -1}
            end
    end end,
Offset = fun(Role, C) -> case Role of
    osiris_writer -> maps:get(committed_offset, C, -1);
    _ -> maps:get(offset, C, -1) end end,
Streams = case catch osiris_counters:overview() of
    Found when is_map(Found) -> Found;
    _ -> #{} end,
{[Replica(Row) || Row <- ets:tab2list(ra_state)],
 [{Role, Name, Offset(Role, C)} || {{Role, Name}, C} <- maps:to_list(Streams),
     Role =:= osiris_writer orelse Role =:= osiris_replica]}.
"""

_EXPRESSION = """
_ = [code:ensure_loaded(M) || M <- [rabbit_nodes, rabbit_amqqueue, rabbit_policy]],
Either = fun(New, Old) -> case erlang:function_exported(rabbit_nodes, New, 0) of
    true -> rabbit_nodes:New(); false -> rabbit_nodes:Old() end end,
{ok, Tokens, _} = erl_scan:string(%(on_node)s),
{ok, Parsed} = erl_parse:parse_exprs(Tokens),
Ask = fun(Nodes) ->
    Answers = lists:zip(Nodes, erpc:multicall(Nodes, erl_eval, exprs, [Parsed, []], 10000)),
    [{Node, Replicas, Streams} || {Node, {ok, {value, {Replicas, Streams}, _}}} <- Answers] end,
First = Ask(Either(list_running, all_running)),
Second = Ask([Node || {Node, _, _} <- First]),
Leaders = lists:foldl(fun({Name, Term, Node, Index}, Known) ->
    case Known of
        #{Name := {Other, _, _}} when Other >= Term -> Known;
        _ -> Known#{Name => {Term, Node, Index}} end end, #{},
    [{Name, Term, Node, Index} || {Node, Rows, _} <- First, {Name, leader, _, Term, Index} <- Rows]),
Replicas = maps:from_list([{{Name, Node}, {Voter, Index}} || {Node, Rows, _} <- Second,
    {Name, _, Voter, _, Index} <- Rows]),
Writers = maps:from_list([{Name, {0, Node, Index}} || {Node, _, Rows} <- First, {osiris_writer, Name, Index} <- Rows]),
Copies = maps:from_list([{{Name, Node}, {true, Index}} || {Node, _, Rows} <- Second, {_, Name, Index} <- Rows]),
Queues = lists:append([rabbit_amqqueue:list(VHost) ++ rabbit_amqqueue:list_down(VHost)
    || VHost <- rabbit_vhost:list_names()]),
Members = Either(list_members, all),
Running = Either(list_running, all_running),
Nodes = fun(Q) -> case maps:get(nodes, amqqueue:get_type_state(Q), []) of
    Map when is_map(Map) -> maps:keys(Map); List -> List end end,
Argument = fun(Q, Key) -> case rabbit_misc:table_lookup(amqqueue:get_arguments(Q), Key) of
    {_, Value} when is_integer(Value) -> Value; _ -> null end end,
Policy = fun(Q, Key) -> case rabbit_policy:get(Key, Q) of
    Value when is_integer(Value) -> Value; _ -> null end end,
First_of = fun(Given, Else) -> case Given of null -> Else; _ -> Given end end,
Reconciles = application:get_env(rabbit, quorum_membership_reconciliation_enabled, false) =:= true,
Facts = fun(Leading, Known, Name, Listed) ->
    {Leader, Reached} = case Leading of #{Name := {_, Node, Index}} -> {Node, Index}; _ -> {null, none} end,
    Online = [{N, maps:get({Name, N}, Known)} || N <- Listed, maps:is_key({Name, N}, Known)],
    [Leader, Listed, [N || {N, _} <- Online],
     [N || {N, {Voter, At}} <- Online, Voter, Reached =/= none, At >= Reached]] end,
Row = fun(Q) ->
    {resource, VHost, queue, Name} = amqqueue:get_name(Q),
    Durable = amqqueue:is_durable(Q),
    case amqqueue:get_type(Q) of
        rabbit_quorum_queue ->
            Own = First_of(Argument(Q, <<"x-quorum-target-group-size">>), Policy(Q, <<"target-group-size">>)),
            Initial = Argument(Q, <<"x-quorum-initial-group-size">>),
            [[VHost, Name, quorum, Durable] ++ Facts(Leaders, Replicas, element(1, amqqueue:get_pid(Q)), Nodes(Q))
                ++ [First_of(Initial, Own), Reconciles andalso Own =/= null]];
        rabbit_stream_queue ->
            Initial = First_of(Argument(Q, <<"x-initial-cluster-size">>), Policy(Q, <<"initial-cluster-size">>)),
            [[VHost, Name, stream, Durable] ++ Facts(Writers, Copies, amqqueue:get_name(Q), Nodes(Q))
                ++ [Initial, false]];
        rabbit_classic_queue ->
            At = case amqqueue:get_pid(Q) of Pid when is_pid(Pid) -> node(Pid); _ -> null end,
            [[VHost, Name, classic, Durable, At, [], [], [], null, false]];
        _ -> [] end end,
base64:encode(iolist_to_binary(rabbit_json:encode(#{members => Members, running => Running,
    drained => [N || N <- Running, rabbit_maintenance:is_being_drained_local_read(N)],
    queues => lists:append([Row(Q) || Q <- Queues, amqqueue:get_exclusive_owner(Q) =:= none])}))).
"""

EXPRESSION = _EXPRESSION % {"on_node": quoted(_ON_NODE)}


def parse(answer: object, node: str) -> QueueReport:
    """The report in the broker's answer. Raises CommandFailed when it has another shape."""
    try:
        if not isinstance(answer, Mapping):
            raise TypeError("no object")
        rows = answer["queues"]
        if not isinstance(rows, Sequence):
            raise TypeError("no list of queues")
        queues = {(facts.vhost, facts.name): facts for facts in map(_facts, rows)}
        return QueueReport(
            tuple(queues.values()), _names(answer["members"]), _names(answer["running"]), _names(answer["drained"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CommandFailed(
            f"the broker of {node} told its queues in an unknown form: {error}", exit_status=0
        ) from error


def _facts(row: Sequence[object]) -> QueueFacts:
    vhost, name, kind, durable, leader, members, online, caught_up, declared, reconciled = row
    return QueueFacts(
        vhost=str(vhost),
        name=str(name),
        kind=QueueKind(str(kind)),
        durable=durable is True,
        leader=None if leader is None else str(leader),
        members=_names(members),
        online=_names(online),
        caught_up=_names(caught_up),
        declared_target=declared if isinstance(declared, int) else None,
        reconciled=reconciled is True,
    )


def _names(value: object) -> frozenset[str]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list of nodes")
    return frozenset(map(str, value))
