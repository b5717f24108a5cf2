"""A thousand fault schedules over founding, joining, restart and stop: nothing wrong ever happens, and it ends well."""

import pytest

from .run import run_seed

BLOCK = 100


@pytest.mark.parametrize("first", range(0, 1000, BLOCK))
def test_no_schedule_breaks_a_promise(first: int) -> None:
    """With faults nothing that must never happen happens; without them the cluster becomes whole (S1-S12, L1, L2)."""
    failed = [result for result in map(run_seed, range(first, first + BLOCK)) if result.failure]

    assert not failed, "\n".join(f"{r}\n  replay: python -m tests.sim --seed {r.seed}" for r in failed)
