"""The stack's images, built once per Debian suite by an engine of our own and handed to hosts as links to its layers.

The suite is `sid`, `trixie` or `bookworm` for stand-ins from Debian packages, or `official` for what the registry has
(and stand-ins where it has not). A second run builds only what has changed since. The building engine is on the
machine's own network and touches neither its packet filter nor an engine that runs there already.
"""

import fcntl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine import Engine, end_leftover

PROJECT = Path(__file__).parents[2]
CACHE = PROJECT / ".swarm-test"
OFFICIAL = "official"
IMAGE = "rmqcluster:latest"
BUILD_STAGE = "rmqcluster:build"  # named, or it would be cleared away and built again
BUILD_SECONDS = 1200.0
LAYERS = ("image", "overlay2")  # of an engine's data: what is never changed in place
ON_MACHINE_NETWORK = ("--bridge", "none", "--iptables=false", "--ip-forward=false", "--ip-masq=false")


@dataclass(frozen=True, slots=True)
class Images:
    """`names` are the stack's variables: RABBITMQ_BASE, REDIS_IMAGE, POSTGRES_IMAGE and IMAGE."""

    suite: str
    names: dict[str, str]

    def give(self, host: Engine) -> None:
        """An engine that has not started yet finds all images (and what they were built from) when it does."""
        with _alone(self.suite) as store:
            host.data.mkdir(parents=True, exist_ok=True)
            layers = [str(store / "data" / part) for part in LAYERS]
            subprocess.run(["cp", "--archive", "--link", *layers, str(host.data)], timeout=BUILD_SECONDS, check=True)


def build(suite: str) -> Images:
    """Raises AssertionError with the words of what failed. Needs root, and for stand-ins a Debian mirror."""
    with _alone(suite) as store:
        end_leftover(store)
        engine = Engine("images", store, ON_MACHINE_NETWORK)
        try:
            engine.start()
            names = _build(engine, suite)
            engine.stop()
        finally:
            engine.kill()
    return Images(suite, names)


def _build(engine: Engine, suite: str) -> dict[str, str]:
    variables = {"DOCKER_BUILDKIT": "0", "BUILD_NETWORK": "host"} | ({} if suite == OFFICIAL else {"STANDIN": suite})
    said = _succeed(engine, [str(PROJECT / "scripts" / "images.sh")], variables)
    names = dict(line.split("=", 1) for line in said.splitlines())
    command = ["docker", "build", "--quiet", "--network", "host", "--build-arg", f"BASE={names['RABBITMQ_BASE']}"]
    _succeed(engine, [*command, "--target", "build", "--tag", BUILD_STAGE, str(PROJECT)], variables)
    _succeed(engine, [*command, "--tag", IMAGE, str(PROJECT)], variables)
    engine.docker("image", "prune", "--force", seconds=BUILD_SECONDS)  # those that these replaced
    return {**names, "IMAGE": IMAGE}


def _succeed(engine: Engine, command: list[str], variables: dict[str, str]) -> str:
    done = engine.run(*command, seconds=BUILD_SECONDS, environment=variables)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def _alone(suite: str) -> Iterator[Path]:
    """The directory of a suite's images, which no other run uses meanwhile; it is freed when its holder dies."""
    store = CACHE / suite
    store.mkdir(parents=True, exist_ok=True)
    with (store / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield store
