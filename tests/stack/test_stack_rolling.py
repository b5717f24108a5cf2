"""One broker after the other, each only while the cluster is whole; and what a deployment replaces at all."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stack_fakes import STACK, FakeEngine, FakeInside, node, task

from rmqcluster.errors import CommandFailed, ExitCode, OperationRefused
from rmqcluster.swarm import acts, rendering, report, rolling, up, waiting
from rmqcluster.swarm.containers import Said
from rmqcluster.swarm.facts import EngineUnavailable
from rmqcluster.swarm.project import Project
from rmqcluster.swarm.replacing import replaced
from rmqcluster.swarm.rolling import NotWhole, await_whole, in_order, is_member, roll
from rmqcluster.swarm.waiting import NotRunning

BROKERS = ["rabbitmq1", "rabbitmq2", "rabbitmq3"]
NOT_YET = Said(int(ExitCode.UNREACHABLE), "", "waiting until the cluster is whole: c is missed\nnot within 0 s\n")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other without a pause."""
    monkeypatch.setattr(rolling, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.001)


@pytest.fixture
def engine() -> FakeEngine:
    made = FakeEngine()
    for name in BROKERS:
        made.start(name)
    return made


@pytest.fixture
def inside(engine: FakeEngine) -> FakeInside:
    return FakeInside(engine, status("rabbitmq1"))


def row(name: str, **changes: Any) -> dict[str, Any]:
    return {"node": f"rabbit@{name}", "mutual": True, "running": True, **changes}


def status(master: str | None = None, *rows: dict[str, Any]) -> dict[str, Any]:
    """Three members, unless told otherwise."""
    return {"master": f"rabbit@{master}" if master else None, "members": list(rows or map(row, BROKERS))}


def rolled(
    engine: FakeEngine,
    inside: FakeInside,
    renew: Callable[[str], None] | None = None,
    before: Callable[[str], object] = lambda name: None,
) -> list[str]:
    """Rolls all brokers; which were renewed, in order. `before` is called before each."""
    done: list[str] = []

    def one(name: str) -> None:
        done.append(name)
        before(name)
        (renew or engine.renew)(name)

    roll(engine, STACK, BROKERS, one, inside, lambda words: None)  # type: ignore[arg-type]
    return done


def test_the_master_comes_last() -> None:
    """A restart of the master moves its label: it is moved once, not three times."""
    assert in_order(set(BROKERS), status("rabbitmq1")) == ["rabbitmq2", "rabbitmq3", "rabbitmq1"]
    assert in_order(set(BROKERS), None) == BROKERS
    assert in_order(set(BROKERS), status(None)) == BROKERS


def test_who_is_no_member_comes_first() -> None:
    """A broker that is down, or outside of the cluster, or does not run at all, costs nothing to restart."""
    absent = status("rabbitmq1", row("rabbitmq1"), row("rabbitmq2"))
    outside = status("rabbitmq1", row("rabbitmq1"), row("rabbitmq2"), row("rabbitmq3", mutual=False))

    assert in_order(set(BROKERS), absent)[0] == "rabbitmq3"
    assert in_order(set(BROKERS), outside)[0] == "rabbitmq3"
    assert in_order(set(BROKERS), status("rabbitmq1"), {"rabbitmq3"})[0] == "rabbitmq3"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"mutual": None}, True),
        ({"running": None}, True),
        ({"mutual": False}, False),
        ({"running": False}, False),
    ],
)
def test_unknown_counts_as_a_member(changes: dict[str, Any], expected: bool) -> None:
    """Only a broker that is known to be none may be stopped while the cluster is not whole."""
    assert is_member(status(None, row("rabbitmq1", **changes)), "rabbitmq1") is expected


def test_nobody_to_ask_is_unknown() -> None:
    """Without a status every broker counts as a member; in a status, one that is not named is none."""
    assert is_member(None, "rabbitmq1")
    assert not is_member(status(None, row("rabbitmq2")), "rabbitmq1")


