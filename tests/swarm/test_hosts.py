"""The rig keeps what it promises: real hosts, real power cuts, nothing left behind."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine import CGROUPS, Engine
from hosts import Host
from images import Images
from network import NAMESPACES
from support import wait_until
from swarms import RUNS, Swarm

from rmqcluster.demo import proc

SERVICE = "probe"
NETWORK = "probes"
SERVE = ("redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--dir", "/data", "--save", "", "--appendonly", "yes")
REACH_SECONDS = 60.0
LOST_SECONDS = 60.0
# An engine's answer to GET /info, read through the socket that the container was given.
ASK_ENGINE = """\
import http.client, socket
connection = http.client.HTTPConnection("engine")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect("/var/run/docker.sock")
connection.request("GET", "/info")
print(connection.getresponse().read().decode())
"""


@pytest.fixture(scope="module")
def served(three: Swarm, images: Images) -> Iterator[Swarm]:
    """A service with a volume on the third host, whose name all hosts can ask for on an overlay network."""
    one, _, last = three.hosts
    one.docker("network", "create", "--driver", "overlay", "--attachable", NETWORK)
    options = ["--name", SERVICE, "--endpoint-mode", "dnsrr", "--network", NETWORK, "--no-resolve-image", "--detach"]
    options += ["--constraint", f"node.hostname=={last.name}", "--mount", "type=volume,source=probe,target=/data"]
    one.docker("service", "create", *options, images.names["REDIS_IMAGE"], *SERVE)
    for host in (one, last):
        start = ["run", "--detach", "--name", "client", "--network", NETWORK, images.names["REDIS_IMAGE"], "sleep", "600"]
        host.docker(*start)
    _await_reached(one)
    yield three


def test_an_overlay_reaches_across_hosts(served: Swarm) -> None:
    """A container on one host reaches a service on another by its name."""
    one, *_ = served.hosts

    assert served.host_of(SERVICE) is served.hosts[2]
    assert _ask(one, "ping") == "PONG"


def test_a_socket_bound_into_a_container_is_its_own_engine(served: Swarm, images: Images) -> None:
    """A container that binds /var/run/docker.sock reaches the engine of its own host."""
    for host in served.hosts[:2]:
        bound = ["run", "--rm", "--user", "root", "--volume", "/var/run/docker.sock:/var/run/docker.sock"]
        answer = host.docker(*bound, "--entrypoint", "python3", images.names["IMAGE"], "-c", ASK_ENGINE)

        assert json.loads(answer)["Name"] == host.name


@pytest.mark.parametrize("cable", [False, True], ids=["silently", "link-down"])
def test_a_cut_host_is_alone_until_healed(served: Swarm, cable: bool) -> None:
    """A host that is cut off runs on and reaches nobody; healed, it is what it was."""
    one, _, last = served.hosts
    before = served.container(SERVICE)
    last.cut(cable=cable)
    try:
        served.await_states("Down", last, seconds=LOST_SECONDS)

        assert _ask(one, "ping") != "PONG"
        assert last.docker("exec", before[1], "redis-cli", "ping") == "PONG"
        assert served.states(seen_by=last) == {}
    finally:
        last.heal()
    served.await_states("Ready")
    _await_reached(one)


def test_a_lost_host_comes_back_with_its_containers(served: Swarm) -> None:
    """After a power cut nothing of a host runs; with power its tasks run again on the data they had."""
    one, _, last = served.hosts
    _, before = served.container(SERVICE)
    assert _ask(one, "set", "kept", "yes") == "OK"
    wait_until(lambda: _ask(one, "info", "persistence").find("aof_pending_bio_fsync:0") > 0, REACH_SECONDS, "it is on disk")

    last.lose()
    assert _processes_in(last.cgroup) == []
    served.await_states("Down", last, seconds=LOST_SECONDS)
    last.start()
    served.await_states("Ready")
    _await_reached(one)

    host, after = served.container(SERVICE)
    assert (host, after != before) == (last, True)
    assert _ask(one, "get", "kept") == "yes"


def test_all_hosts_may_be_lost_at_once(served: Swarm) -> None:
    """After a power cut of all hosts the Swarm forms again by itself."""
    for host in served.hosts:
        host.lose()
    for host in served.hosts:
        host.launch()
    for host in served.hosts:
        host.await_answer()

    served.await_states("Ready")
    served.hosts[0].docker("start", "client")
    _await_reached(served.hosts[0])


def test_nothing_is_left_behind(images: Images) -> None:
    """Neither a test that fails nor a run that is killed leaves anything on the machine."""
    before = _machine()

    with pytest.raises(ZeroDivisionError), Swarm(1, images) as swarm:
        swarm.manager.docker("run", "--detach", images.names["REDIS_IMAGE"], "sleep", "600")
        raise ZeroDivisionError
    assert _machine() == before

    script = "import sys; sys.path[:0] = sys.argv[1:]; from swarms import Swarm; Swarm(1); print('up', flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", script, *sys.path]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        child.kill()
    assert _machine() != before
    Swarm(1).end()
    assert _machine() == before


def _ask(host: Host, *words: str) -> str:
    """What the service answers to a client on that host; words of failure when it is not reached."""
    done = host.run("docker", "exec", "client", "timeout", "3", "redis-cli", "-h", SERVICE, *words)
    return (done.stdout + done.stderr).strip()


def _await_reached(host: Host) -> None:
    wait_until(lambda: _ask(host, "ping") == "PONG", REACH_SECONDS, f"{host.name} reaches {SERVICE}")


def _processes_in(cgroup: str) -> list[str]:
    return [pid for file in CGROUPS.glob(f"*/{cgroup}/**/cgroup.procs") for pid in file.read_text().split()]


def _machine() -> dict[str, object]:
    """What a rig could leave behind."""
    rules = subprocess.run(["iptables", "-S"], capture_output=True, text=True, check=True).stdout
    return {
        "rules": rules,
        "links": sorted(os.listdir("/sys/class/net")),
        "namespaces": sorted(os.listdir(NAMESPACES)),
        "cgroups": sorted(str(path) for path in CGROUPS.glob("*/*")),
        "mounts": sorted(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        "runs": sorted(os.listdir(RUNS)) if RUNS.exists() else [],
        "engines": [process for process in proc._everyone() if proc.command_name(process) in ("dockerd", "containerd")],
    }
