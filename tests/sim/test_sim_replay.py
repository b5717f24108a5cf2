"""A seed is a schedule: it replays to the same line, whatever Python's hash seed."""

import os
import subprocess
import sys
from pathlib import Path

from .run import run_seed

ROOT = Path(__file__).resolve().parent.parent.parent


def test_a_seed_replays_exactly() -> None:
    """The same seed gives the same trace twice in one process."""
    assert run_seed(17, tracing=True).lines == run_seed(17, tracing=True).lines


def test_different_seeds_differ() -> None:
    """Another seed is another schedule."""
    assert run_seed(17, tracing=True).lines != run_seed(18, tracing=True).lines


def test_hash_order_does_not_matter() -> None:
    """No decision and no fault depends on the order in which a set is walked."""

    def trace(hash_seed: str) -> bytes:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-m", "tests.sim", "--digest", "40"]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=120, check=True).stdout

    assert trace("1") == trace("2") != b""
