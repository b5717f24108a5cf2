"""The checkers find planted bugs: a simulation that finds nothing has to prove that it could."""

import pytest

from .faults import Fault, Options
from .kernel import Violation
from .plants import NO_CLAIM_CHECK, NO_EPOCH, NO_MARKER_CHECK, NO_ROLL_CALL, NOT_HELD, NOTHING, Plant
from .run import run_seed, run_world

# Of the first 300 seeds fail, as measured: 23, 161, 18 and 137; without an epoch check 2, hence schedules of its own.
FOUND_WITHIN = {NO_CLAIM_CHECK: 60, NO_ROLL_CALL: 10, NOT_HELD: 100, NO_MARKER_CHECK: 10}
STALE_HOLDER_SCHEDULES = 20


@pytest.mark.parametrize("plant", FOUND_WITHIN, ids=lambda plant: plant.name)
def test_planted_bug_is_caught(plant: Plant) -> None:
    """Each kind of planted bug breaks a promise within a few seeds."""
    caught = next((r for seed in range(FOUND_WITHIN[plant]) if (r := run_seed(seed, plant)).failure), None)

    assert caught is not None, f"{plant.name} was not noticed in {FOUND_WITHIN[plant]} seeds"


def stale_holder(seed: int, plant: Plant) -> Violation | None:
    """A member dies, and whoever is to write that is stopped right before, until its lease is another's."""
    faults = (Fault(30.0, "kill", seed % 3, 70.0, 1, True), Fault(30.1, "pause_at_act", 0, 20.0, 1, False))
    return run_world(seed, Options(safety_seconds=100.0, faults=faults), plant).failure


def test_missing_epoch_check_is_caught() -> None:
    """A holder that wakes after its lease was taken writes with an old epoch, and that is noticed (S12)."""
    found = [failure for seed in range(STALE_HOLDER_SCHEDULES) if (failure := stale_holder(seed, NO_EPOCH))]

    assert {failure.rule for failure in found} == {"S12"}


def test_stale_holder_does_nothing() -> None:
    """With the check the same schedules end well."""
    assert [stale_holder(seed, NOTHING) for seed in range(STALE_HOLDER_SCHEDULES)] == [None] * STALE_HOLDER_SCHEDULES
