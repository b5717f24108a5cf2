"""Loads the Mnesia tables of a booting member from its own disk, when a majority waits for who does not return."""

from rmqcluster.broker.replicas import Tools
from rmqcluster.core.tables import Missed, TableFacts, why_not_load

FACTS_SECONDS = 15.0
LOAD_SECONDS = 60.0

# `rabbit_boot` is there while it boots, `rabbit_outside_app_process` while `pause_minority` waits for the peers.
# A member whose Mnesia does not run, or that knows none (Khepri), has no table that waits. A table whose only copy is
# on an absent member is nobody's to load: `force_load_table` would wait for it for ever.
_FACTS = """
Ask = fun(N, M, F, A) -> case rpc:call(N, M, F, A, 3000) of {badrpc, _} -> unknown; Answer -> Answer end end,
Names = fun(Nodes) -> [atom_to_binary(N, utf8) || N <- Nodes] end,
Stands = lists:all(fun(Name) -> whereis(Name) =:= undefined end, [rabbit, rabbit_boot, rabbit_outside_app_process]),
Facts = case (catch mnesia:system_info(is_running)) of
    yes ->
        Connected = mnesia:system_info(running_db_nodes),
        Count = fun(N) -> case Ask(N, mnesia, system_info, [tables]) of
            unknown -> null;
            Tables -> length([T || T <- Tables, Ask(N, mnesia, table_info, [T, where_to_read]) =:= nowhere,
                Ask(N, mnesia, table_info, [T, storage_type]) =/= unknown]) end end,
        #{members => Names(mnesia:system_info(db_nodes)), connected => Names(Connected),
          waiting => maps:from_list([{N, Count(N)} || N <- Connected])};
    _ -> #{members => [], connected => [], waiting => #{}} end,
base64:encode(iolist_to_binary(rabbit_json:encode(Facts#{stands => Stands})))."""

_LOAD = """
_ = [spawn(mnesia, force_load_table, [T]) || T <- mnesia:system_info(tables),
    mnesia:table_info(T, where_to_read) =:= nowhere, mnesia:table_info(T, storage_type) =/= unknown],
base64:encode(<<"null">>)."""


class Tables:
    """For a worker thread; raises CommandFailed."""

    def __init__(self, tools: Tools, node: str) -> None:
        self._tools, self._node = tools, node

    def load(self, missed: Missed) -> str:
        """Load them if that is this member's part. Returns why it is not, "" when they were loaded."""
        found = self._tools.eval_json(_FACTS, deadline_seconds=FACTS_SECONDS)
        why_not = why_not_load(parse(found), missed, self._node)
        if not why_not:
            self._tools.eval_json(_LOAD, deadline_seconds=LOAD_SECONDS)
        return why_not


def parse(found: object) -> TableFacts:
    """What the broker answered; whatever is missing is unknown."""
    row = found if isinstance(found, dict) else {}
    waiting = row.get("waiting")
    return TableFacts(
        _names(row.get("members")),
        _names(row.get("connected")),
        {str(n): count if isinstance(count, int) else None for n, count in _items(waiting)},
        row.get("stands") is True,
    )


def _items(found: object) -> list[tuple[object, object]]:
    return list(found.items()) if isinstance(found, dict) else []


def _names(found: object) -> frozenset[str]:
    return frozenset(map(str, found)) if isinstance(found, list) else frozenset()
