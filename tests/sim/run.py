"""One seed: a safety phase with faults, then none, and the world has to converge."""

import hashlib
from dataclasses import dataclass

from .faults import Options, draw
from .kernel import Violation
from .plants import NOTHING, Plant
from .world import World

LIVENESS_SECONDS = 1300.0  # an operation whose end nobody heard keeps its record for up to 800 s
LOOK_SECONDS = 2.0


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
    """End all faults and let the world become whole. Returns the virtual seconds it took."""
    world.heal()
    began = world.kernel.now
    while missing := world.checker.missing():
        if world.kernel.now - began > LIVENESS_SECONDS:
            raise Violation("L2", f"not whole {LIVENESS_SECONDS:g} s after the last fault: {missing}")
        world.kernel.run_until(world.kernel.now + LOOK_SECONDS)
    return world.kernel.now - began


def run_seed(seed: int, plant: Plant = NOTHING, tracing: bool = False) -> Result:
    return run_world(seed, draw(seed), plant, tracing)
