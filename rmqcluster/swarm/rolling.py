"""One broker after the other: the next only when the last is mutual again and every queue's replicas have caught up."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from threading import Event
from typing import Any

from rmqcluster.errors import ExitCode, RmqclusterError
from rmqcluster.swarm.engine import Engine
from rmqcluster.swarm.facts import EngineUnavailable
from rmqcluster.swarm.inside import Inside
from rmqcluster.swarm.replacing import replaced
from rmqcluster.swarm.waiting import Say, await_running

RUN_SECONDS = 180.0
WHOLE_SECONDS = 600.0
LOOK_SECONDS = 1.0
Status = Mapping[str, Any]


class NotWhole(RmqclusterError):
    """The cluster did not get whole in time; nothing further was restarted."""

    exit_code = ExitCode.DEGRADED


def roll(
    engine: Engine, stack: str, names: Sequence[str], renew: Callable[[str], None], inside: Inside, say: Say
) -> None:
    """`renew` starts one broker anew. Raises NotWhole or NotRunning, and leaves the rest as it is.

    A broker that does not run is not waited for: there is nothing to stop, and the new description may be its mend.
    """
    left = set(names)
    while left:
        status, idle = inside.status(), _idle(engine, stack, left)
        name = in_order(left, status, idle)[0]
        if name not in idle and is_member(status, name):
            await_whole(inside, say, f"before {name} is restarted")
        say(f"{name}: restarted ({len(names) - len(left) + 1} of {len(names)})")
        old = replaced(engine, stack, [name], partial(renew, name))
        await_running(engine, stack, [name], RUN_SECONDS, say, old)
        left.discard(name)
    await_whole(inside, say, "for the last one")


def _idle(engine: Engine, stack: str, names: Collection[str]) -> set[str]:
    """Those without a task that runs."""
    services = engine.services(stack)
    return {
        name for name in names if name not in services or not any(task.runs for task in engine.tasks(services[name].id))
    }


def in_order(names: set[str], status: Status | None, idle: Collection[str] = ()) -> list[str]:
    """Who does not run or is no member comes first, the master last: each restart of a master moves its label."""
    master = str((status or {}).get("master") or "").partition("@")[2]
    return sorted(names, key=lambda name: (name not in idle and is_member(status, name), name == master, name))


def is_member(status: Status | None, name: str) -> bool:
    """Unknown counts as a member: then the cluster has to be whole before it is stopped."""
    if status is None:
        return True
    rows = [row for row in status.get("members", ()) if str(row["node"]).partition("@")[2] == name]
    return any(row["mutual"] is not False and row["running"] is not False for row in rows)


def await_whole(inside: Inside, say: Say, when: str, seconds: float = WHOLE_SECONDS) -> None:
    """Until every member is mutual and registered, nothing is wrong, and all replicas have caught up."""
    deadline, pacing, told = time.monotonic() + seconds, Event(), ""
    while True:
        try:
            said = inside.rmqcluster("wait", "--whole", "--timeout", "0")
            if said.code == ExitCode.OK:
                return
            words = said.err.splitlines()[0] if said.err else f"rmqcluster wait exited with {said.code}"
        except EngineUnavailable as error:
            words = str(error)
        if words != told:
            say(f"  {when}: {words}")
            told = words
        if time.monotonic() > deadline:
            raise NotWhole(
                f"not within {seconds:g} s, {when}: {words}. "
                "Nothing further was restarted. See: make status; then make up"
            )
        pacing.wait(LOOK_SECONDS)
