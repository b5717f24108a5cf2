"""The engine's answers as data, commands in containers, and what stands in for a service."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_server import EngineServer, frame

from rmqcluster.errors import CommandFailed, ExitCode
from rmqcluster.swarm import acts, containers
from rmqcluster.swarm import engine as engine_module
from rmqcluster.swarm.engine import Engine
from rmqcluster.swarm.facts import EngineUnavailable, InUse, Missing
from rmqcluster.swarm.inside import Inside

HERE = "rabbitmq1 on this host"
SPEC: dict[str, Any] = {
    "ContainerSpec": {
        "Image": "rmqcluster@sha256:1",
        "Args": ["serve"],
        "Hostname": "rabbitmq1",
        "Env": ["REDIS_HOST=redis"],
        "User": "rabbitmq",
        "StopGracePeriod": 30,
        "StopSignal": "SIGINT",
        "ReadOnly": True,
        "CapabilityDrop": ["ALL"],
        "Healthcheck": {"Test": ["CMD", "rmqcluster", "healthcheck"]},
        "Mounts": [
            {"Type": "volume", "Source": "fog_rabbitmq1_data", "Target": "/var/lib/rabbitmq"},
            {"Type": "tmpfs", "Target": "/tmp"},
        ],
        "Secrets": [{"SecretID": "s1", "File": {"Name": "redis_pass"}}],
        "Configs": [{"ConfigID": "c1", "File": {"Name": "/etc/rabbitmq/rabbitmq.conf"}}],
    },
    "Resources": {"Limits": {"MemoryBytes": 1}},
    "RestartPolicy": {"Condition": "any"},
    "Placement": {"Constraints": ["node.labels.manager-master == true"]},
    "Networks": [{"Target": "n1", "Aliases": ["rabbitmq", "rabbitmq1"]}],
    "LogDriver": {"Name": "json-file"},
}


def visiting(*argv: str) -> dict[str, Any]:
    return containers._visiting(SPEC, argv, "id-manager2")


def test_a_visitor_has_no_data_and_no_name() -> None:
    """No volume, no host name, no alias: nobody mistakes it for the member, and it cannot harm the member's data."""
    made = visiting()

    assert made["ContainerSpec"]["Mounts"] == [
        {"Type": "tmpfs", "Target": "/var/lib/rabbitmq"},
        {"Type": "tmpfs", "Target": "/tmp"},
    ]
    assert "Hostname" not in made["ContainerSpec"]
    assert made["Networks"] == [{"Target": "n1"}]


def test_a_visitor_keeps_what_lets_it_in() -> None:
    """Image, environment, secrets, configs, user and rights are the service's own."""
    kept = visiting()["ContainerSpec"]

    for name in ("Image", "Env", "Secrets", "Configs", "User", "ReadOnly", "CapabilityDrop"):
        assert kept[name] == SPEC["ContainerSpec"][name]


def test_a_visitor_runs_here_and_ends_by_itself() -> None:
    """It is placed on this host, is never started again, is not probed, and ends when its asker has died."""
    made = visiting()

    assert made["Placement"] == {"Constraints": ["node.id == id-manager2"]}
    assert made["RestartPolicy"] == {"Condition": "none"}
    assert made["ContainerSpec"]["Healthcheck"] == {"Test": ["NONE"]}
    assert made["ContainerSpec"]["Command"] == ["sleep"]
    assert made["ContainerSpec"]["Args"] == [str(containers.LIFE_SECONDS)]


def test_a_visitor_may_have_something_to_do() -> None:
    """A command takes the place of the waiting; the service's own description is not touched."""
    made = visiting("python3", "-m", "x")["ContainerSpec"]

    assert (made["Command"], made["Args"]) == (["python3"], ["-m", "x"])
    assert SPEC["ContainerSpec"]["Args"] == ["serve"]
    assert len(SPEC["ContainerSpec"]["Mounts"]) == 2


def test_published_ports_are_chosen_by_the_engine() -> None:
    """A port of the container on this host alone, on whichever is free."""
    assert containers._published([]) == []
    assert containers._published([5672]) == [{"Protocol": "tcp", "TargetPort": 5672, "PublishMode": "host"}]


def ready_for(server: EngineServer, *commands: bytes | None, code: int | None = 0, running: bool = False) -> None:
    """A container in which these commands are run one after the other."""
    server.answers |= {
        "GET /containers/json": (200, [{"Id": HERE}]),
        f"POST /containers/{HERE}/exec": (201, {"Id": "x1"}),
        "GET /exec/x1/json": (200, {"Running": running, "ExitCode": code}),
    }
    server.commands += commands


