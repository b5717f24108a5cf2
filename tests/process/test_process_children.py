"""Children are started, signalled and collected with real processes, as a PID 1 must do it."""

import os
import pwd
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support import wait_until

from rmqcluster.errors import CommandFailed
from rmqcluster.process.children import Children
from rmqcluster.process.procfs import identify

ENV = {"PATH": os.environ["PATH"]}
ROOT = Path(__file__).parents[2]


@pytest.fixture
def children():
    made = Children()
    yield made
    for child in list(made._living.values()):
        made.end(child, 0.1)
    assert made.reap() == []


def processes_of(parent: int) -> list[int]:
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(word) for word in text.split()]


def in_python(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_exit_status_is_code_or_minus_signal(children: Children):
    """A child that exits reports its code, one that is killed the negative signal, as in subprocess."""
    first = children.spawn(["sh", "-c", "exit 7"], env=ENV)
    second = children.spawn(["sleep", "60"], env=ENV)
    assert second.exit_status is None
    assert second.signal(signal.SIGKILL)

    assert children.wait(first, 10) == 7
    assert children.wait(second, 10) == -signal.SIGKILL


def test_reap_collects_a_child_and_says_whose(children: Children):
    """The main loop learns of each end from `reap`, with the child it started."""
    child = children.spawn(["true"], env=ENV)
    ended = wait_until(children.reap, 10, "the child to be collected")

    assert [(one.pid, one.exit_status, one.child) for one in ended] == [(child.pid, 0, child)]
    assert child.exit_status == 0
    assert child.ended.is_set()


def test_no_signal_reaches_a_collected_pid(children: Children):
    """After a child was collected its pid may be anybody's, so nothing is sent any more."""
    child = children.spawn(["true"], env=ENV)
    children.wait(child, 10)

    assert child.signal(signal.SIGKILL) is False
    assert child.signal_group(signal.SIGKILL) is False


def test_zombie_can_be_signalled_without_an_error(children: Children):
    """Between its end and its collection a child still has its pid; signalling it is harmless."""
    child = children.spawn(["true"], env=ENV)
    wait_until(lambda: identify(child.pid) is None, 10, "the child to be a zombie")
    assert child.signal(signal.SIGTERM)
    assert children.wait(child, 1) == 0


def test_orphans_are_adopted_and_reaped():
    """A supervisor that is not PID 1 inherits a grandchild whose parent died, and collects it."""
    code = (
        "import os,select\n"
        "from rmqcluster.process.children import Children\n"
        "from rmqcluster.process.signals import Wakeup\n"
        "wakeup, children = Wakeup(), Children(adopt_orphans=True)\n"
        "reader, writer = os.pipe()\n"
        "shell = children.spawn(['sh','-c','sleep 0.3 & echo $!'], env=dict(os.environ), stdout=writer)\n"
        "orphan, seen = None, {}\n"
        "while len(seen) < 2 and wakeup.wait(10):\n"
        "    wakeup.drain()\n"
        "    seen.update({e.pid: e.child for e in children.reap()})\n"
        "orphan = int(os.read(reader, 99))\n"
        "print(seen == {shell.pid: shell, orphan: None})\n"
    )
    process = in_python(code)
    output, _ = process.communicate(timeout=30)

    assert output == "True\n"


def test_child_is_known_before_it_can_be_collected(children: Children):
    """Children that end at once, collected by another thread all the while, never count as orphans."""
    stop, strangers = threading.Event(), []

    def reap() -> None:
        while not stop.is_set():
            strangers.extend(ended for ended in children.reap() if ended.child is None)

    reaper = threading.Thread(target=reap)
    reaper.start()
    try:
        started = [children.spawn(["true"], env=ENV, tied=False) for _ in range(50)]
        for child in started:
            assert child.ended.wait(10)
    finally:
        stop.set()
        reaper.join()

    assert strangers == []
    assert {child.exit_status for child in started} == {0}


def test_child_has_only_the_given_environment(children: Children, monkeypatch: pytest.MonkeyPatch):
    """Nothing of our own environment reaches a child, so no secret in it does."""
    monkeypatch.setenv("REDIS_PASS", "canary")
    done = children.run(["env"], env={**ENV, "A": "1"}, deadline_seconds=10)

    assert set(done.stdout.decode().split("\n")) - {""} == {f"PATH={ENV['PATH']}", "A=1"}


def test_child_leads_a_session_of_its_own(children: Children):
    """A ^C at the terminal goes to the supervisor's group alone."""
    child = children.spawn(["sleep", "60"], env=ENV)

    assert os.getsid(child.pid) == child.pid
    assert os.getpgid(child.pid) == child.pid


def test_child_gets_default_signals_and_no_descriptors(children: Children):
    """SIGPIPE is not ignored in a child, though it is in Python, and it inherits only what it was given."""
    done = children.run(["sh", "-c", "grep SigIgn /proc/self/status; ls /proc/self/fd"], env=ENV, deadline_seconds=10)
    ignored, *descriptors = done.stdout.decode().split("\n")

    assert int(ignored.split()[1], 16) & (1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)) == 0
    assert descriptors[:4] == ["0", "1", "2", "3"]  # 3 is the directory that ls reads
    assert descriptors[4:] == [""]


