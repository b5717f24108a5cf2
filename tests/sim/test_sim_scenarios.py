"""Named schedules beside the random ones: each is one sentence of what must be survived."""

from collections.abc import Callable
from itertools import permutations

import pytest

from rmqcluster.core.model import BrokerPhase, Stage

from .faults import Options
from .kernel import Violation
from .run import converge
from .world import World

SEED = 5
COLD_START_SECONDS = 30.0


def new_world(**options: object) -> World:
    """Three blank nodes that start together, and nothing goes wrong by itself."""
    world = World(SEED, Options(commands_fail=False, **options))  # type: ignore[arg-type]
    world.schedule()
    return world


def running_cluster(**options: object) -> World:
    """A whole, provisioned cluster of three."""
    world = new_world(**options)
    world.kernel.run_until(COLD_START_SECONDS)
    assert world.checker.missing() == ""
    return world


def founder_of_a_quiet_start() -> tuple[str, int]:
    """Who founds when nothing goes wrong, and how many port calls it makes until it is a member."""
    world = new_world()
    while not (done := [p for p in world.processes.values() if is_member(world, p.node)]):
        world.kernel.run_until(world.kernel.now + 0.05)
    return done[0].node, done[0].calls


def is_member(world: World, node: str) -> bool:
    marker = world.disks[node].marker
    return marker is not None and marker.stage is Stage.MEMBER


def strike_at_call(node: str, call: int, strike: Callable[[World], None]) -> World:
    """A cold start in which something happens at that port call of that node's first process."""
    world = new_world()
    world.kernel.at(0.001, lambda: world.processes[node].plan(call, lambda: strike(world)))
    world.kernel.run_until(COLD_START_SECONDS)
    return world


def each(cases: range, run: Callable[[int], None]) -> None:
    """Run every case; tell which of them failed, and how."""
    failed = []
    for case in cases:
        try:
            run(case)
        except Violation as found:
            failed.append(f"{case}: {found}")

    assert not failed, "\n".join(failed)


def test_quiet_cold_start() -> None:
    """Three blank nodes started together are one provisioned cluster within seconds (L1)."""
    assert converge(running_cluster()) == 0.0


@pytest.mark.parametrize("size", [1, 3, 5])
def test_sizes(size: int) -> None:
    """One, three and five nodes form (L1)."""
    world = new_world(size=size, start_at=(0.0,) * size)
    world.kernel.run_until(COLD_START_SECONDS)

    assert world.checker.missing() == ""


def test_a_majority_is_enough() -> None:
    """Two of three found and serve; the third joins when it comes (L1)."""
    world = new_world(start_at=(0.0, 0.0, 90.0))
    world.kernel.run_until(60.0)
    served = [c for c in world.clusters if c.stamp]

    assert [len(c.members) for c in served] == [2]
    converge(world)


def test_one_of_three_waits() -> None:
    """One node alone never founds, however long it waits (S1)."""
    world = new_world(start_at=(0.0, 1000.0, 1000.0))
    world.kernel.run_until(400.0)

    assert world.clusters == []


def test_redis_late() -> None:
    """Blank nodes wait for a late Redis and then form (L1)."""
    world = new_world(redis_from=60.0)
    world.kernel.run_until(59.0)
    assert world.clusters == []
    world.kernel.run_until(60.0 + COLD_START_SECONDS)

    assert world.checker.missing() == ""


def test_founder_killed_at_each_port_call() -> None:
    """A founder that dies at any step of its founding leaves something that heals (S1, L2)."""
    node, calls = founder_of_a_quiet_start()

    def killed(call: int) -> None:
        def strike(world: World) -> None:
            world.start_later(node, 8.0)
            world.processes[node].kill_here()

        converge(strike_at_call(node, call, strike))

    each(range(1, calls + 20), killed)


@pytest.mark.parametrize("broker_too", [False, True])
def test_founder_paused_at_each_port_call(broker_too: bool) -> None:
    """A founder paused at any step, who wakes after another took over, founds no second cluster (S1, S12)."""
    node, calls = founder_of_a_quiet_start()

    def paused(call: int) -> None:
        converge(strike_at_call(node, call, lambda world: world.processes[node].stop_here(25.0, broker_too)))

    each(range(1, calls + 20), paused)


def test_joiner_killed_at_each_port_call() -> None:
    """A joiner that dies at any step joins again, ghost or not (B11)."""
    founder, calls = founder_of_a_quiet_start()
    node = next(n for n in new_world().names if n != founder)

    def killed(call: int) -> None:
        def strike(world: World) -> None:
            world.start_later(node, 3.0)
            world.processes[node].kill_here()

        converge(strike_at_call(node, call, strike))

    each(range(1, calls + 20), killed)


@pytest.mark.parametrize("down_seconds", [0.0, 4.0])
def test_redis_emptied_at_each_step_of_the_cold_start(down_seconds: float) -> None:
    """Redis flushed, or restarted empty, between any two events of a cold start: one cluster (S1, C2, C3)."""
    quiet = new_world()
    quiet.kernel.run_until(12.0)

    def emptied(event: int) -> None:
        world = new_world()

        def strike() -> None:
            world.state.available = down_seconds == 0.0
            world.flush()
            world.kernel.after(down_seconds, lambda: setattr(world.state, "available", True))

        world.kernel.interrupt = (event, strike)
        world.kernel.run_until(COLD_START_SECONDS)
        converge(world)

    each(range(1, quiet.kernel.events), emptied)


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
@pytest.mark.parametrize("gap_seconds", [0.0, 7.0, 40.0])
def test_all_down_and_up_in_any_order(order: tuple[int, ...], gap_seconds: float) -> None:
    """All three killed and started again one after the other, Redis empty: the old cluster, not a new one (M10, B4)."""
    world = running_cluster()
    world.flush()
    for process in list(world.processes.values()):
        process.kill()
    for place, index in enumerate(order):
        world.start_later(world.names[index], place * gap_seconds)
    world.kernel.run_until(world.kernel.now + 2 * gap_seconds + 1.0)
    converge(world)

    assert len({d.marker.cluster_id for d in world.disks.values() if d.marker}) == 1