def test_a_command_says_both_and_how_it_ended(server: EngineServer, engine: Engine) -> None:
    """Output and errors apart, whatever order they come in, with the exit code; broken text breaks nothing."""
    ready_for(server, frame("a") + frame("oops", 2) + frame(b"b\xff"), code=3)
    said = containers.run(engine, HERE, ["true"])

    assert (said.code, said.out, said.err) == (3, "ab\ufffd", "oops")
    assert server.bodies[0]["Cmd"] == ["true"]


@pytest.mark.parametrize(("code", "running"), [(None, False), (None, True), (0, True)])
def test_an_unknown_end_is_no_success(
    server: EngineServer, engine: Engine, monkeypatch: pytest.MonkeyPatch, code: int | None, running: bool
) -> None:
    """A command whose container went away under it has not succeeded: nobody restarts a broker because of it."""
    monkeypatch.setattr(containers, "CODE_SECONDS", 0.1)
    ready_for(server, b"", code=code, running=running)

    with pytest.raises(EngineUnavailable, match="how `rmqcluster` ended is unknown"):
        containers.run(engine, HERE, ["rmqcluster", "wait"])


def test_an_end_that_is_written_down_late_is_awaited(server: EngineServer, engine: Engine) -> None:
    """The exit code may come a moment after the last words."""
    ready_for(server, frame("words"))
    states: Iterator[dict[str, Any]] = iter([{"Running": True, "ExitCode": None}, {"Running": False, "ExitCode": 2}])
    server.answers["GET /exec/x1/json"] = lambda: (200, next(states))

    assert containers.run(engine, HERE, ["x"]).code == 2


def test_a_command_that_hangs_is_given_up(
    server: EngineServer, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time the command is said to hang, not the engine, and whoever waits goes on."""
    monkeypatch.setattr(containers, "COMMAND_SECONDS", 0.2)
    ready_for(server, None)

    with pytest.raises(EngineUnavailable, match=r"`redis-cli` in container rabbitmq1 on.* did not end within 0\.2 s"):
        containers.run(engine, HERE, ["redis-cli"])


def test_an_engine_that_is_slow_is_not_said_to_be_gone(server: EngineServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer in time and nobody there are told apart."""
    monkeypatch.setattr(engine_module, "ANSWER_SECONDS", 0.2)
    slow = Engine(server.environment)
    try:
        server.answers["GET /nodes"] = slow_answer
        with pytest.raises(EngineUnavailable, match=r"did not answer within 0\.2 s"):
            slow.nodes()
    finally:
        slow.close()


def slow_answer() -> tuple[int, Any]:
    time.sleep(0.6)  # longer than anybody waits
    return 200, []


def test_no_engine_is_told_with_what_to_do() -> None:
    """Nobody at the socket: words, and the exit code for what cannot be reached."""
    with pytest.raises(EngineUnavailable, match="Start it, or set DOCKER_HOST") as trouble:
        Engine({"DOCKER_HOST": "unix:///nobody/here.sock"})
    assert trouble.value.exit_code == ExitCode.UNREACHABLE


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (404, "service x not found", Missing),
        (400, "rpc error: secret 'x' is in use by the following service: y", InUse),
        (403, "network x has active endpoints", InUse),
        (409, "container x is not running", EngineUnavailable),
        (503, "This node is not a swarm manager", EngineUnavailable),
    ],
)
def test_refusals_are_told_apart(
    server: EngineServer, engine: Engine, status: int, words: str, kind: type[Exception]
) -> None:
    """Not there, in use, and anything else, each with Docker's own words."""
    server.answers["DELETE /services/x"] = (status, {"message": words})

    with pytest.raises(EngineUnavailable, match=words) as trouble:
        engine.remove_service("x")
    assert type(trouble.value) is kind


def test_what_is_in_use_stays(server: EngineServer, engine: Engine) -> None:
    """Of several secrets those that are used are left alone, and the others go."""
    used, gone = (400, {"message": "secret is in use by a service"}), (404, {"message": "config c not found"})
    server.answers |= {"DELETE /secrets/a": used, "DELETE /secrets/b": (204, b""), "DELETE /configs/c": gone}
    engine.remove_secrets(["a", "b"])
    engine.remove_configs(["c"])

    assert server.changes == ["DELETE /secrets/a", "DELETE /secrets/b", "DELETE /configs/c"]


