"""One seed: a safety phase with faults, then none, and the world has to converge."""

import hashlib
from dataclasses import dataclass

from rmqcluster.core.model import OperationKind
from rmqcluster.core.operations import deadline_seconds

from .faults import Options, draw
from .kernel import Violation
from .plants import NOTHING, Plant
from .world import World

CONVERGE_SECONDS = 420.0
LOOK_SECONDS = 2.0
BY_THEMSELVES = (OperationKind.JOIN, OperationKind.REPLACE, OperationKind.GROW, OperationKind.REBALANCE)


@dataclass(frozen=True, slots=True)
class Result:
    seed: int
    options: Options
    failure: Violation | None
    converged_after: float | None
    events: int
    lines: tuple[str, ...]

    def __str__(self) -> str:
        tail = "\n".join(self.lines)
        return f"seed {self.seed}: {self.failure or 'fine'}\n  {self.options.describe()}\n{tail}"

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()


def run_world(seed: int, options: Options, plant: Plant = NOTHING, tracing: bool = False) -> Result:
    """Replays exactly: everything random comes from the seed and the options."""
    world = World(seed, options, plant, tracing)
    failure, converged = None, None
    try:
        world.schedule()
        world.kernel.run_until(options.safety_seconds)
        converged = converge(world)
    except Violation as found:
        failure = found
    finally:
        world.kernel.close()
    return Result(seed, options, failure, converged, world.kernel.events, tuple(world.kernel.lines or ()))


def converge(world: World) -> float:
    """End all faults and let the world become whole. Returns the virtual seconds it took.

    An operation whose end nobody heard keeps its record until its deadline, before anything else may begin.
    """
    world.heal()
    began = world.kernel.now
    limit_seconds = CONVERGE_SECONDS + max(deadline_seconds(kind, world.policy) for kind in BY_THEMSELVES)
    while missing := world.checker.missing():
        if world.kernel.now - began > limit_seconds:
            raise Violation("L2", f"not whole {limit_seconds:g} s after the last fault: {missing}")
        world.kernel.run_until(world.kernel.now + LOOK_SECONDS)
    return world.kernel.now - began


def run_seed(seed: int, plant: Plant = NOTHING, tracing: bool = False) -> Result:
    return run_world(seed, draw(seed), plant, tracing)
