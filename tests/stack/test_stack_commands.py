"""`rmqcluster swarm …` against an engine on a socket: what is asked, what is changed, and how it ends."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import Run
from engine_server import EngineServer, frame

from rmqcluster.cli.swarm import place
from rmqcluster.swarm import acts, environment, inside

TOP = Path(__file__).parent.parent.parent
HERE = "c1"
TEMPLATE = {"ContainerSpec": {"Image": "rmqcluster:latest"}, "Networks": [{"Target": "n1"}]}
CHANGING = ("down", "restart", "purge", "redis-flush", "redis-clear-cluster", "postgres-drop-db")


@pytest.fixture
def deployed(server: EngineServer) -> EngineServer:
    """A stack with all its services, each with a container on this host."""
    names = ("rabbitmq1", "rabbitmq2", "rabbitmq3", "redis", "postgres")
    services = [
        {"ID": f"id-{n}", "Version": {"Index": 1}, "Spec": {"Name": f"fog_{n}", "TaskTemplate": TEMPLATE, "Labels": {}}}
        for n in names
    ]
    server.answers |= {
        "GET /services": (200, services),
        "GET /containers/json": (200, [{"Id": HERE}]),
        f"POST /containers/{HERE}/exec": (201, {"Id": "x1"}),
        "GET /exec/x1/json": (200, {"Running": False, "ExitCode": 0}),
        "GET /images/rmqcluster:latest/json": (200, {"Id": "sha256:1", "RepoDigests": []}),
    }
    return server


def given(server: EngineServer) -> dict[str, str]:
    return server.environment


@pytest.mark.parametrize("typed", ["", "other", "FOG", "fog "])
def test_clean_with_another_name_changes_nothing(deployed: EngineServer, run: Run, typed: str) -> None:
    """Only the stack's very name removes its data."""
    code, _, err = run("clean", "--stack", typed, **given(deployed))

    assert (code, deployed.changes) == (1, [])
    assert f"{typed!r} is not the name of this stack. Nothing was changed" in err


def test_clean_wants_the_name_of_this_stack(deployed: EngineServer, run: Run) -> None:
    """The default name does not answer for a stack with another one."""
    assert run("clean", "--stack", "fog", STACK="mine", **given(deployed))[0] == 1
    assert deployed.changes == []


