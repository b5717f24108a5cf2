"""Waiting for services to run: progress in words, and an end with words."""

import pytest
from stack_fakes import STACK, FakeEngine, task

from rmqcluster.errors import ExitCode
from rmqcluster.swarm import waiting
from rmqcluster.swarm.facts import EngineUnavailable, Task
from rmqcluster.swarm.waiting import FAILURES_MAX, NotRunning, await_running, in_words

HOSTS = {"id-manager1": "manager1"}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other without a pause."""
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.001)


def awaited(engine: FakeEngine, *names: str, seconds: float = 5.0, old: dict[str, str] | None = None) -> list[str]:
    """What was said until all of them ran."""
    said: list[str] = []
    await_running(engine, STACK, names, seconds, said.append, old)  # type: ignore[arg-type]
    return said


def failed(number: int, words: str = "task: non-zero exit (78)") -> Task:
    return task(f"failed-{number}", wanted="shutdown", state="failed", words=words)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "waits for Swarm"),
        (task("t"), "running on manager1"),
        (task("t", node_id="id-gone"), "running on id-gone"),
        (task("t", node_id="", state="pending", words="no suitable node"), "pending: no suitable node"),
        (task("t", state="rejected", words="No such image: x"), "rejected on manager1: No such image: x"),
        (task("t", state="starting", words="started"), "starting on manager1"),
        (task("t", state="failed", words=""), "failed on manager1"),
    ],
)
def test_a_task_in_words(found: Task | None, words: str) -> None:
    """State and host; Swarm's words only where they say what is wrong."""
    assert in_words(found, HOSTS) == words


def test_what_runs_is_not_waited_for() -> None:
    """With all of them running there is one look, and a line for each."""
    engine = FakeEngine()
    engine.start("redis")
    engine.start("postgres")

    assert awaited(engine, "redis", "postgres") == [
        "  redis      running on manager1",
        "  postgres   running on manager1",
    ]


def test_progress_is_said_once_per_change() -> None:
    """A state that lasts is told one time, and a service that is not there yet is waited for."""
    engine = FakeEngine()
    states = ["pending", "pending", "preparing", "starting", "starting", "running"]
    engine.looks = [
        lambda: None,
        *(lambda state=state: engine.start("redis", task("t", state=state)) for state in states),  # type: ignore[misc]
    ]

    assert [line.split()[1] for line in awaited(engine, "redis")] == [
        *("waits", "pending", "preparing", "starting", "running")
    ]


def test_swarm_without_a_leader_is_waited_for() -> None:
    """A manager is lost meanwhile and the others elect: that is told, and the wait goes on until its deadline."""
    engine = FakeEngine()
    engine.start("redis", task("t", state="starting"))

    def lost() -> None:
        raise EngineUnavailable("no leader")

    engine.looks = [lambda: None, lost, lost, lambda: engine.start("redis")]
    assert awaited(engine, "redis") == [
        "  redis      starting on manager1",
        "  Swarm      no leader",
        "  redis      running on manager1",
    ]

    engine.looks = [lost] * 10000
    with pytest.raises(EngineUnavailable, match="no leader"):
        awaited(engine, "redis", seconds=0.01)


def test_the_old_task_does_not_count() -> None:
    """A task that is to be replaced runs on for a while; only its successor ends the wait."""
    engine = FakeEngine()
    engine.start("redis", task("old"))
    engine.looks = [lambda: None, lambda: None, lambda: engine.renew("redis")]
    awaited(engine, "redis", old={"redis": "old"})

    assert engine.looks == []


def test_a_task_that_shall_not_run_does_not_count() -> None:
    """A task that Swarm is about to stop is none that runs."""
    engine = FakeEngine()
    engine.start("redis", task("t", wanted="shutdown"))

    with pytest.raises(NotRunning):
        awaited(engine, "redis", seconds=0.01)


