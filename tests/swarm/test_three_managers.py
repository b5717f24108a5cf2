"""The stack on three managers, as a person has it: from any of them deployed, looked at, changed and taken away."""

import re

import pytest
from hosts import Host
from stack import BROKERS, NAME, POSTGRES, REDIS, SERVICES, Stack, assert_rejoined, member
from support import wait_until
from swarms import Swarm

from rmqcluster.errors import ExitCode
from rmqcluster.swarm.facts import ONE_SHOT_LABEL, STACK_LABEL

MEMBER_SECONDS = 120.0
ALONE = {"rabbitmq1": "manager-master", "rabbitmq2": "manager-rep1", "rabbitmq3": "manager-rep2"}

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def undeployed(three: Swarm, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    return Stack(three, tmp_path_factory.mktemp("stack"))


@pytest.fixture(scope="module")
def stack(undeployed: Stack) -> Stack:
    """Deployed once, from another manager than the first; each test leaves it whole."""
    said = undeployed.make("up", host=undeployed.swarm.hosts[1])
    assert "rabbitmq3: healthy" in said, said
    return undeployed


def test_up_says_which_label_is_missing(undeployed: Stack) -> None:
    """Without a label on any host, `make up` names it and the command for the host that has none; that mends it."""
    one, two, _ = undeployed.swarm.hosts
    one.docker("node", "update", "--label-rm", "manager-rep1", two.name)

    said = undeployed.fails("up", host=one)
    typed = re.search(r"no node with node.labels.manager-rep1 == true. Type:  (docker .*)", said)
    assert typed is not None, said
    assert typed[1].endswith(two.name)
    assert two.run(*typed[1].split()).returncode == 0
    assert two.docker("node", "inspect", "--format", '{{index .Spec.Labels "manager-rep1"}}', two.name) == "true"


def test_each_broker_runs_where_its_label_is(stack: Stack) -> None:
    """One broker on each host, and every manager shows the same cluster."""
    assert [stack.host_of(name) for name in BROKERS] == list(stack.swarm.hosts)
    for host in stack.swarm.hosts:
        health = stack.make("health", host=host).splitlines()
        assert {f"{name}: healthy" for name in SERVICES} <= set(health), health
        status = stack.make("status", host=host)
        assert "HEALTHY  3 of 3 members serve" in status
        assert re.search(rf"^redis +running on {_host_of(stack, REDIS).name} ", status, re.M)


def test_what_runs_elsewhere_is_reached_from_every_manager(stack: Stack) -> None:
    """Redis and PostgreSQL on another host: shown, and a shell in each, through a container that is gone afterwards."""
    for name, shown, shell in (
        (REDIS, "maxmemory_policy: noeviction", ("PING\n", "PONG")),
        (POSTGRES, "schedulerdb", ("select current_database();\n", "schedulerdb")),
    ):
        away = next(host for host in stack.swarm.hosts if not stack.container(name, host))
        assert shown in stack.make(name, host=away)
        assert shell[1] in stack.make(f"{name}-cli", host=away, said=shell[0])
        assert _one_shots(stack) == "", name


def test_up_restarts_one_host_after_the_other(stack: Stack) -> None:
    """X3: a changed line goes from host to host, each when the last has caught up, and no message is lost."""
    first, second, last = stack.swarm.hosts
    before = {name: stack.container(name, _host_of(stack, name)) for name in BROKERS}
    stack.set(RMQCLUSTER_SETTLE_SECONDS="5")
    with stack.under_load(first):
        said = stack.make("up", host=last)
    after = {name: stack.container(name, _host_of(stack, name)) for name in BROKERS}

    assert re.findall(r"restarted \((\d) of 3\)", said) == ["1", "2", "3"]
    assert all(before[name] != after[name] for name in BROKERS)
    assert "nothing differs from what runs" in stack.make("up", host=second)


def test_the_failover_test_passes_from_another_host(stack: Stack) -> None:
    """`make test-failover TARGET=swarm` on a manager that does not run the master, which it kills on its host."""
    master = stack.status()["master"].partition("@")[2]
    away = next(host for host in stack.swarm.hosts if not stack.container(master, host))

    said = stack.make("test-failover", TARGET="swarm", host=away)

    assert "passed" in said.splitlines()
    assert re.search(rf"killed +rabbit@{master} ", said)
    print(said)


def test_x5_a_member_on_another_host_is_held_until_it_returns(stack: Stack) -> None:
    """X5: a task that comes up blank on another host is held, with words; back home it rejoins with its old disk."""
    home, other = stack.swarm.hosts[1], stack.swarm.hosts[2]
    seen = stack.history()
    with stack.under_load(stack.swarm.hosts[0]):
        _move(stack, "rabbitmq2", home, other)
        held = wait_until(lambda: member(stack.status(), "rabbitmq2").get("held"), MEMBER_SECONDS, "rabbitmq2 is held")
        status = stack.run_make("status", host=other)
        listed = [row["node"] for row in stack.status()["members"]]
        _move(stack, "rabbitmq2", other, home)
        stack.await_whole()

    print(held, status.stdout, sep="\n")
    assert all(_id(host) in str(held) for host in (home, other)), held
    assert status.returncode != 0
    assert re.search(r"^DO .*rmqcluster replace rabbit@rabbitmq2", status.stdout, re.M)
    assert re.search(r"^rabbit@rabbitmq2 .*HELD", status.stdout, re.M)
    assert listed == [f"rabbit@{name}" for name in BROKERS]
    assert_rejoined(stack, "rabbitmq2", seen)


def test_a_person_may_replace_the_disk_of_a_member_on_another_host(stack: Stack) -> None:
    """`rmqcluster replace` of a held member: its old self is forgotten, it joins anew, and no message is lost."""
    home, other = stack.swarm.hosts[1], stack.swarm.hosts[2]
    with stack.under_load(stack.swarm.hosts[0]):
        _move(stack, "rabbitmq2", home, other)
        wait_until(lambda: member(stack.status(), "rabbitmq2").get("held"), MEMBER_SECONDS, "rabbitmq2 is held")
        wait_until(lambda: _is_replaced(stack, "rabbitmq2"), MEMBER_SECONDS, "nobody else is busy")
        stack.await_whole()
    assert _host_of(stack, "rabbitmq2") is other


def test_clean_says_which_host_it_did_not_reach(stack: Stack) -> None:
    """With a host down, `make clean` removes the data of the others and says what is left; later it finishes."""
    one, two, last = stack.swarm.hosts
    last.lose()
    stack.swarm.await_states("Down", last)
    said = stack.fails("clean", STACK=NAME, host=two)
    print(said)
    typed = re.search(rf"{last.name}: .*unreachable.* Type there:  (.*)", said)
    assert typed is not None, said
    assert [_volumes(host) for host in (one, two)] == ["", ""]

    last.start()
    stack.swarm.await_states("Ready")
    wait_until(lambda: last.docker("ps", "--quiet") == "", MEMBER_SECONDS, "Swarm ends what still runs there")
    assert _volumes(last) != ""
    assert "are gone" in stack.make("clean", STACK=NAME, host=one)
    assert [_volumes(host) for host in stack.swarm.hosts] == ["", "", ""]
    for kind in ("service", "secret", "config"):
        assert one.docker(kind, "ls", "--filter", f"label={STACK_LABEL}={NAME}", "--quiet") == "", kind


def _move(stack: Stack, name: str, old: Host, new: Host) -> None:
    """The label that says where a broker runs; then its task is elsewhere."""
    manager, label = stack.swarm.hosts[0], ALONE[name]
    manager.docker("node", "update", "--label-rm", label, old.name)
    manager.docker("node", "update", "--label-add", f"{label}=true", new.name)
    stack.await_host_of(name, old)


def _host_of(stack: Stack, name: str) -> Host:
    host = stack.host_of(name)
    assert host is not None, f"{name} runs nowhere"
    return host


def _is_replaced(stack: Stack, name: str) -> bool:
    """No while something else is done: whoever types it is told to try again."""
    done = stack.run_inside("replace", name, "--yes")
    print(done.stdout, done.stderr)
    assert done.returncode in (0, ExitCode.TRY_AGAIN), done.stderr
    return done.returncode == 0


def _id(host: Host) -> str:
    """As Swarm calls it."""
    return host.docker("info", "--format", "{{.Swarm.NodeID}}")


def _one_shots(stack: Stack) -> str:
    return stack.swarm.manager.docker("service", "ls", "--filter", f"label={ONE_SHOT_LABEL}", "--quiet")


def _volumes(host: Host) -> str:
    return host.docker("volume", "ls", "--filter", f"label={STACK_LABEL}={NAME}", "--quiet")
