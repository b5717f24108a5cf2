"""The checkers find planted bugs: a simulation that finds nothing has to prove that it could."""

from dataclasses import dataclass

import pytest

from rmqcluster.core.model import BrokerPhase

from . import plants as p
from .faults import Fault, Options
from .kernel import Violation
from .plants import NOTHING, Plant
from .run import run_seed, run_world
from .world import World

# Of the first 300 seeds fail, as measured: 23, 161 and 137.
FOUND_WITHIN = {p.NO_CLAIM_CHECK: 60, p.NO_ROLL_CALL: 10, p.NO_MARKER_CHECK: 10}
WAITS_UNTIL = 260.0  # for a wiped member that is never let in while another voter is down


@dataclass(frozen=True, slots=True)
class Schedule:
    """Where a bug shows that random schedules seldom meet: as many seeds as it takes, and the promise it breaks."""

    plant: Plant
    rule: str
    faults: tuple[Fault, ...]
    size: int = 3
    solo_queue: bool = False
    seeds: int = 4

    def run(self, plant: Plant) -> list[Violation]:
        options = Options(
            size=self.size,
            start_at=(0.0,) * self.size,
            solo_queue=self.solo_queue,
            safety_seconds=140.0,
            faults=self.faults,
        )
        return [failure for seed in range(self.seeds) if (failure := run_world(seed, options, plant).failure)]


def fault(at: float, kind: str, node: int, seconds: float, broker_too: bool = False) -> Fault:
    return Fault(at, kind, node, seconds, 1, broker_too)


SCHEDULES = (
    # Whoever is to write that a member died is stopped right before, until its lease is another's.
    Schedule(p.NO_EPOCH, "S12", (fault(30.0, "kill", 0, 70.0), fault(30.1, "pause_at_act", 0, 20.0)), seeds=20),
    # A disk is lost while another voter is down.
    Schedule(p.NO_OBSTACLE, "S4", (fault(40.0, "kill", 1, 60.0), fault(41.0, "kill_wiped", 0, 5.0)), size=5),
    # A person gives a member up that is down beside another voter.
    Schedule(p.BLIND_FORGET, "S4", (fault(40.0, "kill_and_forget", 0, 30.0), fault(60.0, "kill", 1, 60.0)), size=5),
    # Two members are told to stop at almost the same time.
    Schedule(p.NO_RECORD, "S5", (fault(40.0, "stop", 0, 5.0), fault(40.3, "stop", 1, 5.0)), size=5, seeds=10),
    # Replicas are grown beside a queue that is to have one only.
    Schedule(p.NO_TARGET, "S4", (fault(40.0, "kill_wiped", 0, 5.0),), solo_queue=True),
    # A disk is lost on the same host.
    Schedule(p.NOT_HELD, "S4", (fault(40.0, "kill_wiped", 0, 5.0),)),
    Schedule(p.NOT_FORGOTTEN, "S4", (fault(40.0, "kill_wiped", 0, 5.0),)),
    # Whoever is to carry out the next operation is stopped before its first step, until its lease is another's.
    Schedule(p.NO_SECOND_LOOK, "S12", (fault(39.9, "pause_at_command", 0, 20.0), fault(40.0, "op_rebalance", 0, 1.0))),
)
BY_NAME = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.plant.name)


@pytest.mark.parametrize("plant", FOUND_WITHIN, ids=lambda plant: plant.name)
def test_planted_bug_is_caught(plant: Plant) -> None:
    """Each kind of planted bug breaks a promise within a few seeds."""
    caught = next((r for seed in range(FOUND_WITHIN[plant]) if (r := run_seed(seed, plant)).failure), None)

    assert caught is not None, f"{plant.name} was not noticed in {FOUND_WITHIN[plant]} seeds"


@BY_NAME
def test_planted_bug_is_caught_where_it_shows(schedule: Schedule) -> None:
    """A bug that only some schedule brings to light breaks the promise that it is about."""
    assert {failure.rule for failure in schedule.run(schedule.plant)} == {schedule.rule}


@BY_NAME
def test_same_schedule_without_the_bug(schedule: Schedule) -> None:
    """What catches a bug is the bug: the same schedules end well without it."""
    assert [str(failure) for failure in schedule.run(NOTHING)] == []


def amnesiac_votes(seed: int, plant: Plant) -> Violation | None:
    """A disk is lost while a voter is down; once it is back, who alone has all dies, and the late one comes."""
    world = World(seed, Options(size=5, start_at=(0.0,) * 5), plant)
    try:
        world.schedule()
        world.kernel.run_until(40.0)
        wiped, late, whole = sorted(world.clusters[0].queues["q0"].voters)
        world.processes[late].kill()
        world.kernel.run_until(60.0)
        world.processes[wiped].kill()
        world.wipe(wiped, broker_only=False)
        world.start(wiped)
        while world.processes[wiped].broker.phase is not BrokerPhase.READY and world.kernel.now < WAITS_UNTIL:
            world.kernel.run_until(world.kernel.now + 0.1)
        world.processes[whole].kill()
        world.start(late)
        world.kernel.run_until(world.kernel.now + 40.0)
    except Violation as found:
        return found
    finally:
        world.kernel.close()
    return None


def test_amnesiac_voter_loses_messages() -> None:
    """A wiped member that votes under its old name loses confirmed messages; held, or in order, it does not (S8)."""
    found = [failure for seed in range(4) if (failure := amnesiac_votes(seed, p.AMNESIAC))]

    assert {failure.rule for failure in found} == {"S8"}
    assert [amnesiac_votes(seed, NOTHING) for seed in range(4)] == [None] * 4