@pytest.mark.parametrize(
    ("swarm", "words"),
    [
        ({"LocalNodeState": "inactive"}, "docker swarm init"),
        ({"LocalNodeState": "active", "ControlAvailable": False}, "docker node promote"),
        ({"LocalNodeState": "active", "ControlAvailable": True}, ""),
    ],
)
def test_a_host_that_cannot_deploy_is_told_why(
    server: EngineServer, engine: Engine, swarm: dict[str, Any], words: str
) -> None:
    """In no Swarm, or a worker of one: each with the command that mends it."""
    server.answers["GET /info"] = (200, {"Swarm": swarm})

    assert words in engine.swarm_trouble()
    assert bool(engine.swarm_trouble()) is bool(words)


def node_of(state: str = "ready", availability: str = "active", key: str = "n1") -> dict[str, Any]:
    return {
        "ID": key,
        "Spec": {"Role": "manager", "Availability": availability},
        "Description": {"Hostname": f"host of {key}"},
        "Status": {"State": state, "Addr": "10.0.0.1"},
    }


@pytest.mark.parametrize(
    ("state", "availability", "is_up", "is_ready"),
    [
        ("ready", "active", True, True),
        ("ready", "drain", True, False),
        ("ready", "pause", True, False),
        ("down", "active", False, False),
        ("unknown", "active", False, False),
    ],
)
def test_up_and_ready_are_two_things(
    server: EngineServer, engine: Engine, state: str, availability: str, is_up: bool, is_ready: bool
) -> None:
    """A host that is drained is up: what Swarm says of it is known, and it takes no tasks."""
    server.answers["GET /nodes"] = (200, [node_of(state, availability)])
    (found,) = engine.nodes()

    assert (found.is_up, found.is_ready) == (is_up, is_ready)


def service_of(name: str, template: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "ID": f"id-{name}",
        "Version": {"Index": 7},
        "Spec": {"Name": f"fog_{name}", "TaskTemplate": template or SPEC, "Labels": {}, **spec},
    }


def test_a_service_is_its_tasks_description_apart_from_placement(server: EngineServer, engine: Engine) -> None:
    """Labels and placement do not change the template, what the tasks are made of does; one-shots are none."""
    moved = {**SPEC, "Placement": {"Constraints": ["node.role == manager"]}}
    other = {**SPEC, "ForceUpdate": 1}
    one_shot = service_of("one-shot-1", Labels={"rmqcluster.one-shot": "x"})
    found = [service_of("a"), service_of("b", moved, Labels={"l": "1"}), service_of("c", other), one_shot]
    server.answers["GET /services"] = (200, found)
    services = engine.services("fog")

    assert sorted(services) == ["a", "b", "c"]
    assert services["a"].template == services["b"].template != services["c"].template
    assert services["b"].constraints == ("node.role == manager",)


def test_a_service_says_its_ports_and_how_many_tasks_it_wants(server: EngineServer, engine: Engine) -> None:
    """Ports as the hosts have them; one that Swarm chooses later is not known yet."""
    ports = [{"TargetPort": 15672, "PublishedPort": 15674, "PublishMode": "host"}, {"TargetPort": 5672}]
    none = service_of("b", Mode={"Replicated": {"Replicas": 0}}, EndpointSpec={"Mode": "dnsrr"})
    server.answers["GET /services"] = (200, [service_of("a", EndpointSpec={"Ports": ports}), none])
    services = engine.services("fog")

    assert (services["a"].ports, services["a"].replicas) == ({15672: 15674}, 1)
    assert (services["b"].ports, services["b"].replicas) == ({}, 0)


def task_of(key: str, state: str = "running", wanted: str = "running", node: str = "n1") -> dict[str, Any]:
    return {
        "ID": key,
        "NodeID": node,
        "DesiredState": wanted,
        "CreatedAt": f"2026-01-01T00:00:0{key[-1]}.5Z",
        "Status": {"State": state, "Message": "started", "ContainerStatus": {"ContainerID": f"container of {key}"}},
    }


def test_a_visitor_that_has_ended_is_replaced(server: EngineServer, engine: Engine) -> None:
    """Whoever watches for longer than a one-shot container lives gets another one; all of them are removed."""
    made: list[str] = []

    def create() -> tuple[int, Any]:
        made.append(f"s{len(made) + 1}")
        return 201, {"ID": made[-1]}

    server.answers |= {
        "GET /services": (200, [service_of("rabbitmq1")]),
        "GET /services/fog_rabbitmq1": (200, service_of("rabbitmq1")),
        "POST /services/create": create,
        "GET /tasks": lambda: (200, [task_of(f"t{len(made)}")]),
        "GET /containers/container of t1/json": (200, {"State": {"Running": True}}),
        "GET /containers/container of t2/json": (404, {"message": "no such container"}),
        "DELETE /services/s1": (200, {}),
        "DELETE /services/s2": (200, {}),
    }
    server.answers["GET /services"] = lambda: (200, [service_of("rabbitmq1")])
    with Inside(engine, "fog") as inside:
        assert [inside.container("rabbitmq1", "rabbitmq2") for _ in range(2)] == ["container of t1"] * 2
        server.answers["GET /containers/container of t1/json"] = (200, {"State": {"Running": False}})
        assert inside.container("rabbitmq1") == "container of t2"

    assert made == ["s1", "s2"]
    assert {"DELETE /services/s1", "DELETE /services/s2"} <= set(server.changes)