def test_each_is_renewed_once_while_the_cluster_is_whole(engine: FakeEngine, inside: FakeInside) -> None:
    """The cluster is whole before each restart and after the last one."""
    whole_before: list[int] = []
    done = rolled(engine, inside, before=lambda name: whole_before.append(len(inside.asked)))

    assert done == ["rabbitmq2", "rabbitmq3", "rabbitmq1"]
    assert whole_before == [1, 2, 3]
    assert inside.asked == [("wait", "--whole", "--timeout", "0")] * 4


def test_nothing_is_restarted_until_the_cluster_is_whole(engine: FakeEngine, inside: FakeInside) -> None:
    """Neither a cluster that misses something nor an engine that does not answer lets a restart begin."""
    inside.answers = [NOT_YET, EngineUnavailable("nobody can be asked"), NOT_YET]
    seen: list[int] = []
    rolled(engine, inside, before=lambda name: seen.append(len(inside.asked)))

    assert seen[0] == 4


def test_a_cluster_that_does_not_get_whole_ends_the_roll(
    engine: FakeEngine, inside: FakeInside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the deadline nothing further is restarted, and the error says what the cluster waits for."""
    monkeypatch.setattr(rolling.await_whole, "__defaults__", (0.02,))
    inside.answers = [Said(0, "", ""), *[NOT_YET] * 10000]
    done: list[str] = []

    with pytest.raises(NotWhole, match=r"c is missed.*Nothing further was restarted") as trouble:
        rolled(engine, inside, before=done.append)
    assert done == ["rabbitmq2"]
    assert trouble.value.exit_code == ExitCode.DEGRADED


def test_waiting_tells_each_reason_once(engine: FakeEngine, inside: FakeInside) -> None:
    """Progress in the cluster's own words, without repeating them."""
    inside.answers = [NOT_YET, NOT_YET, Said(69, "", ""), Said(69, "", "\n"), NOT_YET]
    said: list[str] = []
    await_whole(inside, said.append, "for the cluster")  # type: ignore[arg-type]

    waits = "  for the cluster: waiting until the cluster is whole: c is missed"
    assert said == [waits, "  for the cluster: rmqcluster wait exited with 69", "  for the cluster: ", waits]


def test_the_next_waits_until_the_last_one_runs(engine: FakeEngine, inside: FakeInside) -> None:
    """A new task that only starts is waited for, and the old one does not stand in for it."""

    def renew(name: str) -> None:
        engine.renew(name)
        fresh = engine.running[name][0]
        engine.running[name][0] = task(fresh.id, state="starting")
        engine.looks += [lambda: None, lambda: engine.running[name].__setitem__(0, fresh)]

    states: list[bool] = []
    rolled(engine, inside, renew, before=lambda name: states.append(all_run(engine)))
    assert states == [True, True, True]


def all_run(engine: FakeEngine) -> bool:
    return all(tasks[0].runs for tasks in engine.running.values())


def test_a_broker_that_does_not_start_ends_the_roll(
    engine: FakeEngine, inside: FakeInside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others keep the description that works."""
    monkeypatch.setattr(rolling, "RUN_SECONDS", 0.02)
    done: list[str] = []

    def renew(name: str) -> None:
        done.append(name)
        engine.renew(name)
        engine.running[name][0] = task("rejected", wanted="shutdown", state="rejected", words="No such image: x")

    with pytest.raises(NotRunning, match="rabbitmq2 does not run: rejected on manager1: No such image"):
        rolled(engine, inside, renew)
    assert done == ["rabbitmq2"]


def test_a_broker_that_does_not_run_is_renewed_without_waiting(engine: FakeEngine, inside: FakeInside) -> None:
    """When all brokers fail to start and nobody can be asked, a new description gets to them all the same."""
    for name in BROKERS:
        engine.running[name] = [task(f"{name}.1", wanted="shutdown", state="failed", words="exit 78")]
    inside.told = None
    asked: list[int] = []

    rolled(engine, inside, before=lambda name: asked.append(len(inside.asked)))
    assert asked == [0, 0, 0]


def test_a_stack_that_is_taken_away_meanwhile_ends_in_words(engine: FakeEngine, inside: FakeInside) -> None:
    """`make down` on another manager during `make restart`: no traceback, and what to type."""
    engine.looks = [lambda: None, engine.there.clear]

    with pytest.raises(OperationRefused, match=r"was removed meanwhile\. Type:  make up"):
        acts.restart(engine, STACK, BROKERS, inside, lambda words: None)  # type: ignore[arg-type]


def test_a_change_without_a_new_task_is_not_waited_for(engine: FakeEngine, inside: FakeInside) -> None:
    """A label or an update rule that changes starts nothing anew: the roll goes on with the task that runs."""
    assert rolled(engine, inside, engine.relabel) == ["rabbitmq2", "rabbitmq3", "rabbitmq1"]


@pytest.mark.parametrize(
    ("constraints", "replaces"), [(("node.role == manager",), False), (("node.hostname == manager2",), True)]
)
def test_a_placement_replaces_what_does_not_fit(
    engine: FakeEngine, constraints: tuple[str, ...], replaces: bool
) -> None:
    """Swarm leaves a task where it is while its host fulfils the new placement."""

    def move() -> None:
        engine.start("rabbitmq1", *engine.running["rabbitmq1"], constraints=constraints)

    assert ("rabbitmq1" in replaced(engine, STACK, BROKERS, move)) is replaces  # type: ignore[arg-type]


def test_what_is_removed_or_new_is_not_replaced(engine: FakeEngine) -> None:
    """Only services that were there before and are there afterwards have a task that goes."""

    def change() -> None:
        del engine.there["rabbitmq1"]
        engine.start("redis")
        engine.renew("rabbitmq2")

    assert replaced(engine, STACK, [*BROKERS, "redis"], change) == {"rabbitmq2": "rabbitmq2.1"}  # type: ignore[arg-type]


def prepared(directory: Path, **images: str) -> up.Prepared:
    """A stack of three brokers and Redis."""
    broker = {"image": images.get("broker", "b:1"), "deploy": {"labels": {"rmqcluster.role": "broker"}}}
    services = {**dict.fromkeys(BROKERS, broker), "redis": {"image": images.get("redis", "r:1"), "deploy": {}}}
    (directory / "compose.yml").write_text("services: {}")
    return up.Prepared(Project(directory, {}), (), {"services": services, "secrets": {}, "configs": {}})


def brought_up(wanted: up.Prepared, engine: FakeEngine, inside: FakeInside) -> str:
    """What `up` says."""
    said: list[str] = []
    engine.deployed.clear()
    up.up(wanted, engine, inside, said.append)  # type: ignore[arg-type]
    return "\n".join(said)


def deployed_as(engine: FakeEngine, wanted: up.Prepared) -> None:
    """The stack runs as it is described."""
    for name, one in rendering.marked(wanted.stack)["services"].items():
        engine.start(name, labels=one["deploy"]["labels"])


def test_up_on_nothing_deploys_everything_at_once(inside: FakeInside, tmp_path: Path) -> None:
    """The order does not matter to the cluster, so nobody waits for another one."""
    engine = FakeEngine()
    words = brought_up(prepared(tmp_path), engine, inside)

    assert engine.deployed == [*BROKERS, "redis"]
    assert words.startswith("deploying rabbitmq1, rabbitmq2, rabbitmq3, redis")
    assert len(inside.asked) == 1


def test_up_without_a_difference_deploys_nothing(inside: FakeInside, tmp_path: Path) -> None:
    """What runs as it is described is left alone, and the cluster is waited for all the same."""
    engine = FakeEngine()
    deployed_as(engine, prepared(tmp_path))

    assert "nothing differs from what runs" in brought_up(prepared(tmp_path), engine, inside)
    assert engine.deployed == []
    assert len(inside.asked) == 1


def test_up_starts_again_what_was_scaled_to_none(inside: FakeInside, tmp_path: Path) -> None:
    """Its description does not differ, and no task would ever come: it is deployed, and nothing else is."""
    engine = FakeEngine()
    deployed_as(engine, prepared(tmp_path))
    engine.there["rabbitmq2"] = replace(engine.there["rabbitmq2"], replicas=0)
    engine.running["rabbitmq2"] = []

    assert "rabbitmq2: was scaled to none" in brought_up(prepared(tmp_path), engine, inside)
    assert engine.deployed == ["rabbitmq2"]


def test_up_with_changed_brokers_rolls_them(inside: FakeInside, tmp_path: Path) -> None:
    """Brokers whose description differs are deployed one at a time, and nothing else is touched."""
    engine = FakeEngine()
    deployed_as(engine, prepared(tmp_path))
    words = brought_up(prepared(tmp_path, broker="b:2"), engine, inside)

    assert engine.deployed == ["rabbitmq2", "rabbitmq3", "rabbitmq1"]
    assert "    image: b:1 -> b:2" in words


def test_up_with_a_changed_service_replaces_it(inside: FakeInside, tmp_path: Path) -> None:
    """What is no broker is deployed at once; brokers that differ as well wait for it and are rolled."""
    engine = FakeEngine()
    deployed_as(engine, prepared(tmp_path))
    brought_up(prepared(tmp_path, redis="r:2", broker="b:2"), engine, inside)

    assert engine.deployed == ["redis", "rabbitmq2", "rabbitmq3", "rabbitmq1"]


def test_up_leaves_brokers_alone_that_do_not_differ(inside: FakeInside, tmp_path: Path) -> None:
    """A new Redis, or one that is missing, is no reason to deploy a broker: three at once could restart."""
    engine = FakeEngine()
    deployed_as(engine, prepared(tmp_path))
    brought_up(prepared(tmp_path, redis="r:2"), engine, inside)
    assert engine.deployed == ["redis"]

    del engine.there["redis"]
    brought_up(prepared(tmp_path), engine, inside)
    assert engine.deployed == ["redis"]


@pytest.mark.parametrize("key", ["redis_pass", "rabbitmq_erlang_cookie"])
def test_up_refuses_a_secret_that_cannot_be_rolled(
    key: str, inside: FakeInside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the members with one cookie or Redis password and half with another: refused, and nothing is touched."""
    engine, wanted = FakeEngine(), prepared(tmp_path, broker="b:2")
    deployed_as(engine, prepared(tmp_path))
    declared = f'secrets: {{{key}: {{name: "fog_{key}_${{HASH_{key.upper()}}}"}}}}'
    (tmp_path / "compose.yml").write_text(f"services: {{}}\n{declared}")
    changed = replace(wanted, project=wanted.project.having({key.upper(): "new"}))
    monkeypatch.setattr(engine, "secrets", lambda stack: {f"fog_{key}_old": "1"})

    with pytest.raises(OperationRefused, match=f"{key.upper()} in .env is not that of the stack that runs"):
        brought_up(changed, engine, inside)
    assert engine.deployed == []

    monkeypatch.setattr(engine, "secrets", lambda stack: dict.fromkeys(changed.project.secrets(), "1"))
    brought_up(changed, engine, inside)
    assert engine.deployed


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({"RMQCLUSTER_PREFIX": "a"}, {"RMQCLUSTER_PREFIX": "b"}, "environment.RMQCLUSTER_PREFIX: a -> b"),
        ({}, {"network": {"name": "n", "driver_opts": {"encrypted": ""}}}, "names.net.driver_opts.encrypted: "),
        ({}, {"network": {"name": "other"}}, "names.net.name: n -> other"),
    ],
)
def test_up_refuses_what_would_part_the_members(
    inside: FakeInside, tmp_path: Path, before: dict[str, Any], after: dict[str, Any], words: str
) -> None:
    """A network that cannot be changed, or other keys in Redis for one half: refused, and nothing is touched."""

    def described_by(given: dict[str, Any]) -> up.Prepared:
        found = prepared(tmp_path)
        environment = {"RMQCLUSTER_PREFIX": given.get("RMQCLUSTER_PREFIX", "")}
        services = {
            name: {**one, "environment": environment, "networks": {"net": {}}}
            for name, one in found.stack["services"].items()
        }
        networks = {"net": given.get("network", {"name": "n"})}
        return replace(found, stack={**found.stack, "services": services, "networks": networks})

    engine = FakeEngine()
    deployed_as(engine, described_by(before))
    with pytest.raises(OperationRefused, match=rf"{words}.*make down up"):
        brought_up(described_by(after), engine, inside)
    assert engine.deployed == []

    brought_up(described_by(before), engine, inside)


