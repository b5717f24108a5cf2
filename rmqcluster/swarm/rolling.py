"""One broker after the other: the next only when the last is mutual again and every queue's replicas have caught up."""

import time
from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import Any

from rmqcluster.errors import ExitCode, RmqclusterError
from rmqcluster.swarm.engine import Engine
from rmqcluster.swarm.facts import EngineUnavailable
from rmqcluster.swarm.inside import Inside
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
    """`renew` starts one broker anew. Raises NotWhole or NotRunning, and leaves the rest as it is."""
    left = set(names)
    while left:
        status = inside.status()
        name = in_order(left, status)[0]
        if is_member(status, name):
            await_whole(inside, say, f"before {name} is restarted")
        tasks = engine.tasks(engine.services(stack)[name].id)
        old = {name: tasks[0].id} if tasks else {}
        say(f"{name}: restarted ({len(names) - len(left) + 1} of {len(names)})")
        renew(name)
        await_running(engine, stack, [name], RUN_SECONDS, say, old)
        left.discard(name)
    await_whole(inside, say, "for the last one")


def in_order(names: set[str], status: Status | None) -> list[str]:
    """Who is no member comes first, and the master last: each restart of a master moves its label."""
    master = str((status or {}).get("master") or "").partition("@")[2]
    return sorted(names, key=lambda name: (is_member(status, name), name == master, name))


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
