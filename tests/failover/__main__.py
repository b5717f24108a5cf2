"""`python -m tests.failover --target demo`: kill the master under load; exit 1 on any loss or missed deadline."""

import argparse
import signal
import sys
from collections.abc import Callable
from types import FrameType

from rmqcluster.errors import RmqclusterError

from .scenario import lines, run
from .swarm import SwarmTarget
from .targets import DemoTarget, Target

TARGETS: dict[str, Callable[[Callable[[str], None]], Target]] = {"demo": DemoTarget, "swarm": SwarmTarget}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.failover", description=__doc__)
    parser.add_argument("--target", choices=sorted(TARGETS), default="demo")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)

    def say(words: str) -> None:
        print(words, flush=True)

    try:
        target = TARGETS[asked.target](say)
        try:
            report = run(target, say)
        finally:
            target.close()
    except RmqclusterError as error:
        print(f"test-failover: {error}", file=sys.stderr)
        return int(error.exit_code)
    print("\n".join(lines(report)))
    return 0 if report.passed else 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM ends like Ctrl-C: what was started is ended."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
