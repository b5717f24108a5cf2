"""Going on alone after the majority of a cluster was lost for good: the last resort, on the one member that is left.

Three steps, each for one state of the broker: `prepare_boot` while it is down, `release` while it waits for a
majority that never comes, `settle` once it serves. What only the lost members had is lost, and what this member had
not yet heard of, too; every step can be repeated.

- Mnesia (3.10 to 4.2): `force_boot` makes the next boot wait for nobody.
- Khepri (4.x): `force_standalone_khepri_boot` makes the waiting node the whole metadata store.
- Quorum queues: RabbitMQ forces a queue to its local replica where it can (4.x). Before, there is no such command and
  a removal needs the majority that is gone: the replica is given itself as its only voter in memory, is elected, and
  then removes one of the others by the regular command, which writes the new membership down. Run on 3.10.8.
"""

from rmqcluster.broker.erlang import as_json
from rmqcluster.broker.replicas import Replicas, Tools
from rmqcluster.broker.version import as_numbers
from rmqcluster.core.queues import leaderless
from rmqcluster.errors import CommandFailed

BOOT_SECONDS = 60.0
SHRINK_SECONDS = 240.0

_USES_KHEPRI = """
_ = code:ensure_loaded(rabbit_khepri),
Answer = erlang:function_exported(rabbit_khepri, is_enabled, 0) andalso rabbit_khepri:is_enabled(),
base64:encode(iolist_to_binary(rabbit_json:encode(Answer)))."""

_SHRINK = """
_ = [code:ensure_loaded(M) || M <- [rabbit_quorum_queue, ra_server_proc, rabbit_amqqueue]],
Change = fun(Id, Clusters) -> sys:replace_state(Id, fun({Name, Data}) ->
    {Name, list_to_tuple([case Part of
        #{cluster := Cluster, cfg := _} -> Part#{cluster := Clusters(Cluster)};
        _ -> Part end || Part <- tuple_to_list(Data)])} end) end,
Until = fun Again(_, 0) -> {error, timeout};
    Again(Try, Left) -> case catch Try() of
        ok -> ok;
        _ -> timer:sleep(100), Again(Try, Left - 1) end end,
ByHand = fun(Id, [Other | _]) ->
    _ = Change(Id, fun(Cluster) -> maps:with([Id], Cluster) end),
    _ = (catch ra:trigger_election(Id)),
    Leads = Until(fun() -> {error, not_member} = ra:remove_member(Id, Other), ok end, 50),
    case Leads of
        ok ->
            _ = Change(Id, fun(Cluster) -> Cluster#{Other => maps:get(Id, Cluster)} end),
            Until(fun() -> {ok, _, _} = ra:remove_member(Id, Other), {ok, [Id], Id} = ra:members(Id, 1000), ok end, 50);
        _ -> Leads end end,
Alone = fun(Id) ->
    case ra_server_proc:local_state_query(Id, members, 5000) of
        {ok, [Id], _} -> ok;
        {ok, Listed, _} -> case erlang:function_exported(ra_server_proc, force_shrink_members_to_current_member, 1) of
            true -> ra_server_proc:force_shrink_members_to_current_member(Id);
            false -> ByHand(Id, lists:delete(Id, Listed)) end;
        Trouble -> Trouble end end,
Nodes = fun(Q) -> case maps:get(nodes, amqqueue:get_type_state(Q), []) of
    Map when is_map(Map) -> maps:keys(Map); List -> List end end,
Shrink = fun(Q) ->
    {resource, VHost, queue, Name} = QName = amqqueue:get_name(Q),
    case erlang:function_exported(rabbit_quorum_queue, force_shrink_member_to_current_member, 2) of
        true -> rabbit_quorum_queue:force_shrink_member_to_current_member(VHost, Name);
        false ->
            {Ra, _} = amqqueue:get_pid(Q),
            ok = Alone({Ra, node()}),
            Update = fun(Q1) -> amqqueue:set_pid(
                amqqueue:set_type_state(Q1, maps:put(nodes, [node()], amqqueue:get_type_state(Q1))), {Ra, node()}) end,
            _ = rabbit_misc:execute_mnesia_transaction(fun() -> rabbit_amqqueue:update(QName, Update) end),
            ok end end,
Coordinator = {rabbit_stream_coordinator, node()},
Coordinated = whereis(rabbit_stream_coordinator) =:= undefined orelse (catch Alone(Coordinator)) =:= ok,
Lost = [binary_to_atom(Text, utf8) || Text <- %s],
All = rabbit_amqqueue:list(),
_ = [catch rabbit_stream_coordinator:delete_replica(maps:get(name, amqqueue:get_type_state(Q)), N) || Q <- All,
    amqqueue:get_type(Q) =:= rabbit_stream_queue, lists:member(node(), Nodes(Q)),
    N <- Nodes(Q), lists:member(N, Lost)],
Local = [Q || Q <- All, amqqueue:get_type(Q) =:= rabbit_quorum_queue,
    lists:member(node(), Nodes(Q)), Nodes(Q) =/= [node()]],
Keys = [{Q, rpc:async_call(node(), erlang, apply, [Shrink, [Q]])} || Q <- Local],
Failed = [element(4, amqqueue:get_name(Q)) || {Q, Key} <- Keys, rpc:yield(Key) =/= ok],
base64:encode(iolist_to_binary(rabbit_json:encode(
    [<<"the stream coordinator">> || not Coordinated] ++ Failed)))."""

