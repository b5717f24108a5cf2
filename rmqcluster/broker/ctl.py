"""RabbitMQ's own tools, for acts: bounded in time, answers as terms or JSON, secrets on stdin alone.

- What is secret goes in as an expression on the stdin of a bare `eval`, the node chosen by RABBITMQ_NODENAME: from 4.0
  on, the tool has no stdin when there is any switch, and 4.0.5 has none for `import_definitions` either. It hangs then.
- 4.x prints log lines of the server on the tools' stdout: an answer is the last thing that parses.
- `eval` exits 0 whatever the term says, so every expression used here answers with base64 of JSON.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rmqcluster.broker.env import tool_environment
from rmqcluster.broker.recovery import Recovery
from rmqcluster.broker.replicas import GROW_COMMAND_SECONDS, Replicas
from rmqcluster.broker.tables import Tables
from rmqcluster.broker.version import Scripts
from rmqcluster.config.settings import Settings
from rmqcluster.core.model import View
from rmqcluster.errors import CommandFailed

if TYPE_CHECKING:
    from rmqcluster.broker.ports import Finished, Runner

# The worst cases of the broker's own timeouts: `join_cluster` waits 50 s for a name that does not resolve
# (3.10), a write in a Khepri minority 30 s whatever --timeout says.
JOIN_SECONDS = 90.0
APP_SECONDS = 60.0
IMPORT_SECONDS = 90.0
EVAL_SECONDS = 15.0
_NODE = re.compile(r"^[A-Za-z0-9_][\w.-]*@[A-Za-z0-9][\w.-]*$")
_ANSWER = re.compile(r'^<<"([A-Za-z0-9+/=]*)">>\s*$', re.MULTILINE)

_FACTS = """
_ = code:ensure_loaded(rabbit_nodes),
Fun = fun(New, Old) -> case erlang:function_exported(rabbit_nodes, New, 0) of
    true -> rabbit_nodes:New(); false -> rabbit_nodes:Old() end end,
Text = fun(Nodes) -> [atom_to_binary(Node, utf8) || Node <- Nodes] end,
Global = fun(Name) -> case rabbit_runtime_parameters:value_global(Name) of
    not_found -> null; Value -> Value end end,
Users = [proplists:get_value(user, User) || User <- rabbit_auth_backend_internal:list_users()],
base64:encode(iolist_to_binary(rabbit_json:encode(#{
    members => Text(Fun(list_members, all)), running => Text(Fun(list_running, all_running)),
    ours => Global(rmqcluster), broker_cluster_id => Global(internal_cluster_id), users => Users})))."""

# As the broker's own `load_definitions` and its HTTP API read it.
_IMPORT = """
Said = (catch begin {ok, Content} = rabbit_json:try_decode(base64:decode(<<"%s">>)),
    rabbit_definitions:import_parsed(Content) end),
