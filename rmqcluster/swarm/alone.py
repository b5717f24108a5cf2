"""One roll of a stack at a time, whichever manager it is typed on: a name in Swarm that only one can have."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Event

from rmqcluster.errors import ExitCode, RmqclusterError
from rmqcluster.swarm.engine import Engine, told
from rmqcluster.swarm.facts import EngineUnavailable

LABEL = "rmqcluster.busy"
GIVE_BACK_SECONDS = 20.0
LOOK_SECONDS = 1.0


class Busy(RmqclusterError):
    """Somebody else rolls this stack. Nothing was changed."""

    exit_code = ExitCode.TRY_AGAIN


@contextmanager
def alone(engine: Engine, stack: str, what: str, say: Callable[[str], None]) -> Iterator[None]:
    """Two rolls at once could stop two brokers, each sure that the cluster is whole. Raises Busy."""
    name = f"{stack}_busy"
    who = f"{what} on {socket.gethostname()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%SZ}"
    try:
        with told():
            key = str(engine.api.create_config(name, who.encode(), labels={LABEL: who})["ID"])
    except EngineUnavailable as error:
        holder = _holder(engine, name)
        if holder is None:
            raise
        raise Busy(
            f"stack {stack} is being changed: {holder}. Try again when that has ended; if it was killed, type:  "
            f"docker config rm {name}"
        ) from error
    try:
        yield
    finally:
        _give_back(engine, name, key, say)


def _give_back(engine: Engine, name: str, key: str, say: Callable[[str], None]) -> None:
    """Swarm's managers may be electing just now."""
    deadline, pacing = time.monotonic() + GIVE_BACK_SECONDS, Event()
    while True:
        try:
            engine.remove_configs([key])
            return
        except EngineUnavailable as error:
            if time.monotonic() > deadline:
                say(f"{name} could not be removed ({error}). Before the next change, type:  docker config rm {name}")
                return
        pacing.wait(LOOK_SECONDS)


def _holder(engine: Engine, name: str) -> str | None:
    with told():
        found = engine.api.configs(filters={"name": name})
    specs = [one["Spec"] for one in found if one["Spec"]["Name"] == name]
    return str((specs[0].get("Labels") or {}).get(LABEL, "by whom is unknown")) if specs else None
