"""`python -m tests.chaos --target demo --minutes 10`: random faults under load; exit 1 on a loss or missed deadline."""

import argparse
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from types import FrameType

from rmqcluster.errors import RmqclusterError
from tests.failover.__main__ import TARGETS
from tests.failover.ledger import Ledger, Outcome, Summary
from tests.failover.scenario import Missed, await_whole
from tests.failover.targets import Target

QUEUES = 6
AWAY_SECONDS_MAX = 40.0  # so that some faults end before the TTL and some long after
CALM_SECONDS_MAX = 5.0
WHOLE_SECONDS = 180.0
Say = Callable[[str], None]


class Chaos:
    """Faults drawn from a seed, one member at a time: a majority is always left, so nothing confirmed may be lost."""

    def __init__(self, target: Target, ledger: Ledger, drawn: random.Random, say: Say) -> None:
        self._target, self._ledger, self._drawn, self._say = target, ledger, drawn, say
        self._down = ""
        self.faults: Counter[str] = Counter()

    def run(self, seconds: float) -> None:
        """Raises Missed when the cluster does not get whole after a fault."""
        ends_at = time.monotonic() + seconds
        self._await_whole()
        while time.monotonic() < ends_at:
            fault = self._drawn.choice((self._kill, self._kill, self._kill_and_return_at_once, self._lose_redis))
            fault()
            self._await_whole()
            time.sleep(self._drawn.uniform(0, CALM_SECONDS_MAX))

    def heal(self) -> None:
        if self._down:
            self._target.start(self._down)
            self._down = ""

    def _kill(self) -> None:
        """Dead for a while; Redis may go meanwhile."""
        self._strike()
        if self._drawn.random() < 1 / 3:
            self._lose_redis()
        time.sleep(self._drawn.uniform(0, AWAY_SECONDS_MAX))
        self.heal()

    def _kill_and_return_at_once(self) -> None:
        self._strike()
        self.heal()

    def _strike(self) -> None:
        self._down = self._drawn.choice(self._target.nodes())
        self._tell("kill", self._down)
        self._target.kill(self._down)

    def _lose_redis(self) -> None:
        self._tell("kill", "Redis")
        self._target.renew_redis()

    def _tell(self, act: str, subject: str) -> None:
        self.faults[f"{act} {subject}"] += 1
        self._say(f"{self._ledger.confirmed():>8} confirmed  {act} {subject}")

    def _await_whole(self) -> None:
        await_whole(self._target, self._ledger.queues, WHOLE_SECONDS + self._target.settle_seconds)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--target", choices=sorted(TARGETS), default="demo")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(10**6)
    try:
        target = TARGETS[asked.target](_say)
        try:
            return _run(target, seed, asked.minutes)
        finally:
            target.close()
    except RmqclusterError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return int(error.exit_code)


def _run(target: Target, seed: int, minutes: float) -> int:
    _say(f"seed {seed}, {minutes:g} minutes")
    ledger = Ledger(target.endpoints(), target.account(), queues=QUEUES, prefix="chaos")
    chaos, missed = Chaos(target, ledger, random.Random(seed), _say), ""
    try:
        ledger.declare()
        ledger.start()
        try:
            chaos.run(60 * minutes)
        except Missed as error:
            missed = str(error)
        finally:
            ledger.stop()
            chaos.heal()
        summary = ledger.drain()
    finally:
        ledger.delete()
    return _told(chaos, summary, missed)


def _told(chaos: Chaos, summary: Summary, missed: str) -> int:
    for fault, times in sorted(chaos.faults.items()):
        _say(f"{fault:<24} {times} times")
    apart = ", ".join(f"{outcome} {summary.outcomes[outcome]}" for outcome in Outcome)
    _say(f"published {sum(summary.outcomes.values())} ({apart}), delivered {summary.delivered}")
    _say(f"lost {len(summary.lost)}, duplicated {summary.duplicated}, unexpected {len(summary.unexpected)}")
    if missed:
        _say(f"MISSED {missed}")
    passed = summary.is_clean and not missed
    _say("passed" if passed else "FAILED")
    return 0 if passed else 1


def _say(words: str) -> None:
    print(words, flush=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM ends like Ctrl-C: what was started is ended."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
