"""Machines of a network: a namespace each, all on one bridge, and cuts between them that may go one way only.

A cut is a permanent neighbour entry with a link address that nobody has: what is sent that way vanishes without an
error, as behind a dead switch, and no packet filter is needed. Names carry this process's id, so that runs beside
each other do not meet, and so that what a killed run left behind is found and removed by the next one.
"""

import ctypes
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rmqcluster.demo import proc
from rmqcluster.process.procfs import identify

PREFIX = "rmqx"
NAMESPACES = Path("/run/netns")
MINE = Path("/proc/self/ns/net")
CLONE_NEWNET = 0x40000000
FIRST_HOST = 11
NOBODY = "02:00:00:ff:ff:ff"  # a link address that no machine has
COMMAND_SECONDS = 20
_LEFTOVER = re.compile(rf"^{PREFIX}(\d+)[a-z]")
_counter = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)


def why_impossible() -> str | None:
    """Why this machine cannot have namespaces for us; None when it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need iproute2"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, timeout=COMMAND_SECONDS, check=False)
    return None if tried.returncode == 0 else f"no network namespaces here: {tried.stderr.decode().strip()}"


class Network:
    """Machines by name, each with one address that this process reaches as well. Everything ends with `close`."""

    def __init__(self, machines: Sequence[str]) -> None:
        remove_leftovers()
        self._id = f"{PREFIX}{os.getpid()}{chr(ord('a') + next(_counter) % 26)}"
        self.machines = tuple(machines)
        self._subnet = _free_subnet()
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def address(self, machine: str) -> str:
        return f"{self._subnet}.{FIRST_HOST + self.machines.index(machine)}"

    def close(self) -> None:
        """End whatever still runs in the namespaces, then take them and the bridge away."""
        _remove([self._namespace(machine) for machine in self.machines], self._id)

    @contextmanager
    def inside(self, machine: str) -> Iterator[None]:
        """This thread is on `machine`: what it starts and which sockets it opens belong there, for good."""
        with MINE.open() as home, (NAMESPACES / self._namespace(machine)).open() as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    def drop(self, sender: str, receivers: Iterable[str]) -> None:
        """From now on nothing that `sender` sends reaches `receivers`; what they send still arrives."""
        self._neighbours(sender, receivers, lambda machine: NOBODY)

    def cut(self, one_side: Iterable[str], other_side: Iterable[str]) -> None:
        """Nothing passes between the two sides any more, in either direction."""
        near, far = list(one_side), list(other_side)
        for machine in near:
            self.drop(machine, far)
        for machine in far:
            self.drop(machine, near)

    def heal(self) -> None:
        """Everything passes again."""
        for machine in self.machines:
            self._neighbours(machine, [other for other in self.machines if other != machine], self._link)

    def _neighbours(self, machine: str, others: Iterable[str], link: "object") -> None:
        assert callable(link)
        lines = [f"neigh replace {self.address(other)} lladdr {link(other)} dev eth0 nud permanent" for other in others]
        _ip(lines, self._namespace(machine))

    def _build(self) -> None:
        lines = [f"link add {self._id} type bridge", f"addr add {self._subnet}.1/24 dev {self._id}"]
        for number, machine in enumerate(self.machines):
            namespace, port = self._namespace(machine), f"{self._id}{number}"
            peer = f"peer name eth0 netns {namespace} address {self._link(machine)}"
            lines += [f"netns add {namespace}", f"link add {port} type veth {peer}"]
            lines += [f"link set {port} master {self._id}", f"link set {port} up"]
        _ip([*lines, f"link set {self._id} up"])
        for machine in self.machines:
            lines = [f"addr add {self.address(machine)}/24 dev eth0", "link set lo up", "link set eth0 up"]
            _ip(lines, self._namespace(machine))
        self.heal()

    def _namespace(self, machine: str) -> str:
        return f"{self._id}-{machine}"

    def _link(self, machine: str) -> str:
        return f"02:00:00:00:00:{FIRST_HOST + self.machines.index(machine):02x}"


def remove_leftovers() -> None:
    """Take away what runs left behind that were killed before they could."""
    names = [path.name for path in NAMESPACES.iterdir()] if NAMESPACES.is_dir() else []
    dead = {
        found[0] for name in [*names, *_links()] if (found := _LEFTOVER.match(name)) and identify(int(found[1])) is None
    }
    for leftover in dead:
        _remove([name for name in names if name.startswith(f"{leftover}-")], leftover)


def _remove(namespaces: Iterable[str], network: str) -> None:
    trouble = []
    for name in namespaces:
        if not (NAMESPACES / name).exists():
            continue
        pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=True).stdout.split()
        inhabitants = [process for pid in pids if (process := identify(int(pid))) is not None]
        proc.send(inhabitants, signal.SIGCONT)
        trouble += [f"pid {process.pid} in {name}" for process in proc.end(inhabitants, term_seconds=0)]
        _ip([f"netns delete {name}"])
    # Not left to the kernel: a namespace lives on, nameless, while a socket of a dead process waits for its peer.
    _unlink(name for name in _links() if re.fullmatch(rf"{network}\d*", name))
    if trouble:
        raise AssertionError(f"still there after SIGKILL: {', '.join(trouble)}")


def _links() -> list[str]:
    return [path.name for path in Path("/sys/class/net").iterdir()]


def _unlink(names: Iterable[str]) -> None:
    for name in names:
        try:
            _ip([f"link delete {name}"])
        except AssertionError:
            if name in _links():  # else the kernel was faster
                raise


def _ip(lines: Iterable[str], namespace: str | None = None) -> None:
    argv = ["ip", *(["-n", namespace] if namespace else []), "-batch", "-"]
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: {done.stderr.strip()}\n{text}")


def _free_subnet() -> str:
    """Of the range for benchmarks (RFC 2544), which no real network uses."""
    taken = subprocess.run(["ip", "-o", "-4", "addr"], capture_output=True, text=True, check=True).stdout
    subnets = [f"198.{second}.{third}" for second in (18, 19) for third in range(256)]
    return random.SystemRandom().choice([subnet for subnet in subnets if f" {subnet}." not in taken])


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