base64:encode(iolist_to_binary(rabbit_json:encode(
    case Said of ok -> <<>>; _ -> unicode:characters_to_binary(io_lib:format("~0tp", [Said])) end)))."""
_REASON_LIMIT = 300


class Ctl:
    """Acts on this member's own broker. Every call raises CommandFailed with the tool's own words."""

    def __init__(self, settings: Settings, runner: "Runner", scripts: Scripts, inherited: Mapping[str, str]) -> None:
        self._runner = runner
        self._scripts = scripts
        self._environment = tool_environment(settings, inherited)
        self._node = settings.node
        self.replicas = Replicas(self, settings.node, settings.policy.replicas)
        self.recovery = Recovery(self, self.replicas, settings.node, scripts.version)
        self.tables = Tables(self, settings.node)

    def run(self, tool: str, *arguments: str, deadline_seconds: float, input_bytes: bytes = b"") -> str:
        """stdout of the tool. `arguments` are visible to every user of the machine: never a secret."""
        what = f"{tool} {arguments[0] if arguments else ''}".strip()
        done = self._runner.run(
            [self._scripts.path(tool), *arguments],
            env=self._environment,
            deadline_seconds=deadline_seconds,
            input_bytes=input_bytes,
        )
        if done.timed_out or done.status is None:
            raise CommandFailed(
                f"{what} on {self._node} did not end within {deadline_seconds:.0f} s; its effect is unknown",
                exit_status=None,
                timed_out=True,
            )
        if done.status != 0:
            raise CommandFailed(
                f"{what} on {self._node} failed (exit {done.status}): {_own_words(done)}", exit_status=done.status
            )
        return done.stdout.decode("utf-8", errors="replace")

    def eval_json(self, expression: str, *, deadline_seconds: float = EVAL_SECONDS) -> object:
        """The JSON that an Erlang expression answers, encoded in base64 so that nothing else can be mistaken for it."""
        flat = " ".join(expression.split())
        return self._answer(self.run("rabbitmqctl", "eval", flat, deadline_seconds=deadline_seconds))

    def _answer(self, output: str) -> object:
        found = _ANSWER.findall(output)
        try:
            return json.loads(base64.b64decode(found[-1], validate=True))
        except (IndexError, ValueError, binascii.Error) as error:
            raise CommandFailed(
                f"rabbitmqctl eval on {self._node} gave no usable answer: {output.strip()[-200:]}", exit_status=0
            ) from error

    def facts(self) -> dict[str, object]:
        """members, running, ours ({cluster_id, stamp} or None), broker_cluster_id, users."""
        answer = self.eval_json(_FACTS)
        if not isinstance(answer, dict):
            raise CommandFailed(f"rabbitmqctl eval on {self._node} answered no object", exit_status=0)
        return answer

    def view(self) -> View:
        """Whom this member's broker lists, without any account."""
        answer = self.facts()
        return View(_names(answer.get("members")), _names(answer.get("running")))

    def join(self, target: str) -> None:
        """Make this broker a member of `target`'s cluster; its own data is gone afterwards.

        Only while it lists nobody but itself: `join_cluster` on a member resets and restarts it (Khepri). The
        application is started again in any case, or the broker would stand still after a refusal.
        """
        if not _NODE.match(target) or target == self._node:
            raise CommandFailed(f"{target!r} is not another member to join", exit_status=None)
        listed = self.view().members
        if listed != {self._node}:
            others = ", ".join(sorted(listed - {self._node}))
            raise CommandFailed(f"{self._node} already lists {others}: not joined again", exit_status=None)
        self.run("rabbitmqctl", "stop_app", deadline_seconds=APP_SECONDS)
        try:
            self.run("rabbitmqctl", "join_cluster", target, deadline_seconds=JOIN_SECONDS)
        finally:
            self.run("rabbitmqctl", "start_app", deadline_seconds=APP_SECONDS)

    def import_definitions(self, definitions: bytes) -> None:
        """Upsert users, virtual hosts, permissions and parameters; declare what is missing. JSON, by stdin.

        13 s for 1.2 MiB, 1 s for what is usual (measured on 4.0.5).
        """
        expression = " ".join((_IMPORT % base64.b64encode(definitions).decode()).split())
        said = self._answer(
            self.run("rabbitmqctl", "eval", deadline_seconds=IMPORT_SECONDS, input_bytes=expression.encode())
        )
        if said != "":
            raise CommandFailed(f"{self._node} refused the definitions: {str(said)[:_REASON_LIMIT]}", exit_status=None)

    def delete_user(self, name: str) -> None:
        self.run("rabbitmqctl", "delete_user", name, deadline_seconds=APP_SECONDS)

    def set_global_parameter(self, name: str, value: Mapping[str, str]) -> None:
        """`value` is visible in the process list: names and hashes only."""
        self.run("rabbitmqctl", "set_global_parameter", name, json.dumps(value), deadline_seconds=APP_SECONDS)

    def grow(self, node: str, vhost: str, queues: frozenset[str]) -> None:
        """Add a replica on `node` to exactly these quorum queues of one virtual host, where it has none yet.

        The tool exits 0 even when single queues failed: read the replicas again afterwards.
        """
        names = "|".join(sorted(re.escape(name) for name in queues))
        self.run(
            "rabbitmq-queues",
            "grow",
            node,
            "all",
            "--vhost-pattern",
            f"^{re.escape(vhost)}$",
            "--queue-pattern",
            f"^({names})$",
            deadline_seconds=GROW_COMMAND_SECONDS,
        )


def _names(value: object) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) and _NODE.match(name) for name in value):
        raise CommandFailed("rabbitmqctl eval answered something that is not a list of nodes", exit_status=0)
    return frozenset(value)


def _own_words(done: "Finished") -> str:
    """The tool's error without its advice; it never holds what went in by stdin."""
    text = done.stderr.decode("utf-8", errors="replace").strip() or done.stdout.decode("utf-8", "replace").strip()
    lines = [line.strip() for line in text.splitlines() if line.strip() and line.strip() != "Error:"]
    return " ".join(lines[:6])[:500] or "it gave no reason"