def test_a_service_that_fails_again_and_again_ends_the_wait() -> None:
    """After a few failures it is told with the error, the mend and the last lines, long before the deadline."""
    engine = FakeEngine(lines=["first line", "last line"])
    words = "OCI runtime: error setting rlimit type 7"
    engine.start("redis", task("t", state="starting"))
    engine.looks = [lambda: None] + [
        lambda n=n: engine.running["redis"].insert(0, failed(n, words))  # type: ignore[misc]
        for n in range(FAILURES_MAX)
    ]

    with pytest.raises(NotRunning) as trouble:
        awaited(engine, "redis", seconds=60)
    lines = str(trouble.value).splitlines()
    assert lines[0] == f"redis does not run: failed on manager1: {words}"
    assert lines[1].startswith("mend: ")
    assert "BROKER_NOFILE" in lines[1]
    assert lines[2:5] == ["last lines of redis:", "  | first line", "  | last line"]
    assert lines[-1] == "all of it: docker service ps --no-trunc fog_redis; docker service logs fog_redis"
    assert trouble.value.exit_code == ExitCode.UNREACHABLE


def test_failures_of_before_do_not_count() -> None:
    """What failed before the wait began is history: a deployment that mends it is waited for."""
    engine = FakeEngine()
    engine.start("redis", task("t", state="starting"), *(failed(n) for n in range(10)))
    engine.looks = [lambda: None, lambda: engine.running["redis"].insert(0, task("new"))]

    assert awaited(engine, "redis")[-1] == "  redis      running on manager1"


def test_a_few_failures_are_survived() -> None:
    """A service that gets to run after less than the limit is fine."""
    engine = FakeEngine()
    engine.start("redis", task("t", state="starting"))
    engine.looks = [lambda: None] + [
        lambda n=n: engine.running["redis"].insert(0, failed(n))  # type: ignore[misc]
        for n in range(FAILURES_MAX - 1)
    ]
    engine.looks.append(lambda: engine.running["redis"].insert(0, task("new")))

    assert awaited(engine, "redis")[-1] == "  redis      running on manager1"


def test_a_paused_update_ends_the_wait() -> None:
    """Swarm goes no further by itself, so neither is it waited for; its reason is told."""
    engine = FakeEngine()
    words = "update paused due to failure or early termination of task t"
    engine.start("redis", failed(1), update="paused", update_words=words)

    with pytest.raises(NotRunning, match=words):
        awaited(engine, "redis", seconds=60)


def test_the_deadline_holds() -> None:
    """Whoever does not run in time is told with its state and what Swarm waits for."""
    engine = FakeEngine()
    engine.start("postgres")
    engine.start("redis", task("t", node_id="", state="pending", words="no suitable node (1 node)"))

    with pytest.raises(NotRunning) as trouble:
        awaited(engine, "postgres", "redis", seconds=0.01)
    lines = str(trouble.value).splitlines()
    assert lines[0] == "not within 0.01 s: redis does not run: pending: no suitable node (1 node)"
    assert "mend: no host fulfils its placement" in lines[1]
    assert "its log is empty" in lines


def test_what_is_not_deployed_is_told() -> None:
    """At the deadline a service that is not there is said not to be, with what to type."""
    with pytest.raises(NotRunning, match=r"redis is not deployed. Type: {2}make up"):
        awaited(FakeEngine(), "redis", seconds=0.01)


def test_a_log_that_cannot_be_read_does_not_hide_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service's trouble is told even when its host does not give its log."""
    engine = FakeEngine()
    engine.start("redis", failed(1))

    def unreadable(service_id: str, lines: int) -> list[str]:
        raise EngineUnavailable("its host is down")

    monkeypatch.setattr(engine, "logs", unreadable)
    with pytest.raises(
        NotRunning, match=r"non-zero exit \(78\)\n(.*\n)*.*\(its log cannot be read: its host is down\)"
    ):
        awaited(engine, "redis", seconds=0.01)
