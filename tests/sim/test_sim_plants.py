"""The checkers find planted bugs: a simulation that finds nothing has to prove that it could."""

import pytest

from .plants import NO_CLAIM_CHECK, NO_EPOCH, NO_MARKER_CHECK, NO_ROLL_CALL, NOT_HELD, Plant
from .run import run_seed

# Seeds that fail of the first 300, as measured: 28, 160, 2, 18 and 136. The limits leave room for other schedules.
FOUND_WITHIN = {NO_CLAIM_CHECK: 60, NO_ROLL_CALL: 10, NO_EPOCH: 600, NOT_HELD: 100, NO_MARKER_CHECK: 10}


@pytest.mark.parametrize("plant", FOUND_WITHIN, ids=lambda plant: plant.name)
def test_planted_bug_is_caught(plant: Plant) -> None:
    """Each kind of planted bug breaks a promise within a few seeds."""
    caught = next((r for seed in range(FOUND_WITHIN[plant]) if (r := run_seed(seed, plant)).failure), None)

    assert caught is not None, f"{plant.name} was not noticed in {FOUND_WITHIN[plant]} seeds"