@pytest.mark.parametrize("tied", [True, False])
def test_program_that_is_not_there_is_named(children: Children, tied: bool):
    """A missing program is told by name and leaves no child behind."""
    with pytest.raises(CommandFailed, match="no-such-program is not there"):
        children.spawn(["no-such-program"], env=ENV, tied=tied)
    assert children.reap() == []


@pytest.mark.parametrize("tied", [True, False])
def test_program_that_cannot_run_says_so(children: Children, tmp_path: Path, tied: bool):
    """A file that is executable but no program fails with words, tied to us or not."""
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF-not-really")
    broken.chmod(0o755)
    with pytest.raises(CommandFailed, match="broken cannot be started: "):
        children.spawn([str(broken)], env=ENV, tied=tied)
    assert children.reap() == []


def test_run_feeds_input_and_returns_both_outputs(children: Children):
    """More input and output than a pipe holds goes through without a deadlock."""
    data = os.urandom(1_000_000)
    done = children.run(["sh", "-c", "tee /dev/stderr"], env=ENV, input_bytes=data, deadline_seconds=20)

    assert (done.status, done.stdout, done.stderr) == (0, data, data)
    assert not done.timed_out
    assert not done.truncated


def test_run_keeps_a_limited_output(children: Children):
    """A program that talks without end costs no memory and is not blocked by us."""
    done = children.run(
        ["sh", "-c", "yes | head -c 3000000; echo end >&2"], env=ENV, deadline_seconds=20, output_bytes_max=1000
    )

    assert (done.status, len(done.stdout), done.stderr, done.truncated) == (0, 1000, b"end\n", True)


def test_run_survives_a_program_that_reads_nothing(children: Children):
    """A program that ends without reading its input is judged by its exit status."""
    done = children.run(["false"], env=ENV, input_bytes=b"x" * 1_000_000, deadline_seconds=10)
    assert (done.status, done.timed_out) == (1, False)


def test_run_ends_the_whole_group_at_the_deadline(children: Children):
    """A program that ignores SIGTERM, and its children, are killed; the call says that it timed out."""
    code = "trap '' TERM; sleep 300 & echo $!; wait; sleep 300"
    began = time.monotonic()
    done = children.run(["sh", "-c", code], env=ENV, deadline_seconds=0.5)

    assert done.timed_out
    assert done.status == -signal.SIGKILL
    assert time.monotonic() - began < 10
    grandchild = int(done.stdout)
    wait_until(lambda: identify(grandchild) is None, 5, "the grandchild to be gone")


def test_run_lets_a_program_end_by_sigterm_first(children: Children):
    """At the deadline a program gets the chance to end in order, and what it says then is returned."""
    code = "trap 'echo bye; exit 3' TERM; echo on; while :; do sleep 0.05; done"
    done = children.run(["sh", "-c", code], env=ENV, deadline_seconds=0.5)

    assert (done.timed_out, done.status, done.stdout) == (True, 3, b"on\nbye\n")


def test_run_does_not_wait_for_a_daemon_that_keeps_the_pipe(children: Children):
    """A daemon left behind (as `erl` leaves epmd) holds the output open; the command is over nevertheless."""
    began = time.monotonic()
    done = children.run(["sh", "-c", "setsid sleep 300 & echo $!"], env=ENV, deadline_seconds=30)
    daemon = int(done.stdout)
    os.kill(daemon, signal.SIGKILL)

    assert done.status == 0
    assert time.monotonic() - began < 10


def test_many_runs_beside_a_reaper_leave_no_zombie(children: Children):
    """Commands on worker threads and a main loop that collects everything do not take each other's children."""
    results: list[int | None] = []

    def work() -> None:
        for code in range(8):
            results.append(children.run(["sh", "-c", f"exit {code}"], env=ENV, deadline_seconds=30).status)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        children.reap()
    for worker in workers:
        worker.join()

    assert sorted(results) == sorted(list(range(8)) * 4)  # type: ignore[type-var]
    assert [pid for pid in processes_of(os.getpid()) if identify(pid) is None] == []


