"""A host: an engine on a machine of its own, whose power and whose network can be cut. See `swarms` for its use."""

import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from engine import COMMAND_SECONDS, Engine
from names import NameServer
from network import PREFIX, Network

FILTER = ("iptables", "--wait", "10")


class HostNetwork(Network):
    """A machine's own engine lets nothing be forwarded unless told; this network has its rule for as long as it is."""

    def __init__(self, machines: Sequence[str]) -> None:
        self._silent: set[str] = set()
        self._names: NameServer | None = None
        super().__init__(machines)

    def _build(self) -> None:
        super()._build()
        _filter("--insert", *self._passes())
        self._names = NameServer(self.bridge_address)

    @property
    def name(self) -> str:
        """Of the bridge, and unique to this run."""
        return self._id

    @property
    def bridge_address(self) -> str:
        """This machine, as all hosts reach it: their name server."""
        return f"{self._subnet}.1"

    def close(self) -> None:
        if self._names is not None:
            self._names.close()
            self._names = None
        while subprocess.run([*FILTER, "--check", *self._passes()], capture_output=True, check=False).returncode == 0:
            _filter("--delete", *self._passes())
        super().close()

    def cable(self, machine: str, state: str) -> None:
        """`up` or `down`."""
        port = f"{self._id}{self.machines.index(machine)}"
        subprocess.run(["ip", "link", "set", port, state], timeout=COMMAND_SECONDS, check=True)

    def silence(self, machine: str) -> None:
        """From now on nothing passes between this machine and the others; nobody is told."""
        self._silent.add(machine)
        self.cut([machine], [other for other in self.machines if other != machine])

    def unsilence(self, machine: str) -> None:
        """Everything passes again, except to and from those that are silent themselves."""
        self._silent.discard(machine)
        for other in self.machines:
            if other != machine and other not in self._silent:
                self._neighbours(machine, [other], self._link)
                self._neighbours(other, [machine], self._link)

    def _passes(self) -> list[str]:
        return ["FORWARD", "-i", self.name, "-o", self.name, "-j", "ACCEPT"]


def _filter(*arguments: str) -> None:
    done = subprocess.run([*FILTER, *arguments], capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    if done.returncode != 0:
        raise AssertionError(f"iptables {' '.join(arguments)}: {done.stderr.strip()}")


def remove_rules(of_dead: Callable[[str], bool]) -> None:
    """The rules of networks whose run was killed."""
    listed = subprocess.run(
        [*FILTER, "-S", "FORWARD"], capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True
    )
    for line in listed.stdout.splitlines():
        words = line.split()
        if re.fullmatch(rf"-A FORWARD -i ({PREFIX}\d+[a-z]) -o \1 -j ACCEPT", line) and of_dead(words[3]):
            _filter("--delete", *words[1:])


class Host(Engine):
    """Its name is its host name, and the name of its machine in the network."""

    def __init__(self, name: str, directory: Path, cgroup: str, network: HostNetwork) -> None:
        options = ["--cgroup-parent", f"/{cgroup}", "--dns", network.bridge_address]
        super().__init__(name, directory, options, lambda: network.inside(name))
        self.cgroup = cgroup
        self.address = network.address(name)
        self.is_cut = False
        self._network = network

    def launch(self) -> None:
        super().launch()
        if not self.is_cut:
            self._network.unsilence(self.name)

    def lose(self) -> None:
        """Silent first: the others must not see the connections of dying processes being closed."""
        self._network.silence(self.name)
        self.kill()

    def cut(self, cable: bool = False) -> None:
        self.is_cut = True
        self._network.silence(self.name)
        if cable:
            self._network.cable(self.name, "down")

    def heal(self) -> None:
        self.is_cut = False
        self._network.cable(self.name, "up")
        if self.is_running():
            self._network.unsilence(self.name)
