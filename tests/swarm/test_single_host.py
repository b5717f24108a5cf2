"""The stack on a Swarm of one host: from nothing to healthy, and what happens to it there."""

import re
import time

import pytest
from hosts import Host
from images import OFFICIAL, Images
from stack import BROKERS, NAME, POSTGRES, REDIS, SERVICES, Stack, assert_rejoined, goes_on
from support import wait_until
from swarms import Swarm

STOP_SECONDS = 9.0  # rmqcluster leaves in 8, and docker stop kills after 10
COMES_BACK_SECONDS = 120.0

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def stack(single: Swarm, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Deployed once; each test leaves it whole."""
    found = Stack(single, tmp_path_factory.mktemp("stack"))
    said = found.make("up")
    assert "rabbitmq1: healthy" in said, said
    return found


@pytest.mark.smoke
def test_up_ends_healthy_with_the_report_and_the_consoles(stack: Stack) -> None:
    """From nothing, one command: everything is healthy when it ends, and it says where the consoles are."""
    said = stack.make("up")

    for line in ("Service Health", "rabbitmq2: healthy", "redis: healthy", "Redis Coordinator", "postgres: healthy"):
        assert line in said.splitlines()
    assert "Members: rabbit@rabbitmq1 rabbit@rabbitmq2 rabbit@rabbitmq3" in said
    assert re.search(r"rabbitmq3 +http://[\d.]+:15674/", said)
    assert "nothing differs from what runs" in said


@pytest.mark.smoke
def test_a_killed_container_comes_back_by_itself(stack: Stack) -> None:
    """SIGKILL of a broker's container under load: Swarm starts it again, it rejoins with its disk, nothing is lost."""
    host, seen = stack.swarm.manager, stack.history()
    with stack.under_load() as ledger:
        old = stack.container("rabbitmq2", host)
        host.docker("kill", old)
        goes_on(ledger)
        stack.await_new_container("rabbitmq2", host, old)
    assert_rejoined(stack, "rabbitmq2", seen)


@pytest.mark.smoke
def test_the_failover_test_passes_against_it(stack: Stack) -> None:
    """`make test-failover TARGET=swarm`: the master is killed under load, nothing is lost, all deadlines are met."""
    assert "passed" in stack.make("test-failover", TARGET="swarm").splitlines()


@pytest.mark.smoke
def test_x3_up_restarts_one_broker_after_the_other(stack: Stack) -> None:
    """X3: `make up` with one changed line shows it, and the next broker goes only when the last has caught up.

    Here also a changed password: it holds when all are through, though they are configured differently meanwhile.
    """
    host, worker, password = stack.swarm.manager, "worker1", "another-password-of-the-worker"
    before = {name: stack.container(name, host) for name in BROKERS}
    stack.set(RMQCLUSTER_SETTLE_SECONDS="5", MQ_NODE1_PASS=password)
    with stack.under_load():
        said = stack.make("up")
    after = {name: stack.container(name, host) for name in BROKERS}

    assert said.count("RMQCLUSTER_SETTLE_SECONDS:  -> 5") == len(BROKERS)
    assert re.findall(r"restarted \((\d) of 3\)", said) == ["1", "2", "3"]
    assert all(before[name] != after[name] for name in BROKERS)
    assert "rabbitmq1: healthy" in said
    host.docker("exec", after["rabbitmq2"], "rabbitmqctl", "authenticate_user", worker, password)


def test_x2_a_raw_deployment_restarts_all_at_once_and_recovers(stack: Stack) -> None:
    """X2: `docker stack deploy` with one changed line: an outage, said as one, and then everything is there again."""
    host = stack.swarm.manager
    before = {name: stack.container(name, host) for name in BROKERS}
    stack.set(RMQCLUSTER_SETTLE_SECONDS="6")
    file = stack.env_file.with_suffix(".yml")
    file.write_text(stack.render())
    with stack.under_load(seconds=COMES_BACK_SECONDS):
        host.docker("stack", "deploy", "--resolve-image", "never", "-c", str(file), NAME, seconds=120)
        for name in BROKERS:
            stack.await_new_container(name, host, before[name], COMES_BACK_SECONDS)


def test_x4_docker_stop_leaves_in_order(stack: Stack) -> None:
    """X4: `docker stop` gives ten seconds: the broker has left before, exits 0, and is told as stopped, not as lost."""
    host = stack.swarm.manager
    with stack.under_load():
        old = stack.container("rabbitmq3", host)
        started_at = time.monotonic()
        host.docker("stop", old)
        took = time.monotonic() - started_at
        code = host.docker("inspect", "--format", "{{.State.ExitCode}}", old)
        stack.await_new_container("rabbitmq3", host, old)

    assert code == "0"
    assert took < STOP_SECONDS


def test_x4_a_restart_of_the_engine_is_borne(stack: Stack) -> None:
    """X4: dockerd stops in order with everything on it, starts again, and the cluster serves without a person."""
    host = stack.swarm.manager
    stack.make("postgres-create-db", DB="kept")
    host.stop()
    host.start()
    wait_until(lambda: stack.is_whole(), COMES_BACK_SECONDS, "the cluster is whole again")

    assert "kept" in stack.make("postgres")


def test_x6_a_second_task_on_the_volume_waits(stack: Stack) -> None:
    """X6: a task on a volume whose old task still runs touches nothing, waits for the lock and says so."""
    host = stack.swarm.manager
    image = host.docker("inspect", "--format", "{{.Image}}", stack.container("rabbitmq1", host))
    volume = f"{NAME}_rabbitmq1_data:/var/lib/rabbitmq"
    cookie = stack.secrets()["RABBITMQ_ERLANG_COOKIE"]
    environment = ["--env", f"RABBITMQ_ERLANG_COOKIE={cookie}", "--hostname", "rabbitmq1"]
    twin = host.docker("run", "--detach", "--network", "none", "--volume", volume, *environment, image)
    try:
        words = wait_until(
            lambda: found if "is in use by" in (found := _said(host, twin)) else "",
            30,
            "the second task says that it waits for the lock",
        )
    finally:
        host.docker("rm", "--force", twin)

    assert "rabbitmq1" in words
    assert stack.is_whole()


def _said(host: Host, container: str) -> str:
    done = host.run("docker", "logs", container)
    return done.stdout + done.stderr


def test_redis_is_killed_and_flushed_without_harm(stack: Stack) -> None:
    """A killed Redis is started again; an emptied one is filled again by the brokers; no message is lost."""
    host = stack.swarm.manager
    with stack.under_load() as ledger:
        old = stack.container(REDIS, host)
        host.docker("kill", old)
        stack.await_new_container(REDIS, host, old)
        goes_on(ledger)
        stack.make("redis-flush")
        goes_on(ledger)
    stack.await_whole()


def test_every_part_is_shown(stack: Stack) -> None:
    """The targets that look: each shows its part, and a shell in each is a shell in the right place."""
    assert "HEALTHY  3 of 3 members serve" in stack.make("status")
    assert "redis: healthy" in stack.make("health")
    assert "rabbit@rabbitmq3" in stack.make("rabbitmq")
    assert "maxmemory_policy: noeviction" in stack.make("redis")
    assert "schedulerdb" in stack.make("postgres")
    assert "15673" in stack.make("rabbitmq-ui")
    logs = stack.make("logs")
    assert all(re.search(rf"^{name} +\| ", logs, re.M) for name in SERVICES)
    debug = stack.make("debug")
    assert all(f"== {part}" in debug for part in ("rmqcluster doctor", "last lines of redis"))
    assert "schedulerdb" in stack.make("postgres-cli", said="select current_database();\n")
    assert "PONG" in stack.make("redis-cli", said="PING\n")
    assert "rabbit@rabbitmq1" in stack.make("rabbitmq-cli", said="rabbitmqctl -q eval 'node().'\nrmqcluster status\n")


def test_what_goes_on_ends_with_ctrl_c(stack: Stack) -> None:
    """The report and the logs are shown as they change; Ctrl-C ends them without a traceback."""
    seen = {target: stack.glimpse(target) for target in ("monitor", "logs-follow")}
    assert "rabbitmq2: healthy" in seen["monitor"]
    assert all(re.search(rf"^{name} +\| ", seen["logs-follow"], re.M) for name in SERVICES)
    assert not [target for target, said in seen.items() if "Traceback" in said], seen


def test_all_checks_builds_and_deploys(stack: Stack, images: Images) -> None:
    """`make all` from the same sources builds the same image, and finds that nothing differs from what runs."""
    said = stack.make("all", STANDIN="" if images.suite == OFFICIAL else images.suite)
    for words in ("ready: Swarm, labels, secrets", "MB on top of its base", "nothing differs from what runs"):
        assert words in said


def test_what_destroys_asks_first(stack: Stack) -> None:
    """Without YES=1 a no, or no answer, changes nothing; `clean` takes nothing but the stack's name."""
    for target in ("down", "restart", "rabbitmq-purge", "redis-flush", "redis-clear-cluster", "postgres-drop-db"):
        assert "Go on?" in stack.fails(target, YES="", said="n\n"), target
        assert "Go on?" in stack.fails(target, YES=""), target
    assert "Nothing was changed" in stack.fails("clean", said="yes\n")
    assert stack.is_whole()


def test_what_empties_empties(stack: Stack) -> None:
    """Purge, clear, make and drop a database, restart: each does what it says, and the cluster is whole afterwards."""
    assert re.search(r"/fog tasks\.normal: purged", stack.make("rabbitmq-purge"))
    assert "cleared: members" in stack.make("redis-clear-cluster")
    assert "is made" in stack.make("postgres-create-db", DB="second")
    assert "already exists" in stack.fails("postgres-create-db", DB="second")
    assert "is deleted" in stack.make("postgres-drop-db", DB="second")
    stack.await_whole()
    assert "rabbitmq3: healthy" in stack.make("restart")


def test_no_secret_is_to_be_seen(stack: Stack) -> None:
    """Not in what Docker tells, not in the logs, not in the image, not in the processes or their environment."""
    host = stack.swarm.manager
    seen = {"logs": stack.make("logs", host=host), "debug": stack.make("debug")}
    for name in SERVICES:
        container = stack.container(name, host)
        seen[f"inspect {name}"] = host.docker("inspect", container)
        seen[f"service {name}"] = host.docker("service", "inspect", f"{NAME}_{name}")
        seen[f"processes of {name}"] = host.docker("top", container, "-eo", "pid,args")
        environments = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'; true"
        owner = name if name in (REDIS, POSTGRES) else "rabbitmq"  # root without capabilities could not read them
        seen[f"environments of {name}"] = host.docker("exec", "--user", owner, container, "sh", "-c", environments)
        image = host.docker("inspect", "--format", "{{.Image}}", container)
        seen[f"image of {name}"] = host.docker("history", "--no-trunc", image)
    ids = host.docker("secret", "ls", "--quiet").split() + host.docker("config", "ls", "--quiet").split()
    assert ids
    seen["secrets"] = host.docker("secret", "inspect", *host.docker("secret", "ls", "--quiet").split())
    seen["configs"] = host.docker("config", "inspect", *host.docker("config", "ls", "--quiet").split())

    secrets = stack.secrets()
    assert len(secrets) >= len(SERVICES)
    found = [(where, name) for where, text in seen.items() for name, value in secrets.items() if value in text]
    assert not found


@pytest.mark.smoke
def test_down_keeps_the_data_and_clean_takes_it(stack: Stack) -> None:
    """After `down` the same cluster comes up with its data; after `clean` there is no volume, secret or config left."""
    host = stack.swarm.manager
    identity = stack.status()["cluster_id"]
    stack.make("down")
    assert host.docker("ps", "--quiet") == ""
    stack.make("up")
    assert stack.status()["cluster_id"] == identity

    assert "are gone" in stack.make("clean", STACK=NAME)
    for kind in ("volume", "secret", "config"):
        left = host.docker(kind, "ls", "--filter", f"label=com.docker.stack.namespace={NAME}", "--quiet")
        assert left == "", kind