def test_end_escalates_from_sigterm_to_sigkill(children: Children):
    """A child that ignores SIGTERM is killed after the grace; one that obeys ends by itself."""
    reader, writer = os.pipe()
    stubborn = children.spawn(["sh", "-c", "trap '' TERM; echo; sleep 300"], env=ENV, stdout=writer)
    os.read(reader, 1)
    polite = children.spawn(
        ["sh", "-c", "trap 'exit 0' TERM; echo; while :; do sleep 0.05; done"], env=ENV, stdout=writer
    )
    os.read(reader, 1)
    os.close(reader)
    os.close(writer)

    assert children.end(stubborn, 0.3) == -signal.SIGKILL
    assert children.end(polite, 10) == 0


def test_end_of_the_leader_ends_its_group(children: Children):
    """With `end_group` nothing of a child survives its own end."""
    reader, writer = os.pipe()
    child = children.spawn(["sh", "-c", "sleep 300 & echo $!"], env=ENV, stdout=writer, end_group=True)
    rest = int(os.read(reader, 99))
    os.close(reader)
    os.close(writer)

    assert children.wait(child, 10) == 0
    wait_until(lambda: identify(rest) is None, 5, "the rest of the group to be gone")


def test_child_ends_when_its_parent_is_killed(tmp_path: Path):
    """kill -9 of the supervisor: the kernel sends its broker SIGTERM, so the broker stops in order."""
    said = tmp_path / "said"
    code = (
        "import sys, signal, os\n"
        "from rmqcluster.process.children import Children\n"
        "script = 'trap \"echo bye > $1; exit 0\" TERM; echo $$; while :; do sleep 0.05; done'\n"
        "child = Children().spawn(['sh','-c',script,'sh',sys.argv[1]], env=dict(os.environ))\n"
        "signal.pause()\n"
    )
    parent = in_python(code, said)
    assert parent.stdout is not None
    child = identify(int(parent.stdout.readline()))
    assert child is not None
    parent.kill()
    parent.communicate(timeout=10)

    wait_until(lambda: not child.is_alive(), 10, "the child to end after its parent")
    assert said.read_text() == "bye\n"


def test_tied_child_must_be_started_from_the_main_thread(children: Children):
    """The kernel ties to the starting thread, so another thread is refused rather than surprising later."""
    errors: list[Exception] = []

    def start() -> None:
        try:
            children.spawn(["true"], env=ENV)
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert len(errors) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a child as somebody else")
def test_child_of_root_runs_as_the_given_user(children: Children):
    """A child steps down with all its groups, and is still tied to us afterwards."""
    user = pwd.getpwnam("nobody")
    done = children.run(["cat", "/proc/self/status"], env=ENV, user="nobody", deadline_seconds=20)
    status = dict(line.split(":", 1) for line in done.stdout.decode().splitlines())

    assert status["Uid"].split() == [str(user.pw_uid)] * 4
    assert status["Gid"].split() == [str(user.pw_gid)] * 4
    assert sorted(map(int, status["Groups"].split())) == sorted(os.getgrouplist("nobody", user.pw_gid))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a child as somebody else")
def test_child_of_another_user_is_tied_too(tmp_path: Path):
    """The tie to the parent is made after the change of user, which would undo it."""
    code = (
        "import os, signal\n"
        "from rmqcluster.process.children import Children\n"
        "child = Children().spawn(['sleep','300'], env=dict(os.environ), user='nobody')\n"
        "print(child.pid, flush=True)\n"
        "signal.pause()\n"
    )
    parent = in_python(code)
    assert parent.stdout is not None
    child = identify(int(parent.stdout.readline()))
    assert child is not None
    parent.kill()
    parent.communicate(timeout=10)
    wait_until(lambda: not child.is_alive(), 10, "the child to end after its parent")


def test_core_limit_is_inherited(children: Children):
    """A child can write no core file either once we forbid them for ourselves."""
    code = (
        "import os, resource\n"
        "from rmqcluster.process.children import Children\n"
        "from rmqcluster.process.privileges import no_core_dumps\n"
        "no_core_dumps()\n"
        "print(Children().run(['sh','-c','ulimit -c'],env=dict(os.environ),deadline_seconds=9).stdout)\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE))\n"
    )
    process = in_python(code)
    output, _ = process.communicate(timeout=30)
    assert output == "b'0\\n'\n(0, 0)\n"
