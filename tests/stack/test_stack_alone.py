"""One roll at a time, by a name that Swarm gives once."""

from contextlib import suppress

import pytest
from conftest import Run
from engine_server import EngineServer

from rmqcluster.errors import ExitCode
from rmqcluster.swarm import alone as busy
from rmqcluster.swarm.alone import LABEL, Busy, alone
from rmqcluster.swarm.engine import Engine
from rmqcluster.swarm.facts import EngineUnavailable

TAKEN = (409, {"message": "rpc error: code = AlreadyExists desc = config fog_busy already exists"})
HOLDER = {"ID": "k", "Spec": {"Name": "fog_busy", "Labels": {LABEL: "make up on manager2 since 03:11:20Z"}}}


@pytest.mark.parametrize("failure", [None, ZeroDivisionError])
def test_the_name_is_given_back(server: EngineServer, engine: Engine, failure: type[Exception] | None) -> None:
    """However it ends; it says who has it, and is none of the stack's own configs."""
    server.answers |= {"POST /configs/create": (201, {"ID": "k"}), "DELETE /configs/k": (204, b"")}
    with suppress(ZeroDivisionError), alone(engine, "fog", "make up", print):
        assert server.changes == ["POST /configs/create"]
        if failure is not None:
            raise failure
    assert server.changes == ["POST /configs/create", "DELETE /configs/k"]
    assert server.bodies[0]["Name"] == "fog_busy"
    assert list(server.bodies[0]["Labels"]) == [LABEL]
    assert server.bodies[0]["Labels"][LABEL].startswith("make up on ")


def test_who_comes_second_is_told_of_the_first(server: EngineServer, engine: Engine) -> None:
    """Nothing is done; it says who is busy since when, and what to do about one that was killed."""
    longer = {"ID": "l", "Spec": {"Name": "fog_busy_2", "Labels": {}}}
    server.answers |= {"POST /configs/create": TAKEN, "GET /configs": (200, [longer, HOLDER])}
    done: list[str] = []

    with (
        pytest.raises(
            Busy, match=r"make up on manager2 since 03:11:20Z\. Try again .* docker config rm fog_busy"
        ) as told,
        alone(engine, "fog", "make up", print),
    ):
        done.append("changed")
    assert told.value.exit_code == ExitCode.TRY_AGAIN
    assert done == []


def test_another_refusal_is_told_as_it_is(server: EngineServer, engine: Engine) -> None:
    """Swarm without a leader has nobody who is busy."""
    server.answers["POST /configs/create"] = (503, {"message": "The swarm does not have a leader"})

    with pytest.raises(EngineUnavailable, match="does not have a leader"), alone(engine, "fog", "make up", print):
        pass


def test_a_name_is_given_back_when_swarm_has_a_leader_again(
    server: EngineServer, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manager that was lost during the roll leaves nobody busy."""
    monkeypatch.setattr(busy, "LOOK_SECONDS", 0.001)
    answers = iter([(503, {"message": "The swarm does not have a leader"}), (204, b"")])
    server.answers |= {"POST /configs/create": (201, {"ID": "k"}), "DELETE /configs/k": lambda: next(answers)}
    said: list[str] = []
    with alone(engine, "fog", "make up", said.append):
        pass

    assert said == []
    assert server.changes.count("DELETE /configs/k") == 2


def test_a_name_that_cannot_be_given_back_is_told(
    server: EngineServer, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done is done; the command for later is said."""
    monkeypatch.setattr(busy, "GIVE_BACK_SECONDS", 0.0)
    monkeypatch.setattr(busy, "LOOK_SECONDS", 0.001)
    lost = (503, {"message": "The swarm does not have a leader"})
    server.answers |= {"POST /configs/create": (201, {"ID": "k"}), "DELETE /configs/k": lost}
    said: list[str] = []
    with alone(engine, "fog", "make up", said.append):
        pass

    assert said[0].endswith("type:  docker config rm fog_busy")


def test_a_second_restart_changes_nothing(server: EngineServer, run: Run) -> None:
    """The command ends with the exit code for trying again."""
    spec = {"Name": "fog_rabbitmq1", "TaskTemplate": {"ContainerSpec": {"Image": "i"}}, "Labels": {}}
    server.answers |= {
        "GET /services": (200, [{"ID": "s", "Version": {"Index": 1}, "Spec": spec}]),
        "POST /configs/create": TAKEN,
        "GET /configs": (200, [HOLDER]),
    }
    code, _, err = run("restart", "--yes", **server.environment)

    assert code == 75
    assert "stack fog is being changed: make up on manager2" in err
    assert server.changes == ["POST /configs/create"]