def test_up_with_a_service_that_has_no_task_deploys_it(inside: FakeInside, tmp_path: Path) -> None:
    """A changed service that Swarm has not placed anywhere is deployed as any other."""
    engine = FakeEngine()
    deployed_as(engine, prepared(tmp_path))
    engine.running["redis"].clear()

    brought_up(prepared(tmp_path, redis="r:2"), engine, inside)
    assert "redis" in engine.deployed


def test_up_says_when_it_cannot_tell_the_difference(inside: FakeInside, tmp_path: Path) -> None:
    """A stack that was deployed by hand is brought to the description, one broker after the other."""
    engine = FakeEngine()
    for name in [*BROKERS, "redis"]:
        engine.start(name)

    words = brought_up(prepared(tmp_path), engine, inside)
    assert words.count("was deployed by other means") == 4
    assert engine.deployed == ["redis", "rabbitmq2", "rabbitmq3", "rabbitmq1"]


def test_many_differences_are_cut(tmp_path: Path, inside: FakeInside) -> None:
    """A service that differs in everything does not fill the screen."""
    engine, wanted = FakeEngine(), prepared(tmp_path)
    deployed_as(engine, prepared(tmp_path))
    wanted.stack["services"]["redis"] = {"image": "r:2", "environment": {f"V{n}": "x" * 500 for n in range(40)}}

    lines = brought_up(wanted, engine, inside).splitlines()
    shown = [line for line in lines if line.startswith("    ")]
    assert len(shown) == up.LINES_MAX + 1
    assert max(map(len, shown)) <= up.LINE_MAX + 4