def test_what_a_killed_asker_left_is_removed(server: EngineServer, engine: Engine) -> None:
    """Not a job on the hosts that has just ended: whoever waits for it would take every host for lost."""
    visit, job = (
        service_of(f"one-shot-{kind}", Labels={"rmqcluster.one-shot": kind}) for kind in ("redis", containers.ALL_HOSTS)
    )
    server.answers |= {
        "GET /services": (200, [visit, job]),
        "GET /tasks": (200, [task_of("t1", "complete", "complete")]),
        "DELETE /services/id-one-shot-redis": (200, {}),
    }
    with pytest.raises(Missing), containers.one_shot(engine, "fog", "redis"):
        pass
    assert server.changes == ["DELETE /services/id-one-shot-redis"]


def test_a_container_of_this_host_is_asked_first(server: EngineServer, engine: Engine) -> None:
    """What runs here needs no manager and no visitor."""
    ready_for(server)
    server.answers["GET /services"] = (503, {"message": "no leader"})

    with Inside(engine, "fog") as inside:
        assert inside.container("rabbitmq1") == HERE
    assert server.changes == []


def test_nobody_to_stand_in_for_is_told(server: EngineServer, engine: Engine) -> None:
    """A stack that is not deployed is said not to be."""
    with Inside(engine, "fog") as inside, pytest.raises(Missing, match="redis of stack fog is not deployed"):
        inside.container("redis")


@pytest.mark.parametrize("words", [b"", frame("no json"), frame("[]"), frame('"text"')])
def test_a_status_that_cannot_be_read_is_unknown(server: EngineServer, engine: Engine, words: bytes) -> None:
    """A container that is just being restarted gives no status, and no traceback."""
    ready_for(server, words)

    with Inside(engine, "fog") as inside:
        assert inside.status() is None


def test_a_container_that_stops_is_unreachable(server: EngineServer, engine: Engine) -> None:
    """Between being found and being asked a container may stop: that is unreachable, with Docker's words."""
    ready_for(server)
    server.answers[f"POST /containers/{HERE}/exec"] = (409, {"message": "Container is not running"})

    with Inside(engine, "fog") as inside:
        assert inside.status() is None
        with pytest.raises(EngineUnavailable, match="is not running"):
            inside.rmqcluster("status")


def down(engine: Engine) -> str:
    said: list[str] = []
    acts.down(engine, "fog", said.append)
    return "\n".join(said)


