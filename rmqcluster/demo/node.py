"""One member of the demo: its files, its environment, and the supervisor process that runs it."""

import os
import signal
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import rmqcluster
from rmqcluster.demo import layout, proc, services
from rmqcluster.demo.layout import Owner
from rmqcluster.demo.state import ADMIN_USER, HOST, MARKER, DemoState, NodeState, common_environment
from rmqcluster.process.procfs import ProcessId

KILL_SECONDS = 10.0
# The demo must not go into a disk alarm on a machine that is merely full, and its page is for this machine only.
CONFIGURATION = f"""\
management.tcp.ip = {HOST}
disk_free_limit.absolute = 50MB
"""
PLUGINS = "[rabbitmq_management].\n"
LOOPBACK_ONLY = "-kernel inet_dist_use_interface {127,0,0,1}"


def prepare(state: DemoState, node: NodeState, owner: Owner) -> None:
    """Lay the member's directory out. What is there already is kept, so its data is too."""
    home = layout.make_directory(state.node_directory(node.number), owner)
    for name in ("mnesia", "log", "conf.d"):
        layout.make_directory(home / name, owner)
    layout.write(home / "conf.d" / "50-demo.conf", CONFIGURATION, owner)
    layout.write(home / "enabled_plugins", PLUGINS, owner)
    # Empty ones of our own, so that the machine's files for another broker do not reach this one.
    layout.write(home / "rabbitmq-env.conf", "", owner)
    layout.write(home / "advanced.config", "[].\n", owner)
    log = state.log_file(node.number)
    if not log.exists():
        layout.write(log, "", owner, 0o640)


def environment(state: DemoState, node: NodeState) -> dict[str, str]:
    """The whole environment of one supervisor: nothing of the person's own, so nothing surprises it."""
    home = state.node_directory(node.number)
    return {
        "PATH": os.environ.get("PATH", services.SYSTEM_PATH),
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "PYTHONPATH": str(Path(rmqcluster.__file__).parent.parent),
        MARKER: state.marker(f"node{node.number}").split("=", 1)[1],
        "ERL_EPMD_PORT": str(state.epmd.port),
        "ERL_EPMD_ADDRESS": HOST,
        "RABBITMQ_NODENAME": node.name,
        "RABBITMQ_NODE_IP_ADDRESS": HOST,
        "RABBITMQ_NODE_PORT": str(node.amqp_port),
        "RABBITMQ_DIST_PORT": str(node.dist_port),
        "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_CONFIG_FILE": str(state.directory / "rabbitmq.conf"),
        "RABBITMQ_CONFIG_FILES": str(home / "conf.d"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
        "RABBITMQ_CONF_ENV_FILE": str(home / "rabbitmq-env.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": LOOPBACK_ONLY,
        "RABBITMQ_CTL_ERL_ARGS": LOOPBACK_ONLY,
        "RMQCLUSTER_DEFINITIONS": str(state.directory / "definitions.json"),
        "RMQCLUSTER_MANAGEMENT_PORT": str(node.management_port),
        "RMQCLUSTER_HTTP_BIND": HOST,
        "RMQCLUSTER_HTTP_PORT": str(node.http_port),
        "RMQCLUSTER_HOST_ID": f"demo-host{node.number}",
        "MQ_ADMIN_USER": ADMIN_USER,
        "MQ_ADMIN_PASS_FILE": str(state.secret_file("admin")),
        **{f"MQ_NODE{number}_WORKER": f"worker{number}" for number in (1, 2, 3)},
        **{f"MQ_NODE{number}_PASS_FILE": str(state.secret_file("worker")) for number in (1, 2, 3)},
        **common_environment(state),
    }


def start(state: DemoState, number: int, owner: Owner, extra: dict[str, str] | None = None) -> DemoState:
    """Start the supervisor (root steps down by itself) and return the state that names it."""
    node = state.node(number)
    prepare(state, node, owner)
    process = services.spawn(
        [sys.executable, "-m", "rmqcluster", "entrypoint"],
        environment(state, node) | (extra or {}),
        state.log_file(number),
        state.node_directory(number),
        None,
    )
    return state.with_node(replace(node, supervisor=process))


def processes(state: DemoState, number: int) -> list[ProcessId]:
    """The supervisor, its broker and their helpers, whoever of them is left."""
    node = state.node(number)
    found = proc.marked(state.marker(f"node{number}"))
    if node.supervisor is not None and node.is_up and node.supervisor not in found:
        found.insert(0, node.supervisor)  # as another user than root its environment cannot be read
    return found


def broker(state: DemoState, number: int) -> ProcessId | None:
    """The Erlang VM that was told to start RabbitMQ; those of its tools were told other things."""
    for process in processes(state, number):
        told = set(pairwise(proc.arguments(process)))
        if proc.command_name(process) == "beam.smp" and ("-s", "rabbit") in told:
            return process
    return None


def kill(state: DemoState, number: int) -> list[ProcessId]:
    """SIGKILL the supervisor first, so that it cannot start its broker anew, then all the rest."""
    supervisor = state.node(number).supervisor
    if supervisor is not None:
        proc.send([supervisor], signal.SIGKILL)
        proc.wait_gone([supervisor], KILL_SECONDS)
    return proc.end(processes(state, number), term_seconds=0, kill_seconds=KILL_SECONDS)
