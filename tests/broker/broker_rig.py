"""A real RabbitMQ node in a temporary directory, run through the room's own objects, as user `rabbitmq`."""

import os
import pwd
import random
import select
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from support import wait_until

from rmqcluster.agent.ports import Boot
from rmqcluster.broker.boot import RabbitProcess
from rmqcluster.broker.ctl import Ctl
from rmqcluster.broker.files import DataVolume, write_cookie
from rmqcluster.broker.management import ManagementApi
from rmqcluster.broker.version import find_scripts
from rmqcluster.config.settings import Paths, Secret, Settings
from rmqcluster.core.model import BrokerPhase, Policy, Purpose
from rmqcluster.process.children import Child, Children

REPOSITORY = Path(__file__).resolve().parents[2]
BOOT_SECONDS = 60.0


class AsRabbit:
    """Children that run as user `rabbitmq` when the tests run as root."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._user = "rabbitmq" if os.getuid() == 0 else None
        self.spawned: list[Child] = []

    def spawn(self, argv: Sequence[str], **options: Any) -> Child:
        child = self._children.spawn(argv, user=self._user, **options)
        self.spawned.append(child)
        return child

    def run(self, argv: Sequence[str], **options: Any) -> Any:
        return self._children.run(argv, user=self._user, **options)


class Rig:
    """One node: settings, process, tools, API. `turn` does what the supervisor's loop does."""

    def __init__(self, root: Path, epmd_port: int, name: str = "one", size: int = 1, **changes: Any) -> None:
        amqp, management, dist = free_ports(3)
        base = root / name
        for part in ("mnesia", "home", "conf.d", "log"):
            (base / part).mkdir(parents=True)
        (base / "enabled_plugins").write_text("[rabbitmq_management].\n")
        shutil.copy(REPOSITORY / "rabbitmq.conf", base / "rabbitmq.conf")
        paths = Paths(base / "mnesia", base / "home", base / "rabbitmq.conf", base / "conf.d", base / "enabled_plugins")
        settings = Settings(node=f"{name}@localhost", cookie=Secret("RIGCOOKIE"), paths=paths)
        self.settings = replace(
            settings, policy=Policy(size=size), amqp_port=amqp, management_port=management, **changes
        )
        self.base = base
        self.inherited: dict[str, str] = {
            "PATH": os.environ["PATH"],
            "ERL_EPMD_PORT": str(epmd_port),
            "RABBITMQ_DIST_PORT": str(dist),
            "RABBITMQ_LOG_BASE": str(base / "log"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "REDIS_PASS": "canary-redis",
            "MQ_ADMIN_PASS": "canary-admin",
            "RABBITMQ_ERLANG_COOKIE": "canary-cookie",
            "RABBITMQ_DEFAULT_PASS": "canary-default",
        }
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(base / "notify"))
        os.chmod(base / "notify", 0o777)
        self._notify.setblocking(False)
        self.children = Children()
        self.spawner = AsRabbit(self.children)
        self.lines: list[str] = []
        self.volume = DataVolume(self.settings)
        self.volume.prepare()
        write_cookie(paths.home, self.settings.cookie)
        scripts = find_scripts(self.inherited)
        self.process = RabbitProcess(
            self.settings,
            self.spawner,
            scripts,
            inherited=self.inherited,
            monotonic=time.monotonic,
            conf_directory=self.volume.state_dir / "conf.d",
            forward=self.lines.append,
            notify_socket=str(base / "notify"),
        )
        self.ctl = Ctl(self.settings, self.spawner, scripts, self.inherited)
        self.api = ManagementApi(self.settings)
        self.own()

    def own(self) -> None:
        """Give the node's files to the user that runs it."""
        if os.getuid() != 0:
            return
        user = pwd.getpwnam("rabbitmq")
        for directory, _, files in os.walk(self.base):
            for path in (directory, *(os.path.join(directory, file) for file in files)):
                os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)

    def start(self, boot: Boot | None = None) -> None:
        self.process.start(boot or Boot(Purpose.FOUND, "c1"))
        self.own()

    def start_ready(self, boot: Boot | None = None) -> None:
        self.start(boot)
        self.until(BrokerPhase.READY)

    def turn(self) -> None:
        select.select([self.process.output_fileno(), self._notify], [], [], 0.05)
        self.process.on_readable()
        with suppress(BlockingIOError):  # nothing was told
            fields = dict(line.split("=", 1) for line in self._notify.recv(4096).decode().splitlines() if "=" in line)
            self.process.on_notify(fields)
        for ended in self.children.reap():
            if ended.pid == self.process.pid:
                self.process.on_exit(ended.exit_status)

    def until(self, phase: BrokerPhase, seconds: float = BOOT_SECONDS) -> None:
        def reached() -> bool:
            self.turn()
            state = self.process.state()
            assert phase is BrokerPhase.DOWN or state.phase is not BrokerPhase.DOWN, state.exits
            return state.phase is phase

        wait_until(reached, seconds, f"broker {phase}; last words {self.lines[-5:]}")

    def stop(self) -> None:
        self.process.terminate()
        self.until(BrokerPhase.DOWN)

    def close(self) -> None:
        if self.process.pid is not None:
            self.process.kill()
            self.until(BrokerPhase.DOWN)
        self.process.close()
        for child in self.spawner.spawned:
            self.children.end(child)
        self._notify.close()

    def environment_of_broker(self) -> Mapping[str, str]:
        content = Path(f"/proc/{self.process.pid}/environ").read_text()
        return dict(entry.split("=", 1) for entry in content.split("\0") if "=" in entry)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, all different, and none that the kernel gives to outgoing connections."""
    with ExitStack() as stack:
        found: list[int] = []
        while len(found) < count:
            port = random.randrange(12_000, 32_000)
            one = stack.enter_context(socket.socket())
            with suppress(OSError):
                one.bind(("127.0.0.1", port))
                found.append(port)
        return found


@contextmanager
def rigs(count: int = 1, **changes: Any) -> Iterator[list[Rig]]:
    """Nodes on one epmd of their own, which the first one starts."""
    root = Path(tempfile.mkdtemp(prefix="rmqcluster-test-"))
    root.chmod(0o755)
    [epmd_port] = free_ports(1)
    made: list[Rig] = []
    try:
        for index in range(count):
            made.append(Rig(root, epmd_port, name=f"n{index + 1}", size=count, **changes))
        yield made
    finally:
        for rig in reversed(made):
            rig.close()
        shutil.rmtree(root)