def test_down_takes_away_everything_but_volumes(
    server: EngineServer, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Services with those of other askers, network, configs and secrets go; nothing else is asked for."""
    monkeypatch.setattr(acts, "LOOK_SECONDS", 0.01)
    server.answers |= {
        "GET /services": (200, [service_of("redis"), service_of("one-shot-1", Labels={"rmqcluster.one-shot": "x"})]),
        "GET /configs": (200, [{"ID": "c1", "Spec": {"Name": "fog_c"}}]),
        "GET /secrets": (200, [{"ID": "s1", "Spec": {"Name": "fog_s"}}]),
        "GET /networks": lambda: (200, [] if "DELETE /networks/n1" in server.changes else [{"Id": "n1"}]),
        **{f"DELETE /{what}": (200, {}) for what in ("services/id-redis", "services/id-one-shot-1", "networks/n1")},
        **{f"DELETE /{what}": (204, b"") for what in ("configs/c1", "secrets/s1")},
    }

    assert "stopping redis" in down(engine)
    gone = ["services/id-redis", "services/id-one-shot-1", "networks/n1", "configs/c1", "secrets/s1"]
    assert set(server.changes) == {f"DELETE /{what}" for what in gone}


def test_down_does_not_wait_for_a_lost_host(server: EngineServer, engine: Engine) -> None:
    """Containers of a host that is down are told and not waited for: nobody knows when it is back."""
    server.answers |= {
        "GET /nodes": (200, [node_of(), node_of("down", key="n2")]),
        "GET /tasks": (200, [task_of("t1", "shutdown"), task_of("t2", node="n2")]),
    }

    assert down(engine) == "host of n2 is down and not waited for: what ran there is stopped when that host is back"


def test_down_waits_for_containers_that_stop(
    server: EngineServer, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secrets stay until the last container has ended; when it does not, the error says where to look."""
    monkeypatch.setattr(acts, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(acts, "DOWN_SECONDS", 0.1)
    server.answers |= {
        "GET /nodes": (200, [node_of()]),
        "GET /tasks": (200, [task_of("t1", wanted="remove")]),
        "GET /secrets": (200, [{"ID": "s1", "Spec": {"Name": "fog_s"}}]),
    }

    with pytest.raises(Exception, match=r"1 containers of fog are still there after 0\.1 s"):
        down(engine)
    assert server.changes == []


@pytest.mark.parametrize(("said", "limit"), [("524288\n", 524288), ("unlimited\n", containers.UNLIMITED)])
def test_who_is_asked_for_the_limit_leaves_nothing_behind(
    server: EngineServer, engine: Engine, said: str, limit: int
) -> None:
    """The container goes with the volume that its image declares, and its log can be read on every engine."""
    server.answers |= {
        "POST /containers/create": (201, {"Id": "c1"}),
        "GET /containers/c1/json": (200, {"Id": "c1", "Config": {"Tty": False}}),
        "POST /containers/c1/start": (204, b""),
        "POST /containers/c1/wait": (200, {"StatusCode": 0}),
        "GET /containers/c1/logs": (200, frame(said)),
        "DELETE /containers/c1": (204, b""),
    }
    assert containers.open_files_limit(engine, "rmqcluster:latest") == limit
    assert server.bodies[0]["HostConfig"]["LogConfig"]["Type"] == "json-file"
    (removed,) = (address for address in server.asked if "force=True" in address)
    assert "v=True" in removed


def test_a_limit_that_nobody_tells_is_given_up(
    server: EngineServer, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that does not end holds `make up` up for a time, not for ever, and is removed."""
    monkeypatch.setattr(containers, "COMMAND_SECONDS", 0.1)
    server.answers |= {
        "POST /containers/create": (201, {"Id": "c1"}),
        "GET /containers/c1/json": (200, {"Id": "c1"}),
        "POST /containers/c1/start": (204, b""),
        "POST /containers/c1/wait": lambda: (time.sleep(1), (200, {"StatusCode": 0}))[1],
        "DELETE /containers/c1": (204, b""),
    }
    with pytest.raises(EngineUnavailable):
        containers.open_files_limit(engine, "rmqcluster:latest")
    assert server.changes[-1] == "DELETE /containers/c1"


@pytest.fixture
def docker_program(tmp_path: Path, server: EngineServer) -> Iterator[Engine]:
    """An engine whose command-line client writes down what it is given; it fails when the stack is called `bad`."""
    program = tmp_path / "docker"
    words = 'echo "$DOCKER_HOST $*" >"$0.given"; cat >"$0.read"; case $* in *bad) echo no such thing >&2; exit 3;; esac'
    program.write_text(f"#!/bin/sh\n{words}\n")
    program.chmod(0o755)
    made = Engine({**server.environment, "PATH": f"{tmp_path}:/usr/bin:/bin"})
    yield made
    made.close()


def test_a_deployment_hands_on_the_login_of_the_registry(docker_program: Engine, tmp_path: Path) -> None:
    """Other hosts pull a private image; the file is read from the input, and the same engine is meant."""
    docker_program.deploy("fog", "services: {}", str(tmp_path))
    host, _, words = (tmp_path / "docker.given").read_text().strip().partition(" ")

    assert words == "stack deploy --resolve-image never --with-registry-auth -c - fog"
    assert host == docker_program.environment["DOCKER_HOST"]
    assert (tmp_path / "docker.read").read_text() == "services: {}"


def test_a_deployment_that_fails_is_told(docker_program: Engine, tmp_path: Path) -> None:
    """In the program's own words."""
    with pytest.raises(CommandFailed, match="docker stack deploy failed: no such thing"):
        docker_program.deploy("bad", "services: {}", str(tmp_path))


@pytest.mark.parametrize("given", [{}, {"DOCKER_HOST": ""}])
def test_the_program_asks_the_engine_that_the_sdk_asks(engine: Engine, given: dict[str, str]) -> None:
    """Without DOCKER_HOST the program would go where its current context leads, to another Swarm perhaps."""
    engine.environment = given

    assert engine.program_environment()["DOCKER_HOST"] == "unix:///var/run/docker.sock"