def test_clean_asks_when_no_name_is_given(
    deployed: EngineServer, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nobody there to answer, or a plain yes, changes nothing."""
    for answer in ("", "\n", "yes\n"):
        path = tmp_path / "answer"
        path.write_text(answer)
        with path.open() as typed:
            monkeypatch.setattr("sys.stdin", typed)
            assert run("clean", **given(deployed))[0] == 1
    assert deployed.changes == []


def test_clean_without_an_image_changes_nothing(deployed: EngineServer, run: Run) -> None:
    """What removes the volumes is looked for before anything is stopped."""
    del deployed.answers["GET /images/rmqcluster:latest/json"]
    code, _, err = run("clean", "--stack", "fog", **given(deployed))

    assert (code, deployed.changes) == (78, [])
    assert "make build" in err


def test_clean_works_with_the_image_that_is_deployed(
    deployed: EngineServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manager that built nothing can take the data away, and the other hosts have that very image."""
    monkeypatch.setattr(acts, "VOLUMES_SECONDS", 0.1)
    monkeypatch.setattr(acts, "DOWN_SECONDS", 5.0)
    del deployed.answers["GET /images/rmqcluster:latest/json"]
    template = {"ContainerSpec": {"Image": "host/path@sha256:1"}}
    spec = {"Name": "fog_rabbitmq1", "TaskTemplate": template, "Labels": {"rmqcluster.role": "broker"}}
    deployed.answers |= {
        "GET /services": (200, [{"ID": "id-rabbitmq1", "Version": {"Index": 1}, "Spec": spec}]),
        "DELETE /services/id-rabbitmq1": (200, {}),
        "POST /services/create": (201, {"ID": "s1"}),
        "DELETE /services/s1": (200, {}),
    }
    assert run("clean", "--stack", "fog", **given(deployed))[0] == 0
    (job,) = [body for body in deployed.bodies if body]
    assert job["TaskTemplate"]["ContainerSpec"]["Image"] == "host/path@sha256:1"


@pytest.mark.parametrize("command", CHANGING)
def test_without_a_yes_nothing_is_changed(
    deployed: EngineServer, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    """A no, or nobody there to answer, leaves everything as it is; the question says what would happen."""
    for answer in ("", "n\n"):
        path = tmp_path / "answer"
        path.write_text(answer)
        with path.open() as typed:
            monkeypatch.setattr("sys.stdin", typed)
            code, out, err = run(command, **given(deployed))
        assert code == 1
        assert "This " in out
        assert "stopped: nothing further was done" in err
    assert deployed.changes == []


def test_with_yes_it_is_done(deployed: EngineServer, run: Run) -> None:
    """`--yes` answers for a script: nothing is asked, and the command runs inside of the stack."""
    deployed.commands.append(frame("OK\n"))
    code, out, _ = run("redis-flush", "--yes", **given(deployed))

    assert (code, out) == (0, "OK\n")
    assert deployed.bodies[0]["Cmd"][-2:] == ["-e", "FLUSHALL"]


def test_no_password_is_in_a_command(deployed: EngineServer, run: Run) -> None:
    """Passwords come from files inside the container: what the engine is asked to run holds none."""
    deployed.commands += [frame("OK\n"), frame("")]
    secrets = {"REDIS_PASS": "canary-1", "POSTGRES_PASS": "canary-2"}
    run("redis-flush", "--yes", **secrets, **given(deployed))
    run("postgres-create-db", "--name", "x", **given(deployed))

    assert len(deployed.bodies) == 4
    assert "canary" not in str(deployed.bodies)


def test_a_database_name_is_no_option(deployed: EngineServer, run: Run) -> None:
    """A name that looks like an option of the tool is a name."""
    deployed.commands.append(frame(""))
    run("postgres-drop-db", "--yes", "--name=--help", **given(deployed))

    assert deployed.bodies[0]["Cmd"][-2:] == ["--", "--help"]


def test_a_command_inside_that_fails_is_told(deployed: EngineServer, run: Run) -> None:
    """What the tool said goes to where it said it, and the exit code is not 0."""
    deployed.answers["GET /exec/x1/json"] = (200, {"Running": False, "ExitCode": 1})
    deployed.commands.append(frame("database x exists", 2))

    assert run("postgres-create-db", "--name", "x", **given(deployed)) == (69, "", "database x exists\n")


@pytest.mark.parametrize("code", [0, 1, 2, 78])
def test_status_and_health_end_as_the_cluster_says(deployed: EngineServer, run: Run, code: int) -> None:
    """The exit code of the command inside is the one outside."""
    deployed.answers["GET /exec/x1/json"] = (200, {"Running": False, "ExitCode": code})
    deployed.commands += [frame("words\n"), frame("words\n")]

    assert run("status", **given(deployed))[0] == code
    assert run("health", **given(deployed))[:2] == (code, "words\n")


def test_what_cannot_be_reached_is_not_unhealthy(server: EngineServer, run: Run) -> None:
    """The report says of each part that it is unreachable, why, and ends as unknown."""
    code, out, _ = run("health", **given(server))

    assert code == 2
    assert [line for line in out.splitlines() if line.endswith(": unreachable")] == [
        f"{name}: unreachable" for name in ("rabbitmq1", "rabbitmq2", "rabbitmq3", "redis", "postgres")
    ]
    assert "is not deployed. Type:  make up" in out


@pytest.mark.parametrize(
    "arguments",
    [("up",), ("down", "--yes"), ("clean", "--stack", "fog"), ("status",), ("health",), ("logs",), ("debug",), ("ui",)],
)
def test_without_an_engine(run: Run, arguments: tuple[str, ...]) -> None:
    """Nobody at the socket: exit 69, what happened and what to do, and no traceback."""
    code, _, err = run(*arguments)

    assert code == 69
    assert err.startswith("rmqcluster: no Docker engine answers: ")
    assert err.endswith("Start it, or set DOCKER_HOST\n")


def test_up_says_what_is_missing(server: EngineServer, run: Run) -> None:
    """Swarm, `.env`, labels, secrets, images: each with its command, and nothing is deployed."""
    assert "make env" in run("up", **given(server))[2]
    server.answers["GET /info"] = (200, {"Swarm": {"LocalNodeState": "inactive"}})
    Path(".env").write_text("")
    code, _, err = run("up", **given(server))

    assert (code, err) == (78, "rmqcluster: not ready: this engine is in no Swarm. Type:  docker swarm init\n")
    assert server.changes == []


def test_up_says_all_that_is_missing_at_once(server: EngineServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a host with nothing: all secrets, each image, and what to do with one host."""
    monkeypatch.chdir(TOP)
    node = {
        "ID": "id-manager1",
        "Spec": {"Role": "manager", "Availability": "active"},
        "Description": {"Hostname": "manager1"},
        "Status": {"State": "ready", "Addr": "10.0.0.1"},
    }
    server.answers["GET /nodes"] = (200, [node])
    code, _, err = run("up", ENV_FILE=str(TOP / ".env.example"), **given(server))
    lines = err.splitlines()

    assert code == 78
    assert [line.rpartition("Type:  ")[2].split("  ")[0] for line in lines[1:]] == [
        *("make env", "make build", "make build", "make build", "make up SINGLE_HOST=1")
    ]
    assert server.changes == []


def test_before_a_build_images_are_no_lack(server: EngineServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make all` says what else is missing before it builds for minutes."""
    monkeypatch.chdir(TOP)
    node = {"ID": "id-manager1", "Spec": {"Role": "manager", "Availability": "active"}, "Status": {"State": "ready"}}
    server.answers["GET /nodes"] = (200, [node])
    code, _, err = run("check", "--before-build", ENV_FILE=str(TOP / ".env.example"), **given(server))
    assert code == 78
    assert [line.rpartition("Type:  ")[2].split("  ")[0] for line in err.splitlines()[1:]] == [
        *("make env", "make up SINGLE_HOST=1")
    ]

    filled = server.socket.with_name("filled.env")
    environment.write(TOP / ".env.example", filled)
    variables = {"ENV_FILE": str(filled), "SINGLE_HOST": "1", **given(server)}
    code, out, _ = run("check", "--before-build", **variables)
    assert (code, out) == (0, "ready: Swarm, labels, secrets are there (5 services)\n")
    assert run("check", **variables)[0] == 78
    assert server.changes == []


def test_env_writes_one_and_keeps_it(run: Run) -> None:
    """The first time it writes, and names what it filled in but not with what; the second time it refuses."""
    Path(".env.example").write_text("A_PASS=\n")
    code, out, _ = run("env")
    written = Path(".env").read_text()

    assert code == 0
    assert "A_PASS" in out
    assert written.strip().partition("=")[2] not in out
    assert run("env")[0] == 1
    assert Path(".env").read_text() == written


def test_restart_of_nothing_is_refused(server: EngineServer, run: Run) -> None:
    """A stack that is not deployed is said not to be, before anybody is asked."""
    code, out, err = run("restart", **given(server))

    assert (code, out) == (1, "")
    assert "is not deployed. Type:  make up" in err


def test_logs_of_nobody_is_a_usage_error(deployed: EngineServer, run: Run) -> None:
    """A name that no service has is told with those that there are."""
    code, _, err = run("logs", "rabbitmq9", **given(deployed))

    assert code == 64
    assert "there are: postgres, rabbitmq1, rabbitmq2, rabbitmq3, redis" in err


def test_one_name_that_nobody_has_is_told(deployed: EngineServer, run: Run) -> None:
    """A misspelt name beside a right one is not passed over in silence."""
    deployed.answers["GET /services/id-redis/logs"] = (200, b"")
    code, _, err = run("logs", "redis", "rabitmq1", **given(deployed))

    assert code == 64
    assert "rabitmq1" in err


LOST_LOG = (
    "Error grabbing logs: rpc error: code = Unknown desc = warning: incomplete log stream. some logs could not be "
    "retrieved for the following reasons: node n7 is not available\n"
)


@pytest.mark.parametrize(
    ("log", "code", "said"),
    [
        (frame(LOST_LOG, 3), 1, "redis      | its log is unreachable: node n7 is not available\n"),
        (frame("ready\n") + frame(LOST_LOG, 3), 0, f"redis      | ready\nredis      | {LOST_LOG}"),
        (frame("Ready\n"), 0, "redis      | Ready\n"),
        (b"", 0, ""),
    ],
)
def test_a_log_that_no_host_gives_is_unreachable(
    deployed: EngineServer, run: Run, log: bytes, code: int, said: str
) -> None:
    """The engine puts it into the log as if the service had said it; what another host gives is shown all the same."""
    deployed.answers |= {
        "GET /services/id-redis": (200, {"Spec": {"TaskTemplate": TEMPLATE}}),
        "GET /services/id-redis/logs": (200, log),
    }
    assert run("logs", "redis", **given(deployed))[:2] == (code, said)


def test_logs_of_nothing_say_what_to_do(server: EngineServer, run: Run) -> None:
    """A stack that is not deployed has no service that could be misspelt."""
    code, _, err = run("logs", **given(server))

    assert (code, err) == (1, "rmqcluster: stack fog is not deployed. Type:  make up\n")


def test_redis_that_refuses_is_no_success(deployed: EngineServer, run: Run) -> None:
    """Told once, in its own words."""
    deployed.answers["GET /exec/x1/json"] = (200, {"Running": False, "ExitCode": 1})
    deployed.commands.append(frame("NOAUTH Authentication required.\n"))
    code, _, err = run("show", "redis", **given(deployed))

    assert (code, err) == (69, "NOAUTH Authentication required.\n")
    assert deployed.bodies[0]["Cmd"][-3:] == ["-e", "INFO", "server"]


@pytest.mark.parametrize("arguments", [("debug",), ("show", "rabbitmq")])
def test_without_swarms_managers_this_host_is_looked_at(
    deployed: EngineServer, run: Run, arguments: tuple[str, ...]
) -> None:
    """Most managers are lost: what Swarm would say is said to be unreachable, and the container here is asked."""
    lost = (503, {"message": "The swarm does not have a leader"})
    deployed.answers |= {f"GET /{what}": lost for what in ("services", "tasks", "nodes")}
    deployed.commands += [frame(f"words {number}\n") for number in range(3)]
    code, out, _ = run(*arguments, **given(deployed))

    assert code == 0
    assert "Swarm's view is unreachable: Docker refused: The swarm does not have a leader" in out
    assert "words 0" in out
    assert ("words 2" in out) is (arguments == ("debug",))


def test_down_of_nothing_is_fine(server: EngineServer, run: Run) -> None:
    """Twice down is down."""
    assert run("down", "--yes", **given(server))[0] == 0
    assert server.changes == []


def test_hosts_that_keep_volumes_are_told(deployed: EngineServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that is left on a host out of reach is said to be, with the command for that host, and it is no success."""
    monkeypatch.setattr(acts, "VOLUMES_SECONDS", 0.1)
    node: dict[str, Any] = {"Spec": {"Role": "manager", "Availability": "active"}}
    ready = {**node, "ID": "n1", "Description": {"Hostname": "here"}, "Status": {"State": "ready", "Addr": ""}}
    lost = {**node, "ID": "n2", "Description": {"Hostname": "lost"}, "Status": {"State": "down", "Addr": ""}}
    done = {"ID": "t1", "NodeID": "n1", "DesiredState": "complete", "Status": {"State": "complete"}}
    deployed.answers |= {
        "GET /nodes": (200, [ready, lost]),
        "GET /services": (200, []),
        "POST /services/create": (201, {"ID": "s1"}),
        "DELETE /services/s1": (200, {}),
        "GET /tasks": (200, [done]),
    }
    code, out, _ = run("clean", "--stack", "fog", **given(deployed))

    assert code == 1
    assert "  here: no volume of fog is left" in out
    assert "  lost: unreachable. Type there:  docker volume ls" in out
    assert deployed.changes == ["POST /services/create", "DELETE /services/s1"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_who_is_ended_by_a_signal_leaves_nothing_behind(
    deployed: EngineServer, run: Run, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """With a SIGTERM, a closed terminal and Ctrl-C alike the one-shot container goes; signals mean what they meant."""
    running = {"State": "running", "ContainerStatus": {"ContainerID": HERE}}
    deployed.answers |= {
        "GET /containers/json": (200, []),
        "GET /services/fog_rabbitmq1": (200, {"ID": "id-rabbitmq1", "Spec": {"TaskTemplate": TEMPLATE}}),
        "POST /services/create": (201, {"ID": "s1"}),
        "DELETE /services/s1": (200, {}),
        "GET /tasks": (200, [{"ID": "t1", "DesiredState": "running", "Status": running}]),
    }
    monkeypatch.setenv("DOCKER_HOST", deployed.environment["DOCKER_HOST"])
    before = signal.getsignal(number)

    def visit() -> None:
        with place() as here:
            assert here.inside.container("rabbitmq1") == HERE
            os.kill(os.getpid(), number)

    with pytest.raises((SystemExit, KeyboardInterrupt)):
        visit()
    assert deployed.changes == ["POST /services/create", "DELETE /services/s1"]
    assert signal.getsignal(number) is before


def test_who_ignores_a_closed_terminal_goes_on(
    deployed: EngineServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under nohup a SIGHUP stays ignored."""
    monkeypatch.setenv("DOCKER_HOST", deployed.environment["DOCKER_HOST"])
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with place():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_consoles_are_found_without_dotenv(deployed: EngineServer, run: Run) -> None:
    """Any manager tells them as the services publish them; the password is where the stack was deployed."""
    broker = {
        "Name": "fog_rabbitmq2",
        "TaskTemplate": TEMPLATE,
        "Labels": {"rmqcluster.role": "broker"},
        "EndpointSpec": {"Ports": [{"TargetPort": 15672, "PublishedPort": 25673, "PublishMode": "host"}]},
    }
    task = {"ID": "t", "NodeID": "n1", "DesiredState": "running", "Status": {"State": "running"}}
    node = {"ID": "n1", "Spec": {}, "Status": {"State": "ready", "Addr": "10.0.0.7"}}
    deployed.answers |= {
        "GET /services": (200, [{"ID": "s", "Version": {"Index": 1}, "Spec": broker}]),
        "GET /tasks": (200, [task]),
        "GET /nodes": (200, [node]),
    }
    code, out, _ = run("ui", DISPLAY="", **given(deployed))

    assert code == 0
    assert out.splitlines() == [
        "rabbitmq2  http://10.0.0.7:25673/",
        "user admin, password MQ_ADMIN_PASS in .env, where the stack was deployed",
    ]


def test_psql_is_in_the_database_of_the_stack(tmp_path: Path) -> None:
    """As its container knows it, also where no .env is; what is asked for by name wins."""
    (tmp_path / "password").write_text("word")
    (tmp_path / "psql").write_text('#!/bin/sh\necho "$PGDATABASE $PGPASSWORD $*"\n')
    (tmp_path / "psql").chmod(0o755)
    variables = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "POSTGRES_DB": "mine",
        "POSTGRES_USER": "me",
        "POSTGRES_PASSWORD_FILE": str(tmp_path / "password"),
    }
    argv = inside.postgres_tool("psql", "-c", "select 1")
    done = subprocess.run(argv, env=variables, capture_output=True, text=True, timeout=10, check=True)

    assert done.stdout == "mine word -h postgres -U me -c select 1\n"
