"""Help that tests of every room share."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
LOOK_SECONDS = 0.02


def wait_until(condition: Callable[[], T], seconds: float, what: str) -> T:
    """The first true answer of `condition`; fails the test with `what` when none came in so many seconds."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(LOOK_SECONDS)
    return answer