# Forgetting a member deletes its classic queues; one that Khepri dropped at the boot was never forgotten.
_DROP_CLASSIC = """
Lost = [binary_to_atom(Text, utf8) || Text <- %s],
_ = [catch rabbit_amqqueue:internal_delete(Q, <<"rmqcluster">>) || Q <- rabbit_amqqueue:list(),
    amqqueue:get_type(Q) =:= rabbit_classic_queue, is_pid(amqqueue:get_pid(Q)),
    lists:member(node(amqqueue:get_pid(Q)), Lost)],
base64:encode(<<"null">>)."""


class Recovery:
    """Every step raises CommandFailed. A person has given up the disks of the others before the first one."""

    def __init__(self, tools: Tools, replicas: Replicas, node: str, version: str | None) -> None:
        self._tools, self._replicas, self._node = tools, replicas, node
        self._version = as_numbers(version) or (3, 10)

    def prepare_boot(self) -> None:
        """While the broker is down. Without effect where the metadata is in Khepri."""
        if self._version < (4, 3):
            self._tools.run("rabbitmqctl", "force_boot", deadline_seconds=BOOT_SECONDS)

    def release(self) -> None:
        """While the broker waits; try again when it is not far enough yet. Nothing where it needs no release."""
        if self._version >= (4, 0) and self._tools.eval_json(_USES_KHEPRI, deadline_seconds=BOOT_SECONDS) is True:
            self._tools.run("rabbitmqctl", "force_standalone_khepri_boot", deadline_seconds=BOOT_SECONDS)

    def settle(self, lost: frozenset[str]) -> tuple[str, ...]:
        """Once the broker serves: nothing lists the `lost` members any more, queues with a replica here lead here.

        Returns the labels of what stays without a leader: queues that had no replica here, and on 3.10 streams that
        a lost member led. The members' durable classic queues are deleted with them.
        """
        names = as_json(sorted(lost))
        failed = self._tools.eval_json(_SHRINK % names, deadline_seconds=SHRINK_SECONDS)
        if failed:
            raise CommandFailed(
                f"queues of {self._node} could not be brought to their one replica: {failed}", exit_status=0
            )
        for node in sorted(lost):
            self._replicas.forget(node, leave_streams=True)
        self._tools.eval_json(_DROP_CLASSIC % names, deadline_seconds=BOOT_SECONDS)
        return tuple(queue.label for queue in leaderless(self._replicas.queues()))
