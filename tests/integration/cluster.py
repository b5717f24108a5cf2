"""A real cluster for tests: the demo's own code, with faults. Everything it starts is ended by `close`."""

import base64
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pika
import redis
from failover.ledger import Account, Endpoint, Ledger
from support import wait_until

from rmqcluster.broker.account import MONITOR_USER, monitor_password
from rmqcluster.broker.version import find_scripts
from rmqcluster.config.settings import Secret
from rmqcluster.demo import acts, layout, node, proc, services, state, watch
from rmqcluster.demo.state import DemoState
from rmqcluster.errors import ExitCode

HOST = "127.0.0.1"
BACK_SECONDS = 60.0
COMMAND_SECONDS = 90.0
FAST = {
    "RMQCLUSTER_HEARTBEAT_SECONDS": "1",
    "RMQCLUSTER_TTL_SECONDS": "3",
    "RMQCLUSTER_SETTLE_SECONDS": "2",
}
TTL_SECONDS = 3.0


class Cluster:
    """Nodes are named by number. Nothing runs until it is started. `living` are those that are not closed yet."""

    living: ClassVar[list["Cluster"]] = []

    def __init__(self, size: int = 3, settings: Mapping[str, str] | None = None) -> None:
        self._top = Path(tempfile.mkdtemp(prefix="rmqcluster-test-"))
        self._top.chmod(0o755)
        self.owner = layout.find_owner()
        self.demo: DemoState = acts.create(self._top / "d", size, self.owner, FAST | dict(settings or {}))
        self.demo = services.start_epmd(self.demo, self.owner)
        self.numbers = tuple(one.number for one in self.demo.nodes)
        self._exit_codes: dict[int, int] = {}
        Cluster.living.append(self)

    def close(self) -> None:
        """A test that is over needs no orderly stop."""
        self.kill()
        self.redis_resume()
        acts.stop_everything(self.demo, lambda words: None)
        shutil.rmtree(self._top)
        Cluster.living.remove(self)

    # Members

    def address(self, number: int) -> str:
        """Where this member's ports answer us."""
        return HOST

    def name(self, number: int) -> str:
        return self.demo.node(number).name

    def start(self, *numbers: int, extra: Mapping[str, str] | None = None) -> None:
        """Start supervisors and return at once."""
        for number in numbers or self.numbers:
            self._exit_codes.pop(number, None)
            self.demo = acts.start_supervisor(self.demo, number, self.owner, extra)

    def await_members(self, *numbers: int, seconds: float = BACK_SECONDS, provisioned: bool = True) -> None:
        """Until these are running, mutual, registered and provisioned, with one cluster id."""
        wanted = numbers or self.numbers
        watch.await_members(self.demo, wanted, lambda words: None, seconds, provisioned=provisioned)

    def form(self) -> None:
        """Redis and all nodes at once, until all are members."""
        self.redis_start()
        self.start()
        self.await_members()

    def heal(self) -> None:
        """Whatever a test left behind: good disks are back, everything runs, all are members."""
        self.redis_resume()
        if not self.demo.redis.is_up:
            self.redis_start()
        for number in self.numbers:
            self.resume(number)
            if self._aside(number).exists():
                self.kill(number)
                self.return_disk(number)
            if not self.demo.node(number).is_up:
                self.kill(number)
                self.start(number)
        self.await_members()

    def kill(self, *numbers: int) -> None:
        """SIGKILL supervisors and brokers at once: the power is gone."""
        supervisors = [self.demo.node(number).supervisor for number in numbers or self.numbers]
        proc.send([process for process in supervisors if process is not None], signal.SIGKILL)
        everything = [process for number in numbers or self.numbers for process in node.processes(self.demo, number)]
        assert not proc.end(everything, term_seconds=0)
        for number in numbers or self.numbers:
            assert not node.kill(self.demo, number)  # what was born meanwhile

    def kill_broker(self, number: int) -> None:
        os.kill(self.broker_pid(number), signal.SIGKILL)

    def kill_supervisor(self, number: int) -> None:
        """SIGKILL of the supervisor alone."""
        os.kill(self.supervisor_pid(number), signal.SIGKILL)

    def terminate(self, *numbers: int) -> None:
        """SIGTERM to the supervisors, as `docker stop` does; returns at once."""
        for number in numbers or self.numbers:
            os.kill(self.supervisor_pid(number), signal.SIGTERM)

    def exit_code(self, number: int, seconds: float = 30) -> int:
        """Wait until the supervisor has ended by itself; its exit code, minus the signal that ended it."""
        pid = self.supervisor_pid(number)
        if number not in self._exit_codes:

            def ended() -> int:
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    self._exit_codes[number] = os.waitstatus_to_exitcode(status)
                return found

            wait_until(ended, seconds, f"the supervisor of node {number} ends")
        return self._exit_codes[number]

    def pause(self, number: int) -> None:
        """SIGSTOP: the whole member hangs, its connections stay open."""
        proc.send(node.processes(self.demo, number), signal.SIGSTOP)

    def resume(self, number: int) -> None:
        proc.send(node.processes(self.demo, number), signal.SIGCONT)

    @staticmethod
    def pause_process(pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)

    @staticmethod
    def resume_process(pid: int) -> None:
        os.kill(pid, signal.SIGCONT)

    def supervisor_pid(self, number: int) -> int:
        process = self.demo.node(number).supervisor
        assert process is not None, f"node {number} was never started"
        return process.pid

    def broker_pid(self, number: int) -> int:
        process = node.broker(self.demo, number)
        assert process is not None, f"node {number} has no broker: {self.log(number)[-10:]}"
        return process.pid

    def has_broker(self, number: int) -> bool:
        return node.broker(self.demo, number) is not None

    def broker_pids(self) -> dict[int, int]:
        return {number: self.broker_pid(number) for number in self.numbers}

    # What they say

    def status(self, number: int) -> dict[str, Any] | None:
        report = watch.read_report(self.demo.node(number))
        return dict(report.whole) if report else None

    def row(self, number: int, by: int | None = None) -> dict[str, Any]:
        """What `by` (else the member itself) says of `number`; empty when it says nothing."""
        whole = self.status(by or number) or {}
        rows = [row for row in whole.get("members", []) if row["node"] == self.name(number)]
        return rows[0] if rows else {}

    def log(self, number: int, lines: int = 400) -> list[str]:
        return layout.tail(self.demo.log_file(number), lines, 512 * 1024)

    def logged(self, number: int, text: str) -> bool:
        return any(text in line for line in self.log(number, 5000))

    # Commands

    def environment(self, number: int) -> dict[str, str]:
        """What everything on that member's side is started with."""
        return node.environment(self.demo, self.demo.node(number))

    def cli(self, number: int, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        """`rmqcluster …` as typed beside that member; `answer` is what the person types when asked."""
        return self._run(number, [sys.executable, "-m", "rmqcluster", *arguments], answer)

    def ask(self, number: int, *arguments: str) -> str:
        """An operation, asked for until nobody else is busy; what it said. Fails the test when it fails."""
        done: list[subprocess.CompletedProcess[str]] = []

        def is_free() -> bool:
            done.append(self.cli(number, *arguments))
            return done[-1].returncode != ExitCode.TRY_AGAIN

        wait_until(is_free, 60, f"{arguments[0]} gets its turn")
        assert done[-1].returncode == 0, f"{' '.join(arguments)}: {done[-1].stdout}{done[-1].stderr}"
        return done[-1].stdout

    def ctl(self, number: int, *arguments: str, tool: str = "rabbitmqctl") -> str:
        """RabbitMQ's own tool, as its user, beside that member; what it said. Fails the test when it fails."""
        done = self._run(number, [find_scripts(os.environ).path(tool), *arguments])
        assert done.returncode == 0, f"{tool} {' '.join(arguments)}: exit {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def _run(self, number: int, argv: list[str], answer: str = "") -> subprocess.CompletedProcess[str]:
        user = self.owner.uid if self.owner.name else None
        return subprocess.run(
            argv,
            env=self.environment(number),
            cwd=self.demo.node_directory(number),
            user=user,
            group=self.owner.gid if user is not None else None,
            extra_groups=[] if user is not None else None,
            input=answer,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    # Disks

    def mnesia(self, number: int) -> Path:
        return self.demo.node_directory(number) / "mnesia"

    def lose_disk(self, number: int, *, only_data: bool = False) -> None:
        """The volume is gone (or only the broker's part of it), but kept aside: `return_disk` brings it back."""
        lost = self.mnesia(number) / self.name(number) if only_data else self.mnesia(number)
        lost.rename(self._aside(number))

    def wipe_disk(self, number: int) -> None:
        """The volume is gone for good; what comes back under this name is blank."""
        self.lose_disk(number)
        shutil.rmtree(self._aside(number))

    def return_disk(self, number: int) -> None:
        """The good volume is mounted again, in place of whatever is there now."""
        aside, place = self._aside(number), self.mnesia(number)
        if not (aside / "rmqcluster").exists():
            place = place / self.name(number)
        if place.exists():
            shutil.rmtree(place)
        aside.rename(place)

    def drop_disk(self, number: int) -> None:
        """The volume that was lost is gone for good."""
        shutil.rmtree(self._aside(number))

    def _aside(self, number: int) -> Path:
        return self.demo.node_directory(number) / "mnesia-aside"

    def give_disk_of(self, other: "Cluster", number: int) -> None:
        """A copy of another cluster's volume is mounted here; the node must have lost its own."""
        shutil.copytree(other.mnesia(number), self.mnesia(number))
        for path in (self.mnesia(number), *self.mnesia(number).rglob("*")):
            shutil.chown(path, self.owner.uid, self.owner.gid)

    def marker(self, number: int) -> dict[str, Any] | None:
        path = self.mnesia(number) / "rmqcluster" / self.name(number) / "marker.json"
        return json.loads(path.read_text()) if path.exists() else None

    # Redis

    def redis_start(self) -> None:
        self.demo = services.start_redis(self.demo, self.owner)
        state.save(self.demo)

    def redis_kill(self) -> None:
        """Gone, and empty when it comes back: it saves nothing."""
        assert self.demo.redis.process is not None
        assert not proc.end([self.demo.redis.process], term_seconds=0)

    def redis_pause(self) -> None:
        assert self.demo.redis.process is not None
        proc.send([self.demo.redis.process], signal.SIGSTOP)

    def redis_resume(self) -> None:
        if self.demo.redis.process is not None:
            proc.send([self.demo.redis.process], signal.SIGCONT)

    def redis(self) -> "redis.Redis":
        return redis.Redis(
            port=self.demo.redis.port, password=self.secret("redis"), decode_responses=True, socket_timeout=5
        )

    def redis_dump(self) -> dict[str, Any]:
        """The keys that people read."""
        with self.redis() as client:
            return {
                "members": client.smembers("rabbitmq:cluster:members"),
                "master": client.get("rabbitmq:cluster:master"),
                "heartbeats": {
                    key.split(":", 2)[2].rsplit(":", 1)[0] for key in client.scan_iter("rabbitmq:node:*:heartbeat")
                },
            }

    def secret(self, name: str) -> str:
        return self.demo.secret_file(name).read_text().strip()

    def write_secret(self, name: str, value: str) -> Path:
        return layout.write(self.demo.directory / name, value + "\n", self.owner, 0o600)

    def history(self, kind: str) -> list[str]:
        """What was told of this kind, oldest first."""
        with self.redis() as client:
            rows = client.xrange("rabbitmq:events")
        return [fields["text"] for _, fields in rows if fields["kind"] == kind]

    # Brokers

    def ledger(self, *numbers: int, queues: int = 3) -> Ledger:
        """A load through these members that counts every message; not started."""
        ends = [Endpoint(HOST, self.demo.node(number).amqp_port) for number in numbers or self.numbers]
        return Ledger(ends, Account("admin", self.secret("admin")), queues=queues, publishers=2)

    def api(self, number: int, path: str, user: str = "admin", password: str | None = None) -> tuple[int, Any]:
        """GET of the management API: status and JSON. Raises OSError while nobody answers."""
        connection = http.client.HTTPConnection(HOST, self.demo.node(number).management_port, timeout=10)
        try:
            token = _basic(user, password if password is not None else self.secret("admin"))
            connection.request("GET", path, headers={"Authorization": token})
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"null")
        finally:
            connection.close()

    def assert_one(self) -> None:
        """One id on all disks, in all reports and in all brokers, and everybody lists everybody."""
        ids = {(self.marker(number) or {}).get("cluster_id") for number in self.numbers}
        assert len(ids) == 1
        assert None not in ids
        assert {(self.status(number) or {})["cluster_id"] for number in self.numbers} == ids
        assert len(self.broker_cluster_ids()) == 1
        names = {self.name(number) for number in self.numbers}
        assert all(self.member_names(number) == names for number in self.numbers)

    def member_names(self, number: int) -> set[str]:
        """Whom this broker lists."""
        return {one["name"] for one in self.api(number, "/api/nodes?columns=name", *self._monitor())[1]}

    def broker_cluster_ids(self) -> set[str]:
        """RabbitMQ's own id of the cluster, asked of every broker."""
        found = set()
        for number in self.numbers:
            values = self.api(number, "/api/global-parameters/internal_cluster_id", *self._monitor())[1]
            found.add(values["value"])
        return found

    def _monitor(self) -> tuple[str, str]:
        """The supervisors' own account, which is there before all others."""
        return MONITOR_USER, monitor_password(Secret(self.secret("cookie"))).value

    @contextmanager
    def channel(self, number: int, user: str = "admin", password: str | None = None) -> Iterator[Any]:
        credentials = pika.PlainCredentials(user, password if password is not None else self.secret("admin"))
        parameters = pika.ConnectionParameters(
            host=HOST,
            port=self.demo.node(number).amqp_port,
            virtual_host="/fog",
            credentials=credentials,
            blocked_connection_timeout=20,
            socket_timeout=10,
        )
        connection = pika.BlockingConnection(parameters)
        try:
            channel = connection.channel()
            channel.confirm_delivery()
            yield channel
        finally:
            if connection.is_open:
                connection.close()

    def amqp_is_open(self, number: int) -> bool:
        connection = http.client.HTTPConnection(HOST, self.demo.node(number).amqp_port, timeout=2)
        try:
            connection.connect()
        except OSError:
            return False
        finally:
            connection.close()
        return True

    def process_text(self) -> str:
        """Arguments and environments of everything that runs."""
        texts = []
        for number in self.numbers:
            for process in node.processes(self.demo, number):
                texts += proc.arguments(process)
                texts.append(Path(f"/proc/{process.pid}/environ").read_bytes().decode("utf-8", "replace"))
        return "\n".join(texts)

    def describe(self) -> str:
        """The last lines of every node, for a test that failed."""
        parts = []
        for number in self.numbers:
            parts.append(f"--- {self.name(number)} ---")
            parts += watch.telling_lines(self.demo.log_file(number), 40)
        return "\n".join(parts)


def never(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Fails when `condition` becomes true within `seconds`: for what must not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert not condition(), what
        time.sleep(0.05)


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
