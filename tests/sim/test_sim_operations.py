"""Named schedules around the operation record: what is replaced, held, taken out, interrupted and refused."""

from collections.abc import Callable

import pytest

from rmqcluster.core.model import BrokerPhase, OperationKind

from .faults import Options
from .kernel import Violation
from .process import SimProcess
from .run import converge
from .world import World

SEED = 5
COLD_START_SECONDS = 30.0
NOTICE_SECONDS = 60.0  # until a lost member is noticed, judged and acted for
DONE_SECONDS = 40.0
EVERYDAY = ("store.beat", "store.snapshot", "store.record_event", "api.facts", "broker.state", "volume.read")


def running_cluster(**options: object) -> World:
    """A whole cluster of three that has clients."""
    world = World(SEED, Options(**options))  # type: ignore[arg-type]
    world.schedule()
    world.kernel.run_until(COLD_START_SECONDS)
    assert world.checker.missing() == ""
    assert min(messages(world).values()) > 0
    return world


def messages(world: World) -> dict[str, int]:
    """Queue -> how many messages were confirmed so far."""
    return {queue.name: queue.confirmed[1] for queue in world.clusters[0].queues.values()}


def run(world: World, seconds: float) -> None:
    world.kernel.run_until(world.kernel.now + seconds)


def run_until(world: World, condition: Callable[[], object], seconds: float = 120.0) -> None:
    """Until the condition holds; the test fails when it does not in time."""
    deadline = world.kernel.now + seconds
    while not condition():
        assert world.kernel.now < deadline, "the condition did not come"
        run(world, 0.05)


def lose_disk(world: World, node: str, moved: bool = False) -> None:
    """The member dies, its volume is empty, and it starts again: on the same host or on another one."""
    world.processes[node].kill()
    world.wipe(node, broker_only=False)
    if moved:
        world.hosts[node] = f"another host of {node}"
    world.start_later(node, 3.0)


def holder(world: World) -> SimProcess:
    """Who holds the monitor lease."""
    lease = world.state.live_lease()
    assert lease is not None
    return world.processes[lease.node]


def follower(world: World) -> str:
    """A member that is neither the master nor the lease holder."""
    return next(n for n in world.names if n not in (world.state.master, holder(world).node))


def held(world: World, node: str) -> str:
    """The words of a held member; empty while it is not held."""
    said = world.processes[node].agent.published
    return (said.decision.held or "") if said is not None else ""


def is_back(world: World, node: str) -> bool:
    return world.processes[node].broker.phase is BrokerPhase.READY and node in world.state.members


def test_wiped_member_is_replaced_and_nothing_is_lost() -> None:
    """A disk lost on the same host: forgotten, joined, grown, without a person, and no message is lost (S4, S8)."""
    world = running_cluster()
    node, before = follower(world), messages(world)
    lose_disk(world, node)
    run_until(world, lambda: is_back(world, node))
    run_until(world, lambda: world.checker.missing() == "")

    assert world.operator.asked == {}
    assert world.checker.acts.counts["forget"] == 1
    assert all(now > before[name] for name, now in messages(world).items())
    converge(world)


def test_wiped_on_another_host_waits_for_a_person() -> None:
    """A blank disk on another host is held, whatever time passes, until a person gives the old disk up (S4)."""
    world = running_cluster()
    node = follower(world)
    lose_disk(world, node, moved=True)
    run(world, 10 * NOTICE_SECONDS)

    assert f"rmqcluster replace {node}" in held(world, node)
    assert "forget" not in world.checker.acts.counts
    assert world.operator.ask(OperationKind.REPLACE, node)
    run_until(world, lambda: is_back(world, node))
    converge(world)


