"""The rig keeps what it promises: real hosts, real power cuts, nothing left behind."""

import glob
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from engine import CGROUPS
from hosts import Host
from images import Images
from network import NAMESPACES, PREFIX
from support import wait_until
from swarms import RUNS, Swarm, remove_leftovers

SERVICE = "probe"
NETWORK = "probes"
CLIENT = "client"
SERVE = (
    "redis-server",
    "--bind",
    "0.0.0.0",
    "--protected-mode",
    "no",
    "--dir",
    "/data",
    "--save",
    "",
    "--appendonly",
    "yes",
)
REACH_SECONDS = 120.0
# An engine's answer to GET /info, read through the socket that the container was given.
ASK_ENGINE = """\
import http.client, socket
connection = http.client.HTTPConnection("engine")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect("/var/run/docker.sock")
connection.request("GET", "/info")
print(connection.getresponse().read().decode())
"""
# A run that never gets to its end.
MAKE_SWARM = """\
import sys, time
sys.path[:0] = sys.argv[1:]
from swarms import Swarm
swarm = Swarm(1)
print("made", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def served(three: Swarm, images: Images) -> Swarm:
    """A service with a volume on the third host, whose name all hosts can ask for on an overlay network."""
    one, _, last = three.hosts
    one.docker("network", "create", "--driver", "overlay", "--attachable", NETWORK)
    options = ["--name", SERVICE, "--endpoint-mode", "dnsrr", "--network", NETWORK, "--no-resolve-image", "--detach"]
    options += ["--constraint", f"node.hostname=={last.name}", "--mount", "type=volume,source=probe,target=/data"]
    one.docker("service", "create", *options, images.names["REDIS_IMAGE"], *SERVE)
    one.docker("run", "--detach", "--name", CLIENT, "--network", NETWORK, images.names["REDIS_IMAGE"], "sleep", "900")
    _await_reached(one)
    return three


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
def test_a_cut_host_is_alone_until_healed(served: Swarm, images: Images, cable: bool) -> None:
    """A host that is cut off runs on and is reached by nobody; only with the cable out does it see its link down."""
    one, _, last = served.hosts
    _, container = served.container(SERVICE)
    last.cut(cable=cable)
    try:
        look = ["run", "--rm", "--network", "host", images.names["REDIS_IMAGE"], "cat", "/sys/class/net/eth0/operstate"]

        assert last.docker(*look) == ("down" if cable else "up")
        assert _ask(one, "ping") != "PONG"
        assert last.docker("exec", container, "redis-cli", "ping") == "PONG"
    finally:
        last.heal()
    _await_reached(one)


def test_a_lost_host_comes_back_with_its_containers(served: Swarm) -> None:
    """After a power cut nothing of a host runs; with power its tasks run again on the data they had."""
    one, _, last = served.hosts
    _, before = served.container(SERVICE)
    assert _ask(one, "set", "kept", "yes") == "OK"

    last.lose()
    assert _processes_in(last.cgroup) == []
    served.await_states("Down", last)
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
    one = served.hosts[0]
    # A ready host may not have been told of the network yet.
    wait_until(
        lambda: one.run("docker", "start", CLIENT).returncode == 0, REACH_SECONDS, "the client starts in its network"
    )
    _await_reached(one)


def test_a_failed_test_leaves_nothing_behind(images: Images) -> None:
    """Whatever fails while a swarm is there, nothing of it is left."""
    before = _left_by(os.getpid())

    with pytest.raises(ZeroDivisionError):
        _fail_beside_a_container(images)

    assert _left_by(os.getpid()) == before


def test_a_killed_run_leaves_nothing_to_the_next() -> None:
    """What a run that was killed left behind is gone when the next one has begun."""
    with subprocess.Popen([sys.executable, "-c", MAKE_SWARM, *sys.path], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"made\n"
        child.kill()
    assert _left_by(child.pid) != []

    remove_leftovers()

    assert _left_by(child.pid) == []


def _ask(host: Host, *words: str) -> str:
    """What the service answers to a client on that host; words of failure when it is not reached."""
    done = host.run("docker", "exec", CLIENT, "timeout", "3", "redis-cli", "-h", SERVICE, *words)
    return (done.stdout + done.stderr).strip()


def _await_reached(host: Host) -> None:
    wait_until(lambda: _ask(host, "ping") == "PONG", REACH_SECONDS, f"{host.name} reaches {SERVICE}")


def _processes_in(cgroup: str) -> list[str]:
    return [pid for file in CGROUPS.glob(f"*/{cgroup}/**/cgroup.procs") for pid in file.read_text().split()]


def _fail_beside_a_container(images: Images) -> None:
    with Swarm(1, images) as swarm:
        swarm.manager.docker("run", "--detach", images.names["REDIS_IMAGE"], "sleep", "600")
        raise ZeroDivisionError


def _left_by(run: int) -> list[str]:
    """Whatever on this machine carries the name of a run, which holds its process id."""
    rules, processes = (
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        for command in (["iptables", "--wait", "10", "-S"], ["ps", "-e", "-o", "args="])
    )
    places = ["/sys/class/net/*", f"{NAMESPACES}/*", f"{CGROUPS}/*", f"{CGROUPS}/*/*", f"{RUNS}/*"]
    names = [path for place in places for path in glob.glob(place)]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return sorted(one for one in [*rules, *processes, *names, *mounts] if f"{PREFIX}{run}" in one)