def test_blank_node_first_while_the_others_hold_data() -> None:
    """A wiped node up first, Redis empty, the others with data later: it founds nothing and is replaced (A12, S4)."""
    world = running_cluster()
    for process in list(world.processes.values()):
        process.kill()
    world.flush()
    world.wipe(world.names[0], broker_only=False)
    world.start(world.names[0])
    world.kernel.run_until(world.kernel.now + 60.0)
    assert world.disks[world.names[0]].db is None
    assert len(world.clusters) == 1
    converge(world)

    assert world.checker.acts.counts["forget"] == 1
    assert world.operator.asked == {}
    assert set(world.clusters[0].members) == set(world.names)


@pytest.mark.parametrize("broker_only", [False, True])
def test_wiped_master_is_held(broker_only: bool) -> None:
    """The master comes back with an empty disk: it is held, another becomes master (S4)."""
    world = running_cluster()
    master = world.state.master
    assert master is not None
    world.processes[master].kill()
    world.wipe(master, broker_only)
    world.start_later(master, 5.0)
    world.kernel.run_until(world.kernel.now + 6.0)
    converge(world)

    assert world.state.master not in (None, master)


def test_master_dies_while_others_join() -> None:
    """The master is killed at any quarter second while the third node joins through it (A11, E8)."""

    def killed(quarter: int) -> None:
        world = new_world(start_at=(0.0, 0.0, 15.0))
        world.kernel.run_until(15.0 + quarter / 4)
        master = world.state.master
        assert master is not None
        world.processes[master].kill()
        world.start_later(master, 3.0)
        world.kernel.run_until(60.0)
        converge(world)

    each(range(40), killed)


def test_second_volume_under_one_name_is_refused() -> None:
    """A second supervisor with the same name and another volume ends with code 76, the first stays (A9)."""
    world = running_cluster()
    twin = world.start_twin(world.names[1])
    world.kernel.run_until(world.kernel.now + 40.0)

    assert twin.exit_code == 76
    assert not world.processes[world.names[1]].dead
    world.twins.clear()
    converge(world)


@pytest.mark.parametrize("locks", [True, False])
def test_restart_within_the_ttl(locks: bool) -> None:
    """A node that is back before its heartbeat expired is no twin, and needs nobody's reset (A9, B15)."""
    world = running_cluster(locks=locks)
    node = world.names[2]
    for _ in range(4):
        world.processes[node].kill()
        world.kernel.run_until(world.kernel.now + 0.3)
        world.start(node)
        world.kernel.run_until(world.kernel.now + 3.0)
    before = world.disks[node].db
    converge(world)

    assert world.disks[node].db is before


def test_nodes_with_data_need_no_redis() -> None:
    """Redis gone for good: all nodes with data start and serve (S3, B1)."""
    world = running_cluster()
    world.state.available = False
    for process in list(world.processes.values()):
        process.kill()
    for node in world.names:
        world.start(node)
    world.kernel.run_until(world.kernel.now + 30.0)

    assert [p.broker.phase for p in world.processes.values()] == [BrokerPhase.READY] * 3


def test_one_of_three_back_from_a_power_cut_waits_for_company() -> None:
    """One node alone after a power cut keeps trying and never forms alone; with a second one it serves (B6)."""
    world = running_cluster()
    for process in list(world.processes.values()):
        process.kill()
    world.start(world.names[0])
    world.kernel.run_until(world.kernel.now + 720.0)
    assert world.processes[world.names[0]].broker.phase is not BrokerPhase.READY
    world.start(world.names[1])
    world.kernel.run_until(world.kernel.now + 60.0)

    assert world.processes[world.names[0]].broker.phase is BrokerPhase.READY


def test_stop_of_one_member_moves_the_labels() -> None:
    """A member stopped by SIGTERM leaves at once, and the master moves if it was the one (section 6, E8)."""
    world = running_cluster()
    master = world.state.master
    assert master is not None
    world.processes[master].agent.ask_stop()
    world.kernel.run_until(world.kernel.now + 12.0)

    assert world.processes[master].exit_code == 0
    assert master not in world.state.members
    assert world.state.master in world.state.members


def test_master_moves_within_the_ttl() -> None:
    """The master dies with its supervisor: the label moves within TTL and two seconds more (L3)."""
    world = running_cluster()
    master = world.state.master
    assert master is not None
    world.processes[master].kill()
    died_at = world.kernel.now
    while world.state.master == master:
        world.kernel.run_until(world.kernel.now + 0.1)

    assert world.kernel.now - died_at <= world.policy.ttl_seconds + 2.0


def test_redis_back_after_an_hour_judges_nobody() -> None:
    """Redis returns empty after an hour: everybody registers again, nobody is removed or restarted (C1, E7)."""
    world = running_cluster()
    brokers = {n: p.broker.ready_at for n, p in world.processes.items()}
    world.state.available = False
    world.kernel.run_until(world.kernel.now + 3600.0)
    world.flush()
    world.state.available = True
    world.kernel.run_until(world.kernel.now + 30.0)

    assert world.checker.missing() == ""
    assert brokers == {n: p.broker.ready_at for n, p in world.processes.items()}
