"""`python -m tests.sim --seed N` replays one seed with its trace; `--seeds N` runs the first N."""

import argparse
import hashlib
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from .run import run_seed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this seed with its trace")
    parser.add_argument("--seeds", type=int, default=1000, help="run so many seeds")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first of them")
    parser.add_argument("--digest", type=int, help="print one digest of the traces of so many seeds")
    asked = parser.parse_args()
    if asked.digest is not None:
        traces = "".join(run_seed(seed, tracing=True).digest for seed in range(asked.digest))
        print(hashlib.sha256(traces.encode()).hexdigest())
        return 0
    if asked.seed is not None:
        result = run_seed(asked.seed, tracing=True)
        print(result)
        print(f"seed {asked.seed}: {result.failure or 'fine'}")
        return 1 if result.failure else 0
    return run_many(asked.first, asked.seeds)


def run_many(first: int, count: int) -> int:
    """Run the seeds and tell which failed."""
    began, events, failed = time.monotonic(), 0, 0
    slowest = 0.0
    for seed in range(first, first + count):
        result = run_seed(seed)
        events += result.events
        slowest = max(slowest, result.converged_after or 0.0)
        if result.failure:
            failed += 1
            print(f"seed {seed}: {result.failure}")
    took = time.monotonic() - began
    print(f"{count} seeds, {failed} failed, {events} events in {took:.1f} s; slowest convergence {slowest:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
