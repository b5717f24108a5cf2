"""Whether an operator's command may be asked at all: each guard is one sentence of refusal, or None. Pure.

They are a first look, from what Redis says, so that nothing hopeless or dangerous is even written down. Whoever
carries an operation out looks again right before, at the brokers themselves and at every queue.
"""

from collections.abc import Iterable

from rmqcluster.cli import members as m
from rmqcluster.core.model import BrokerPhase, DiskKind, StoreView
from rmqcluster.core.operations import in_words
from rmqcluster.core.status import Verdict, shown
from rmqcluster.core.status_format import duration, utc

FORGOTTEN = "FORGOTTEN"  # how the words of a member begin that its peers no longer list


def busy(view: StoreView) -> str | None:
    """Who is at work, since when, and for how long at the most; all by the clock of Redis."""
    found = view.operation
    if found is None:
        return None
    left = max(0.0, view.operation_left_seconds)
    ago = duration(found.seconds - left)
    return (
        f"busy: {shown(in_words(found), 300)} since {utc(found.since)} ({ago} ago); its deadline is in {left:.0f} s. "
        "Nothing was asked. Try again then, or see: rmqcluster status"
    )


def failover(view: StoreView, target: str | None) -> str | None:
    """The label may move to a serving member other than the one that has it."""
    candidates = m.serving(view) - {view.master}
    if target is None:
        if candidates:
            return None
        return f"there is nobody to fail over to: {_why(view, m.known(view) - {view.master}) or 'no other member'}"
    if target == view.master:
        return f"{target} is the master already"
    return None if target in candidates else f"{target} {m.not_serving(view, target) or 'is listed by no broker'}"


def rebalance(view: StoreView) -> str | None:
    """Moving leaders makes an alarm worse, and goes to waste while a member is on its way."""
    if m.alarms(view):
        return f"an alarm lasts ({', '.join(m.alarms(view))}): moving leaders frees nothing. Mend it first"
    waiting = m.on_the_way(view)
    if waiting:
        return f"{', '.join(waiting)} is on its way: leaders are spread by themselves once it has caught up"
    return None if m.serving(view) else "no member serves"


def drain(view: StoreView, node: str) -> str | None:
    """One member at a time, and a majority of the listed members goes on serving."""
    trouble = m.not_serving(view, node)
    if trouble:
        return f"{node} {trouble}: only a serving member goes into maintenance"
    others = m.known(view) - {node}
    away = sorted(n for n in others if m.is_drained(view, n))
    if away:
        return f"{', '.join(away)} is in maintenance already, one member at a time: rmqcluster revive {away[0]}"
    stopping = sorted(n for n in others if m.is_stopping(view, n))
    if stopping:
        return f"{', '.join(stopping)} is stopping, one member at a time: wait until it is back"
    return _majority_without(view, node)


def revive(view: StoreView, node: str) -> str | None:
    """Its own supervisor does it, on a running broker."""
    said = view.announcements.get(node)
    if said is None:
        return f"the supervisor of {node} is not heard: nobody there could do it"
    if said.broker is not BrokerPhase.READY:
        return f"the broker of {node} is {said.broker}: maintenance ends with the broker's run"
    return None


def forget(view: StoreView, node: str) -> str | None:
    """Only a node that is down by everything that can be heard, and that a broker still lists."""
    if node in view.heartbeats:
        return f"{node} is alive: it has a heartbeat. Stop it first"
    said = view.announcements.get(node)
    if said is not None and said.broker is not BrokerPhase.DOWN:
        return f"{node} is alive: its supervisor says that its broker is {said.broker}. Stop it first"
    witnesses = m.seen_running_by(view, node)
    if witnesses:
        return f"{node} is alive: {', '.join(witnesses)} sees its broker run. Stop it first"
    if not m.broker_views(view):
        return "no running broker tells whom it lists: what a forget would do cannot be said"
    if not any(node in one.members for one in m.broker_views(view).values()):
        return f"no broker lists {node}: there is nothing to forget"
    return _majority_without(view, node)


def replace(view: StoreView, node: str) -> str | None:
    """Only a listed member that announces a disk without its data."""
    witnesses = m.seen_running_by(view, node)
    if witnesses:
        return f"{node} runs: {', '.join(witnesses)} sees its broker"
    said = view.announcements.get(node)
    if said is None:
        return f"{node} is not heard: start it with an empty volume first, then replace it"
    if said.disk not in m.BLANKS:
        return f"{node} announces a disk that is not blank ({said.disk}): there is nothing to give up"
    if node not in m.listed(view):
        return f"no broker lists {node}: it joins by itself"
    return _majority_without(view, node)


def rejoin(view: StoreView, node: str) -> str | None:
    """Only a member that is held because its peers no longer list it; its data is put aside, never deleted."""
    said = view.announcements.get(node)
    if said is None:
        return f"the supervisor of {node} is not heard: nobody there could do it"
    if said.held is None or not said.held.startswith(FORGOTTEN):
        held = f"it is held for another reason: {said.held}" if said.held else "it is not held"
        return f"{node} was not forgotten by its peers ({held})"
    return None if said.disk is DiskKind.DATA else f"{node} announces no data ({said.disk}): there is nothing to keep"


def recover(view: StoreView, verdict: Verdict, node: str) -> str | None:
    """Only while no majority is seen to serve and too few disks are there to come back by themselves.

    Hosts that are gone cannot say that they do not serve, so unknown is no obstacle: Redis hears nothing of them.
    """
    if verdict not in (Verdict.UNAVAILABLE, Verdict.UNKNOWN):
        return f"the cluster is {verdict}: going on alone is for a majority that is lost for good"
    said = view.announcements.get(node)
    if said is None:
        return f"the supervisor of {node} is not heard: nobody there could do it"
    if said.disk not in m.DATA:
        return f"{node} has no data ({said.disk}): name the member whose disk is to go on"
    disks = {n for n in said.listed if (a := view.announcements.get(n)) is not None and a.disk in m.DATA} | {node}
    if said.listed and len(disks) >= m.majority_of(len(said.listed)):
        return f"{', '.join(sorted(disks))} are there with their disks, a majority: they serve again by themselves"
    return None


def _majority_without(view: StoreView, node: str) -> str | None:
    everybody = m.listed(view)
    left, needed = m.serving(view) - {node}, m.majority_of(len(everybody))
    if len(left) >= needed:
        return None
    why = _why(view, everybody - {node})
    return (
        f"without {node} only {len(left)} of {len(everybody)} members would serve, and {needed} are needed"
        f"{f': {why}' if why else ''}"
    )


def _why(view: StoreView, nodes: Iterable[str]) -> str:
    return "; ".join(f"{node} {words}" for node in sorted(nodes) if (words := m.not_serving(view, node)))