def test_forgotten_while_down_waits_for_a_rejoin() -> None:
    """A member that was forgotten while down starts no broker, says so, and joins anew on a person's word (B14)."""
    world = running_cluster()
    node = follower(world)
    world.processes[node].kill()
    run(world, NOTICE_SECONDS)
    assert world.operator.ask(OperationKind.FORGET, node)
    run_until(world, lambda: node not in world.clusters[0].members)
    world.start(node)
    run(world, NOTICE_SECONDS)

    assert f"rmqcluster rejoin {node}" in held(world, node)
    assert world.processes[node].broker.phase is BrokerPhase.DOWN
    assert world.disks[node].db is not None
    assert world.operator.ask(OperationKind.REJOIN, node)
    run_until(world, lambda: is_back(world, node))
    assert world.checker.acts.aside == [node]
    converge(world)


def interrupted_replace(world: World) -> None:
    lose_disk(world, follower(world))


def interrupted_forget(world: World) -> None:
    node = follower(world)
    world.processes[node].kill()
    run(world, NOTICE_SECONDS)
    assert world.operator.ask(OperationKind.FORGET, node)


def interrupted(begin: Callable[[World], None]) -> tuple[World, SimProcess]:
    """A world in which somebody has just begun to carry out an operation."""
    world = running_cluster()
    begin(world)
    run_until(world, lambda: holder(world).agent.memory.held is not None)
    return world, holder(world)


def steps_of(begin: Callable[[World], None]) -> list[int]:
    """Which port calls of the executor, counted from there, do more than read what is read all the time."""
    world, executor = interrupted(begin)
    first, steps, passed = executor.calls, [], executor.step

    def step(call: str) -> None:
        if call not in EVERYDAY:
            steps.append(executor.calls + 1 - first)
        passed(call)

    executor.step = step  # type: ignore[method-assign]
    run_until(world, lambda: world.state.live_operation() is None)
    return steps


@pytest.mark.parametrize("begin", [interrupted_replace, interrupted_forget], ids=["replace", "forget"])
def test_executor_killed_at_each_step(begin: Callable[[World], None]) -> None:
    """Whoever carries out a replacement or a forget dies at any step of it: it ends well all the same (B10, S5)."""
    failed = []
    for step in steps_of(begin):
        world, executor = interrupted(begin)

        def kill(world: World = world, executor: SimProcess = executor) -> None:
            world.start_later(executor.node, 8.0)
            executor.kill_here()

        executor.plan(executor.calls + step, kill)
        try:
            run(world, DONE_SECONDS)
            converge(world)
        except Violation as found:
            failed.append(f"{step}: {found}")

    assert not failed, "\n".join(failed)


def test_killed_in_maintenance() -> None:
    """A drained member leads nothing; killed and started again it is in maintenance no more (S6)."""
    world = running_cluster()
    node = follower(world)
    assert world.operator.ask(OperationKind.DRAIN, node)
    run_until(world, lambda: world.processes[node].broker.drained)
    run_until(world, lambda: world.state.live_operation() is None)
    run(world, NOTICE_SECONDS)
    assert node not in {queue.leader for queue in world.clusters[0].queues.values()}
    world.processes[node].kill()
    world.start_later(node, 5.0)
    run_until(world, lambda: is_back(world, node))
    run(world, NOTICE_SECONDS)

    assert not world.processes[node].broker.drained
    assert world.checker.missing() == ""


def test_second_operator_is_refused() -> None:
    """Two people at once: one is served, the other is told to wait, and nothing of his happens (S5)."""
    world = running_cluster()
    one, other = world.names[:2]

    assert world.operator.ask(OperationKind.DRAIN, one)
    assert not world.operator.ask(OperationKind.DRAIN, other)
    run_until(world, lambda: world.state.live_operation() is None)
    assert [b.name for b in world.brokers() if b.drained] == [one]
    assert not world.operator.ask(OperationKind.DRAIN, other)
    converge(world)


def test_pause_stops_what_happens_by_itself() -> None:
    """While paused no wiped member is replaced; resumed, it is (S4)."""
    world = running_cluster()
    node = follower(world)
    world.operator.pause(1e6)
    lose_disk(world, node)
    run(world, 3 * NOTICE_SECONDS)
    assert "forget" not in world.checker.acts.counts
    assert world.state.live_operation() is None
    world.operator.resume()
    run_until(world, lambda: is_back(world, node))
    converge(world)
