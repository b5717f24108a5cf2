"""A real Docker Swarm on this machine: each host is an engine on a machine of its own, in a network that can be cut.

    with Swarm(3, images) as swarm:          # three managers, labelled for the stack; one alone has no labels
        one, two, three = swarm.hosts
        one.docker("service", "ls")          # what the docker command says on that host; its failure fails the test
        one.run("make", "status")            # any client of that host's engine; its failure is yours to judge
        swarm.host_of("fog_rabbitmq2")       # where the service's task runs, as a living manager sees it
        swarm.container("fog_rabbitmq2")     # that host, and the id of the container there
        two.lose()                           # power cut: silent at once, every process dead, the disk as it was
        two.start()                          # … and power back
        three.cut()                          # what it and the others send to each other vanishes; it runs on
        three.cut(cable=True)                # … and it sees its link go down
        three.heal()
        two.stop()                           # dockerd ends in order, and its containers with it
        two.start()

`host.docker_host`, `host.address` and the ports that tasks publish on a host are reached from the test whether or not
the host is cut off. Leaving the `with` ends everything, whatever has failed; what a killed run left behind is removed
by the next. Hosts have no way out of their network: images are given to them (`Images.give`, `Host.load`).
"""

import re
import shutil
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import ClassVar

import network
from engine import CGROUPS, end_leftover, remove_cgroups
from hosts import Host, HostNetwork, remove_rules
from images import CACHE, Images
from support import wait_until

from rmqcluster.process.procfs import ProcessId, identify, myself

# A manager that was cut off for long comes back with a higher term and unseats the leader: an election or several.
STATE_SECONDS = 120.0
LABELS = ("manager-master", "manager-rep1", "manager-rep2")
RUNS = CACHE / "runs"


class Swarm:
    """`size` managers with `images`, or without any. `living` are those that have not ended yet."""

    living: ClassVar[list["Swarm"]] = []

    def __init__(self, size: int, images: Images | None = None) -> None:
        remove_leftovers()
        self._last = ExitStack()  # what is left to do at the end, each also when another one fails
        names = [f"manager{number + 1}" for number in range(size)]
        self._network = HostNetwork(names)
        self._last.callback(self._network.close)
        self._directory = RUNS / f"{self._network.name}-{myself().start_ticks}"
        Swarm.living.append(self)
        try:
            self._last.callback(_remove_directory, self._directory)
            self.hosts = tuple(self._make_host(name, images) for name in names)
            self._form()
        except BaseException:
            self.end()
            raise

    def __enter__(self) -> "Swarm":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Nothing of it is left, whatever state it was in."""
        if self in Swarm.living:
            Swarm.living.remove(self)
        self._last.close()

    # What it is asked

    @property
    def manager(self) -> Host:
        """The first host that runs and is not cut off."""
        return next(host for host in self.hosts if host.is_running() and not host.is_cut)

    def host(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)

    def host_of(self, service: str) -> Host:
        """Where the running task of a service is, as a manager sees it. For services with one task."""
        wanted = ["--filter", "desired-state=running", "--format", "{{.Node}}"]
        nodes = self.manager.docker("service", "ps", *wanted, service).split()
        assert len(nodes) == 1, f"{service} has {len(nodes)} running tasks: {nodes}"
        return self.host(nodes[0])

    def container(self, service: str) -> tuple[Host, str]:
        """That host, and the id of the service's running container there."""
        host = self.host_of(service)
        ids = host.docker("ps", "--quiet", "--filter", f"label=com.docker.swarm.service.name={service}").split()
        assert len(ids) == 1, f"{host.name} runs {len(ids)} containers of {service}"
        return host, ids[0]

    def states(self, seen_by: Host | None = None) -> dict[str, str]:
        """Each host's state as a manager sees it: Ready, Down or Unknown. Empty when Swarm has no majority."""
        done = (seen_by or self.manager).run("docker", "node", "ls", "--format", "{{.Hostname}} {{.Status}}")
        return dict(line.split() for line in done.stdout.splitlines()) if done.returncode == 0 else {}

    def await_states(self, wanted: str, *hosts: Host, seconds: float = STATE_SECONDS) -> None:
        """Until these hosts (or all) are what is wanted in the eyes of a manager."""
        names = [host.name for host in hosts or self.hosts]
        wait_until(lambda: {self.states().get(name) for name in names} == {wanted}, seconds, f"{names} are {wanted}")

    def describe(self) -> str:
        """For a failed test: what each host says of the swarm, and its engine's last words."""
        return "\n".join(_describe(host) for host in self.hosts)

    # How it is made

    def _make_host(self, name: str, images: Images | None) -> Host:
        cgroup = f"{self._network.name}-{name}"
        host = Host(name, self._directory / name, cgroup, self._network)
        self._last.callback(remove_cgroups, cgroup)
        self._last.callback(host.kill)
        if images is not None:
            images.give(host)
        host.launch()
        return host

    def _form(self) -> None:
        for host in self.hosts:
            host.await_answer()
        first, *others = self.hosts
        first.docker("swarm", "init", "--advertise-addr", first.address)
        token = first.docker("swarm", "join-token", "--quiet", "manager")
        for host in others:
            host.docker("swarm", "join", "--advertise-addr", host.address, "--token", token, f"{first.address}:2377")
        if others:
            for host, label in zip(self.hosts, LABELS, strict=True):
                first.docker("node", "update", "--label-add", f"{label}=true", host.name)
        self.await_states("Ready")


def remove_leftovers() -> None:
    """End and remove what runs left behind that were killed before they could."""
    for directory in RUNS.iterdir() if RUNS.is_dir() else []:
        found = re.fullmatch(rf"({network.PREFIX}(\d+)[a-z])-(\d+)", directory.name)
        if found is None or ProcessId(int(found[2]), int(found[3])).is_alive():
            continue
        for host in directory.iterdir():
            end_leftover(host)
        for cgroup in {path.name for path in CGROUPS.glob(f"**/{found[1]}-*")}:
            remove_cgroups(cgroup)
        _remove_directory(directory)
    remove_rules(lambda name: identify(int(re.sub(r"\D", "", name))) is None)
    network.remove_leftovers()


def _remove_directory(directory: Path) -> None:
    if directory.exists():
        shutil.rmtree(directory)


def _describe(host: Host) -> str:
    said = host.run("sh", "-c", "docker node ls; docker service ls; docker ps --all") if host.is_running() else None
    state = f"{'runs' if said else 'is off'}{', cut off' if host.is_cut else ''}"
    return "\n".join([f"--- {host.name} {state}", said.stdout + said.stderr if said else "", host.last_words()])
