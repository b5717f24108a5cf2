"""A Docker engine with mounts, host name and process ids of its own, so that killing one process is a power cut.

The first process of a process id namespace takes everything else in it along when it dies: dockerd, containerd, shims
and containers, however they were started. Their mounts and `/run` (sockets, pid files) are gone with the last of them;
what stays is what a disk would keep. `/var/run/docker.sock` in there is this engine's own socket, so a container that
binds it reaches the engine of its own host.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path

from support import wait_until

from rmqcluster.demo import proc
from rmqcluster.process.procfs import ProcessId, identify

START_SECONDS = 120.0
ANSWER_SECONDS = 10.0
COMMAND_SECONDS = 60.0
STOP_SECONDS = 60.0
CLEAN_UP_SECONDS = 10.0
KILL_SECONDS = 30.0
SOCKET_PATH_MAX = 107
CGROUPS = Path("/sys/fs/cgroup")
NAMESPACES = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
# The machine's own engine is not met: its sockets, pid files, settings and key are out of sight in here.
BOOT = """\
set -e
hostname "$1"
mount -t tmpfs tmpfs /run
mkdir -p /etc/docker
mount --bind "$2" /etc/docker
shift 2
exec docker-init -- dockerd "$@"
"""


class Engine:
    """Everything of it lies in `directory`. `inside` puts the starting thread on the network it belongs to."""

    def __init__(
        self,
        name: str,
        directory: Path,
        options: Sequence[str] = (),
        inside: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.name = name
        self.directory = directory
        self.data = directory / "data"
        self._socket = directory / "docker.sock"
        if len(str(self._socket)) > SOCKET_PATH_MAX:
            raise AssertionError(f"{self._socket} is too long for a socket: use a clone with a shorter path")
        self._options = tuple(options)
        self._inside = inside
        self._first: ProcessId | None = None
        self._outer: subprocess.Popen[bytes] | None = None
        (directory / "settings").mkdir(parents=True, exist_ok=True)

    @property
    def docker_host(self) -> str:
        return f"unix://{self._socket}"

    def environment(self) -> dict[str, str]:
        """For any client of this engine: the `docker` command, make, the SDK."""
        return {"DOCKER_HOST": self.docker_host}

    # What it is asked

    def run(
        self, *argv: str, seconds: float = COMMAND_SECONDS, environment: Mapping[str, str] | None = None, said: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        """Any command as a client of this engine, told `said`; whether it succeeded is the caller's to judge."""
        variables = os.environ | self.environment() | dict(environment or {})
        pipe = subprocess.PIPE
        with subprocess.Popen(
            argv, env=variables, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        ) as child:
            try:
                out, err = child.communicate(said, timeout=seconds)
            except BaseException:
                _end_session(child)
                raise
        return subprocess.CompletedProcess(argv, child.returncode, out, err)

    def docker(self, *arguments: str, seconds: float = COMMAND_SECONDS) -> str:
        """What `docker ARGUMENTS` printed, without the last line end; fails the test when it fails."""
        done = self.run("docker", *arguments, seconds=seconds)
        if done.returncode != 0:
            raise AssertionError(f"{self.name}: docker {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout.rstrip("\n")

    def answers(self) -> bool:
        if not self.is_running():
            return False
        try:
            return self.run("docker", "version", seconds=ANSWER_SECONDS).returncode == 0
        except subprocess.TimeoutExpired:
            return False  # it listens; a manager serves only when its Swarm has a leader again

    def is_running(self) -> bool:
        return self._outer is not None and self._outer.poll() is None

    def load(self, archive: Path) -> None:
        """Images from a file that `docker save` wrote."""
        self.docker("load", "--quiet", "--input", str(archive), seconds=300)

    # Life

    def start(self) -> None:
        """Returns when it answers."""
        self.launch()
        self.await_answer()

    def launch(self) -> None:
        """Only begin, so that several start beside each other."""
        assert not self.is_running(), f"{self.name} runs already"
        options = ["--host", "unix:///var/run/docker.sock", "--host", self.docker_host, "--data-root", str(self.data)]
        options += ["--exec-opt", "native.cgroupdriver=cgroupfs", *self._options]
        boot = [*NAMESPACES, "sh", "-c", BOOT, "boot", self.name, str(self.directory / "settings"), *options]
        with self._inside(), (self.directory / "log").open("ab") as log:
            self._outer = subprocess.Popen(
                boot, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        first = wait_until(self._find_first, START_SECONDS, f"{self.name} has a first process")
        assert first is not None
        (self.directory / "pid").write_text(f"{first.pid} {first.start_ticks}\n")
        self._first = first

    def await_answer(self) -> None:
        try:
            wait_until(lambda: self.answers() or not self.is_running(), START_SECONDS, f"{self.name} answers")
            assert self.is_running(), f"{self.name} ended at once"
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.last_words()}") from error

    def stop(self) -> None:
        """In order: dockerd stops its containers (10 s each, all at the same time) and ends."""
        self._end(signal.SIGTERM, STOP_SECONDS)

    def kill(self) -> None:
        """Everything of it is dead when this returns; its disk is as it was at that moment."""
        self._end(signal.SIGKILL, KILL_SECONDS)

    def last_words(self, lines: int = 30) -> str:
        log = self.directory / "log"
        said = log.read_text(errors="replace").splitlines()[-lines:] if log.exists() else []
        return "\n".join([f"the end of {log}:", *said])

    def _end(self, number: signal.Signals, seconds: float) -> None:
        if self._outer is None:
            return
        if self._first is None:
            self._outer.kill()  # takes its child along
        else:
            proc.send([self._first], number)
        try:
            self._outer.wait(seconds)  # ends behind the first process, which ends behind all others
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{self.name} does not end\n{self.last_words()}") from error
        self._outer = self._first = None
        self._socket.unlink(missing_ok=True)
        (self.directory / "pid").unlink(missing_ok=True)

    def _find_first(self) -> ProcessId | None:
        assert self._outer is not None
        if self._outer.poll() is not None:
            raise AssertionError(f"{self.name} did not start\n{self.last_words()}")
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
        return identify(int(children[0])) if children else None


def _end_session(leader: "subprocess.Popen[str]") -> None:
    """With its children, which would keep its pipes open; first so that they can clean up."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(leader.pid, number)
        with suppress(subprocess.TimeoutExpired):
            leader.wait(CLEAN_UP_SECONDS)


def end_leftover(directory: Path) -> None:
    """End the engine that a run which was killed left running there."""
    record = directory / "pid"
    if record.exists() and (words := record.read_text().split()):
        left = proc.end([ProcessId(int(words[0]), int(words[1]))], term_seconds=0, kill_seconds=KILL_SECONDS)
        assert not left, f"still there after SIGKILL: pid {words[0]} of {directory}"
    record.unlink(missing_ok=True)


def remove_cgroups(name: str) -> None:
    """The cgroups below `name`, in every hierarchy; the kernel lets go of them a moment after their last process."""
    tops = [top for top in (CGROUPS / name, *CGROUPS.glob(f"*/{name}")) if top.is_dir()]
    for top in tops:
        for path, _, _ in os.walk(top, topdown=False):
            wait_until(partial(_is_removed, Path(path)), KILL_SECONDS, f"the cgroup {path} is empty")


def _is_removed(cgroup: Path) -> bool:
    try:
        cgroup.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