def test_consoles_are_where_the_brokers_run(engine: FakeEngine) -> None:
    """Each broker with the address of its host and its published port; who does not run has none."""
    engine.hosts = (node("manager1", address="10.0.0.1"), node("manager2", address="0.0.0.0"))
    engine.running["rabbitmq2"] = [task("t", node_id="id-manager2")]
    engine.running["rabbitmq3"] = [task("t", state="failed")]
    for name, one in engine.there.items():
        engine.there[name] = replace(one, labels={"rmqcluster.role": "broker"}, ports={5672: 5, 15672: 15672})
    engine.start("other", ports={15672: 1})

    lines = report.consoles(engine, STACK)  # type: ignore[arg-type]
    assert lines == ["rabbitmq1  http://10.0.0.1:15672/", "rabbitmq2  http://127.0.0.1:15672/"]


def test_up_says_when_postgres_has_another_password(inside: FakeInside, tmp_path: Path) -> None:
    """A volume keeps what its first start was given; clients with the new password would be refused."""
    wanted = prepared(tmp_path)
    wanted.stack["services"]["postgres"] = {"image": "p:1", "environment": {"POSTGRES_DB": "db"}, "deploy": {}}
    inside.logged_in = Said(2, "", "psql: password authentication failed\n")
    with pytest.raises(CommandFailed, match="password authentication failed"):
        brought_up(wanted, FakeEngine(), inside)
