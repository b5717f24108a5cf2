"""The demo's own Redis and its own epmd, on loopback, apart from any that run on the machine already."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rmqcluster.demo import layout, proc
from rmqcluster.demo.errors import DemoFailed
from rmqcluster.demo.layout import Owner
from rmqcluster.demo.state import HOST, MARKER, DemoState
from rmqcluster.process.procfs import ProcessId, identify

ANSWER_SECONDS = 20.0
REDIS = "redis-server"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find_program(name: str, package: str) -> str:
    """Absolute path. Raises DemoFailed naming the Debian package that has it."""
    found = shutil.which(name) or shutil.which(name, path=SYSTEM_PATH)
    if found is None:
        raise DemoFailed(f"{name} is not installed. Type: make setup, or as root: apt-get install {package}")
    return found


def spawn(argv: Sequence[str], env: Mapping[str, str], log: Path, cwd: Path, owner: Owner | None) -> ProcessId:
    """Start a process that outlives us, in a session of its own; its output goes to `log`."""
    user = None if owner is None or owner.name is None else owner
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=[] if user else None,
        )
    started = identify(process.pid)
    # Nobody waits for it here: it is found again by its id, also by other runs of this program.
    process.returncode = 0
    if started is None:
        proc.wait_gone([ProcessId(process.pid, 0)], ANSWER_SECONDS)
        raise DemoFailed(f"{argv[0]} ended at once; its words: {_words(log)}")
    return started


def write_redis_configuration(state: DemoState, password: str, owner: Owner) -> None:
    directory = layout.make_directory(state.directory / "redis", owner, 0o700)
    lines = [
        f"bind {HOST}",
        f"port {state.redis.port}",
        f"requirepass {password}",
        f"dir {directory}",
        "maxmemory-policy noeviction",
        "notify-keyspace-events Ex",
        'save ""',
        "appendonly no",
        "daemonize no",
    ]
    layout.write(directory / "redis.conf", "\n".join(lines) + "\n", owner, 0o600)


def start_redis(state: DemoState, owner: Owner) -> DemoState:
    """Start Redis and wait until it answers. The password is in the configuration file alone."""
    directory = state.directory / "redis"
    environment = _environment(state, "redis")
    argv = [find_program(REDIS, REDIS), str(directory / "redis.conf")]
    process = spawn(argv, environment, _log(directory / "redis.log", owner), directory, owner)
    _await_port(state.redis.port, process, "Redis", directory / "redis.log")
    return replace(state, redis=replace(state.redis, process=process))


def start_epmd(state: DemoState, owner: Owner) -> DemoState:
    """Start the Erlang port mapper that only the demo's brokers use."""
    environment = _environment(state, "epmd")
    argv = [find_program("epmd", "erlang-base"), "-address", HOST, "-port", str(state.epmd.port)]
    log = _log(state.directory / "epmd.log", owner)
    process = spawn(argv, environment, log, state.directory, owner)
    _await_port(state.epmd.port, process, "epmd", log)
    return replace(state, epmd=replace(state.epmd, process=process))


def processes(state: DemoState) -> list[ProcessId]:
    """Redis and epmd, remembered or not."""
    known = [service.process for service in (state.redis, state.epmd) if service.process is not None and service.is_up]
    found = proc.working_in(state.directory / "redis", REDIS) + proc.marked(state.marker("epmd"))
    return known + [process for process in found if process not in known]


def _environment(state: DemoState, what: str) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", SYSTEM_PATH), "LANG": "C.UTF-8", MARKER: state.marker(what).split("=", 1)[1]}


def _log(path: Path, owner: Owner) -> Path:
    return path if path.exists() else layout.write(path, "", owner, 0o640)


def _await_port(port: int, process: ProcessId, name: str, log: Path) -> None:
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            with socket.create_connection((HOST, port), timeout=1):
                return
        except OSError as error:
            if not process.is_alive():
                proc.wait_gone([process], ANSWER_SECONDS)
                raise DemoFailed(f"{name} ended at once; its last words: {_words(log)}") from error
            if time.monotonic() > deadline:
                proc.end([process], term_seconds=1)
                raise DemoFailed(f"{name} does not answer on {HOST}:{port} ({error}); log: {log}") from error
        time.sleep(proc.POLL_SECONDS)


def _words(log: Path) -> str:
    return " | ".join(layout.tail(log, 5)) or f"none, see {log}"
