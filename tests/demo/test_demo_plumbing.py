"""The demo's parts that need no broker: numbers, ports, directories, records, and ending what was started."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support import wait_until

from rmqcluster.config.load import load
from rmqcluster.demo import acts, layout, node, proc, services, state
from rmqcluster.demo.errors import DemoBusy, DemoRefused, DemoUsage
from rmqcluster.demo.ports import free_ports
from rmqcluster.process.procfs import ProcessId, identify


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that the broker's user can enter (pytest's own are closed to it)."""
    with tempfile.TemporaryDirectory(prefix="rmqdemo-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture
def demo(place: Path) -> Iterator[state.DemoState]:
    made = acts.create(place / ".demo", 3, layout.find_owner(), acts.SETTINGS)
    yield made
    acts.stop_everything(made, lambda words: None)


@pytest.mark.parametrize(("text", "number"), [("2", 2), (" 1 ", 1), ("rmq3", 3), ("rmq3@localhost", 3)])
def test_a_node_is_named_by_number_or_name(text: str, number: int) -> None:
    """A node can be named as 2, rmq2 or rmq2@localhost."""
    assert acts.node_number(text) == number


@pytest.mark.parametrize("text", ["", "  ", "abc", "-1", "1.5", "99999999999", "²", "rabbit@x"])
def test_what_names_no_node_is_a_usage_error(text: str) -> None:
    """Anything else is refused with an example and exit code 64."""
    with pytest.raises(DemoUsage, match="NODE=2") as refused:
        acts.node_number(text)
    assert refused.value.exit_code == 64


def test_a_node_that_is_not_in_the_demo_is_a_usage_error(demo: state.DemoState) -> None:
    """NODE=7 of a demo of three is refused, naming the numbers that there are."""
    with pytest.raises(DemoUsage, match="no node 7; it has 1, 2, 3"):
        demo.node(7)


def test_no_port_is_given_twice_and_taken_ones_are_not_given() -> None:
    """Free ports are all different, and nobody listens on them."""
    ports = free_ports(40)
    assert len(set(ports)) == 40
    for port in ports:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", port))


def test_the_record_survives_writing_and_reading(demo: state.DemoState, place: Path) -> None:
    """What runs is read back as it was written, process identities included."""
    me = identify(os.getpid())
    changed = demo.with_node(replace(demo.node(2), supervisor=me))
    state.save(changed)
    assert state.load(place / ".demo") == changed


def test_there_is_no_demo_without_a_record(place: Path) -> None:
    """Every act on a missing demo says how to make one, with exit code 1."""
    link = place / ".demo"
    for act in (
        lambda: state.load(link),
        lambda: acts.start(link, 1, print),
        lambda: acts.kill(link, 1, print),
        lambda: acts.down(link, print),
        lambda: state.client_environment(link),
    ):
        with pytest.raises(DemoRefused, match="Type: make demo") as refused:
            act()
        assert refused.value.exit_code == 1


@pytest.mark.parametrize("text", ["0", "2", "4", "-1", "three", ""])
def test_a_size_that_is_not_offered_is_a_usage_error(text: str) -> None:
    """A demo has 1, 3 or 5 nodes."""
    with pytest.raises(DemoUsage, match="1, 3 or 5"):
        acts.size_of(text)


def test_killing_what_does_not_run_is_refused(demo: state.DemoState, place: Path) -> None:
    """A kill of a dead node changes nothing and says how to start it."""
    with pytest.raises(DemoRefused, match="NODE=2"):
        acts.kill(place / ".demo", 2, print)


def test_starting_what_runs_is_refused(demo: state.DemoState, place: Path) -> None:
    """A start of a running node changes nothing."""
    state.save(demo.with_node(replace(demo.node(1), supervisor=identify(os.getpid()))))
    with pytest.raises(DemoRefused, match="runs already"):
        acts.start(place / ".demo", 1, print)


def test_two_commands_never_work_on_one_demo(place: Path) -> None:
    """The second demo command is told to try again (75), and may once the first has ended."""
    link = place / ".demo"
    with acts.exclusive(link), pytest.raises(DemoBusy) as busy, acts.exclusive(link):
        pass
    assert busy.value.exit_code == 75
    with acts.exclusive(link):
        pass


def test_secrets_are_for_the_owner_alone_and_in_no_record(demo: state.DemoState) -> None:
    """Passwords and cookie are in files of mode 0600 below a closed directory, and nowhere else in the open."""
    values = []
    for name in state.SECRETS:
        path = demo.secret_file(name)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        values.append(path.read_text().strip())
    assert stat.S_IMODE((demo.directory / "secrets").stat().st_mode) == 0o700
    assert stat.S_IMODE((demo.directory / "redis" / "redis.conf").stat().st_mode) == 0o600
    record = (demo.directory / "state.json").read_text()
    environment = node.environment(demo, demo.node(1))
    for value in values:
        assert value not in record
        assert value not in str(environment)


def test_the_supervisor_accepts_its_environment(demo: state.DemoState) -> None:
    """Every setting that a demo node or a client of the demo is given passes the check of settings."""
    member = load(node.environment(demo, demo.node(3)), None)
    assert (member.node, member.policy.size, member.http_port) == ("rmq3@localhost", 3, demo.node(3).http_port)
    assert [account.name for account in member.accounts] == ["admin", "worker1", "worker2", "worker3"]
    assert not member.warnings
    client = load(state.client_environment(demo.directory), None, role="client")
    assert client.redis.port == demo.redis.port


@pytest.mark.redis
def test_everything_that_was_started_is_ended(demo: state.DemoState, place: Path) -> None:
    """`down` ends Redis, epmd and stray processes of a node that nobody remembers, and removes the directory."""
    owner = layout.find_owner()
    running = services.start_epmd(services.start_redis(demo, owner), owner)
    stray = subprocess.Popen(
        [sys.executable, "-c", "import time, signal; signal.signal(15, signal.SIG_IGN); time.sleep(600)"],
        env={state.MARKER: demo.marker("node2").split("=", 1)[1]},
        start_new_session=True,
    )
    bystander = subprocess.Popen(["sleep", "600"], env={state.MARKER: "of-another-demo-node2."})
    try:
        pids = [running.redis.process, running.epmd.process, identify(stray.pid)]
        assert all(process is not None and process.is_alive() for process in pids)
        state.save(demo)  # as after a crash right after starting: nobody wrote the pids down
        acts.down(place / ".demo", lambda words: None)
        stray.wait(timeout=5)
        assert not any(process.is_alive() for process in pids if process is not None)
        assert bystander.poll() is None
        assert list(place.iterdir()) == []
    finally:
        for process in (stray, bystander):
            process.kill()
            process.wait()


@pytest.mark.redis
def test_redis_is_on_loopback_and_wants_the_password(demo: state.DemoState) -> None:
    """The demo's Redis refuses who has no password, and its command line does not show it."""
    running = services.start_redis(demo, layout.find_owner())
    assert running.redis.process is not None
    with socket.create_connection(("127.0.0.1", running.redis.port), timeout=5) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(100).startswith(b"-NOAUTH")
    password = demo.secret_file("redis").read_text().strip()
    assert password not in " ".join(proc.arguments(running.redis.process))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root steps down to another user")
def test_below_a_closed_directory_the_demo_lives_elsewhere(place: Path) -> None:
    """Where the broker's user cannot go, the directory is a link to one below /var/lib, and `down` removes both."""
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    link = closed / ".demo"
    made = acts.create(link, 1, layout.find_owner(), {})
    try:
        assert link.is_symlink()
        assert made.directory.parent == layout.OPEN_PARENT
        assert state.load(link) == made
    finally:
        acts.down(link, lambda words: None)
    assert not made.directory.exists()
    assert list(closed.iterdir()) == []


def test_a_directory_that_is_no_demo_is_left_alone(place: Path) -> None:
    """A file or directory of that name that we did not make is never used or removed."""
    (place / ".demo").mkdir()
    (place / ".demo" / "precious").write_text("x")
    with pytest.raises(DemoRefused, match="holds no demo"):
        acts.create(place / ".demo", 1, layout.find_owner(), {})
    assert (place / ".demo" / "precious").read_text() == "x"


class DyingWhenLookedAt(ProcessId):
    def is_alive(self) -> bool:
        os.kill(self.pid, signal.SIGKILL)
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        return super().is_alive()


def test_a_child_that_dies_while_it_is_looked_at_leaves_no_zombie() -> None:
    """Whoever is found gone is collected, at whatever moment it died."""
    child = subprocess.Popen(["sleep", "600"])
    found = identify(child.pid)
    assert found is not None
    assert proc.wait_gone([DyingWhenLookedAt(found.pid, found.start_ticks)], 5) == []
    with pytest.raises(ChildProcessError):
        os.waitpid(child.pid, os.WNOHANG)
    child.returncode = -signal.SIGKILL


def test_a_process_is_gone_with_its_last_thread() -> None:
    """The first thread of a killed broker may end before the others, who hold its ports until they end, too."""
    code = (
        "import ctypes, platform, threading, time\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "ctypes.CDLL(None).syscall({'x86_64': 60, 'aarch64': 93}[platform.machine()], 0)\n"  # exit of this thread
    )
    child = subprocess.Popen([sys.executable, "-c", code])
    try:
        stat_file = Path(f"/proc/{child.pid}/stat")
        wait_until(lambda: stat_file.read_text().rpartition(")")[2].split()[0] == "Z", 10, "its first thread has ended")
        assert identify(child.pid) is not None
    finally:
        child.kill()
        child.wait()
    assert identify(child.pid) is None
