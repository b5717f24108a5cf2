"""The stack on three managers, of which hosts lose their power or their network, under a load that counts."""

import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from hosts import Host
from stack import BROKERS, NAME, REDIS, SERVICES, Stack, assert_rejoined, goes_on, loaded, settle
from support import wait_until
from swarms import Swarm

TTL_SECONDS, ELECTION_SECONDS = 15.0, 2.0
READ_SECONDS = 3.0  # what looking takes, on a machine with other work
NAME_SECONDS = 10.0
NOTICED_SECONDS = 60.0  # by Swarm, which hears from a host every 5 s and gives it three times that
BACK_SECONDS = 180.0
MASTER, MEMBERS = "rabbitmq:cluster:master", "rabbitmq:cluster:members"

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def stack(three: Swarm, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Deployed once; each test leaves it whole."""
    found = Stack(three, tmp_path_factory.mktemp("stack"))
    found.make("up")
    return found


@pytest.fixture(autouse=True)
def whole(stack: Stack) -> Iterator[None]:
    """Also after a test that failed halfway, the next one finds every host."""
    yield
    for host in stack.swarm.hosts:
        host.heal()
        if not host.is_running():
            host.start()
    stack.swarm.await_states("Ready")
    stack.await_whole()


def test_a_lost_host_is_borne_and_comes_back(stack: Stack) -> None:
    """The master's host loses its power: another is master within the TTL, clients go on; with power it rejoins."""
    victim, master = _master_apart_from_redis(stack)
    asked = _others(stack, victim)[0]
    seen, identity = stack.history(asked), stack.status(asked)["cluster_id"]
    with stack.under_load(asked) as ledger:
        ledger.reset_pauses()
        victim.lose()
        lost_at = time.monotonic()
        limit = TTL_SECONDS + ELECTION_SECONDS + READ_SECONDS
        wait_until(lambda: stack.redis("GET", MASTER) not in ("", master), limit, "another member is master")
        _tell("another master after", lost_at)
        wait_until(lambda: master not in stack.redis("SMEMBERS", MEMBERS), limit, f"{master} is no member in Redis")
        goes_on(ledger)
        print(f"longest pause without a confirm: {ledger.longest_pause_seconds():.1f} s")
        _assert_told(stack, victim, master)
        _come_back(stack, victim)

    assert stack.status(asked)["cluster_id"] == identity
    assert_rejoined(stack, master.partition("@")[2], seen)


def test_the_coordinators_host_is_lost(stack: Stack) -> None:
    """Redis starts blank on another host and is filled by the members; no message is lost."""
    victim = _host_of(stack, REDIS)
    asked = _others(stack, victim)[0]
    identity = stack.status(asked)["cluster_id"]
    gone = next(f"rabbit@{name}" for name in BROKERS if stack.container(name, victim))
    with stack.under_load(asked) as ledger:
        victim.lose()
        lost_at = time.monotonic()
        stack.await_host_of(REDIS, victim, BACK_SECONDS)
        _tell("Redis elsewhere after", lost_at)
        living = {f"rabbit@{name}" for name in BROKERS} - {gone}
        wait_until(lambda: set(stack.redis("SMEMBERS", MEMBERS).split()) == living, 60, "the members registered again")
        wait_until(lambda: stack.redis("GET", MASTER) in living, 60, "a living member is master")
        _tell("filled again after", lost_at)
        goes_on(ledger)
        _come_back(stack, victim)

    assert stack.status(asked)["cluster_id"] == identity
    assert not stack.container(REDIS, victim)


def test_a_host_is_cut_off_and_healed(stack: Stack) -> None:
    """The coordinator's host is cut off until Swarm has another Redis: it does nothing there, and rejoins healed."""
    victim = _host_of(stack, REDIS)
    asked = _others(stack, victim)[0]
    name = next(name for name in BROKERS if stack.container(name, victim))
    before, identity = stack.history(asked), stack.status(asked)["cluster_id"]
    with stack.under_load(asked) as ledger:
        cut_at = time.monotonic()
        victim.cut()
        try:
            stack.await_host_of(REDIS, victim, BACK_SECONDS)
            wait_until(
                lambda: stack.redis("GET", MASTER) not in ("", f"rabbit@{name}"), 60, "a master among the others"
            )
            _tell("Redis and a master on the majority's side after", cut_at)
            goes_on(ledger)
            alone, acts = stack.status(victim), stack.history(victim)
        finally:
            victim.heal()
        healed_at = time.monotonic()
        stack.await_whole(asked)
        _tell("whole again after", healed_at)
        stack.swarm.await_states("Ready")

    assert alone["verdict"] in ("unavailable", "unknown"), alone
    done = [line for line in acts if line not in before and re.search(r"RemoveMember|SetMaster|begin|reset", line)]
    assert not done, done
    assert stack.status(asked)["cluster_id"] == identity
    fresh = [line for line in stack.history(asked) if line not in before]
    assert not [line for line in fresh if re.search(r"founding|reset", line)], fresh


def test_x1_all_hosts_lose_their_power(stack: Stack) -> None:
    """X1: all hosts at once and back: names resolve before anybody is ready, it serves by itself, nothing is lost."""
    hosts = stack.swarm.hosts
    identity = stack.status()["cluster_id"]
    with stack.target() as target, loaded(target) as ledger:
        # A broker writes where a new queue's log is a second late: cut before, all of them would begin it anew, empty.
        wait_until(lambda: all(_knows(host, ledger.queues) for host in hosts), 30, "the queues are on the disks")
        for host in hosts:
            host.lose()
        for host in hosts:
            host.launch()
        powered_at = time.monotonic()
        for host in hosts:
            host.await_answer()
        with ThreadPoolExecutor(len(hosts)) as each:
            delays = list(each.map(lambda pair: _names_after(stack, *pair), zip(BROKERS, hosts, strict=True)))
        was_whole = stack.is_whole()
        _tell("all names resolved after", powered_at)
        stack.await_whole(seconds=BACK_SECONDS)
        _tell("whole again after", powered_at)
        stack.swarm.await_states("Ready")
        with stack.target() as another:  # the first one's gate went with its host
            ledger.use(another.endpoints())
            settle(another, ledger)

    print(f"names resolved after the last task ran: {delays}")
    assert not was_whole
    assert max(delays) < NAME_SECONDS
    assert stack.status()["cluster_id"] == identity


def _knows(host: Host, queues: Sequence[str]) -> bool:
    """Is where their logs are on this host's disk?"""
    disk = b"".join(file.read_bytes() for file in host.data.glob(f"volumes/{NAME}_*/_data/**/names.dets"))
    return all(queue.encode() in disk for queue in queues)


def _names_after(stack: Stack, name: str, host: Host) -> float:
    """Seconds from when the last broker's task ran until this broker's container resolved all their names."""
    container = wait_until(lambda: stack.container(name, host), BACK_SECONDS, f"{name} runs")

    def resolves() -> bool:
        look = "for name in " + " ".join(BROKERS) + "; do timeout 1 getent hosts $name || exit 1; done"
        return host.run("docker", "exec", container, "sh", "-c", look).returncode == 0

    wait_until(resolves, BACK_SECONDS, f"{name} resolves all names")
    resolved_at = time.time()
    return resolved_at - max(_ran_at(host, other) for other in BROKERS)


def _ran_at(host: Host, name: str) -> float:
    """When the service's task ran, which Swarm says of it after its first healthy probe."""

    def found() -> str:
        running = ["--filter", "desired-state=running", "--format", "{{.ID}}"]
        task = host.run("docker", "service", "ps", *running, f"{NAME}_{name}").stdout.strip()
        state = host.run(
            "docker", "inspect", "--format", "{{.Status.State}} {{json .Status.Timestamp}}", task
        ).stdout.split()
        return state[1].strip('"') if state[:1] == ["running"] else ""

    at = wait_until(found, BACK_SECONDS, f"the task of {name} runs")
    return datetime.fromisoformat(f"{at[:19]}+00:00").timestamp()


def _assert_told(stack: Stack, victim: Host, lost: str) -> None:
    """From another host: who is lost, where the rest is, and that `up` would not do."""
    two = _others(stack, victim)[1]
    unheard = ("Down", "Unknown")  # unknown, where Swarm's managers had to elect
    wait_until(lambda: stack.swarm.states(two).get(victim.name) in unheard, NOTICED_SECONDS, "Swarm misses the host")
    status = stack.run_make("status", host=two)
    assert status.returncode != 0
    assert re.search(rf"^{lost} LOST ", status.stdout, re.M), status.stdout
    assert re.search(rf"^host {victim.name} is (down|unknown): ", status.stdout, re.M), status.stdout
    assert stack.ask("status", host=two).returncode == 1
    assert f"{lost.partition('@')[2]}: lost" in stack.fails("health", host=two).splitlines()
    assert f"{victim.name} " in stack.fails("up", host=two)
    logs = stack.fails("logs", host=two)
    assert all(re.search(rf"^{name} +\| ", logs, re.M) for name in SERVICES), logs
    assert "== rmqcluster doctor" in stack.make("debug", host=two)


def _come_back(stack: Stack, victim: Host) -> None:
    """Power, and nothing else from us."""
    powered_at = time.monotonic()
    victim.start()
    stack.await_whole(victim, BACK_SECONDS)
    _tell("whole again after", powered_at)
    stack.swarm.await_states("Ready")


def _master_apart_from_redis(stack: Stack) -> tuple[Host, str]:
    """The master's host and name; the label is moved when Redis is on that host."""
    redis = _host_of(stack, REDIS)
    if (master := stack.redis("GET", MASTER)) == _broker_on(stack, redis):
        other = next(name for name in BROKERS if f"rabbit@{name}" != master)
        assert stack.run_inside("failover", "--to", other, "--yes").returncode == 0
        master = wait_until(
            lambda: found if (found := stack.redis("GET", MASTER)) not in ("", master) else "", 30, "the label moved"
        )
    return _host_of(stack, master.partition("@")[2]), master


def _broker_on(stack: Stack, host: Host) -> str:
    return next(f"rabbit@{name}" for name in BROKERS if stack.container(name, host))


def _others(stack: Stack, victim: Host) -> list[Host]:
    return [host for host in stack.swarm.hosts if host is not victim]


def _host_of(stack: Stack, name: str) -> Host:
    host = stack.host_of(name)
    assert host is not None, f"{name} runs nowhere"
    return host


def _tell(what: str, since: float) -> None:
    print(f"{what}: {time.monotonic() - since:.1f} s")
