"""How long publishers stand still when the node of a leader is killed, with rmqcluster and without.

Two clusters of the same version, with the same queues, spread the same way; one after the other, the same node of
each is killed under the same load, which runs on one of them at a time. Without rmqcluster somebody starts the broker
again at once and spreads the leaders with RabbitMQ's own command; a killed host is its broker alone there.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.rivals import LIMIT_SECONDS, LOOK_SECONDS, Cluster, Say, TooSlow, laid_out, until
from bench.table import middle, row

QUEUES = 6
WARM_UP_MESSAGES = 200
CALM_SECONDS = 2.0  # without a longer pause: everything flows
SLACK = 1.10  # two runs of the same differ more
SETTLE = "2"  # so that leaders are spread before the next kill


@dataclass(frozen=True, slots=True)
class Kill:
    pause_seconds: float
    led: int  # queues of the load that were led by the victim
    confirmed: int
    lost: int


def measure(kills: int, say: Say) -> list[str]:
    """The rows of the report."""
    ours: list[Kill] = []
    theirs: list[Kill] = []
    with laid_out(RMQCLUSTER_SETTLE_SECONDS=SETTLE) as supervised, laid_out() as plain:
        supervised.form_supervised()
        plain.form_plain()
        for turn in range(kills):
            victim = turn % 3 + 1
            ours.append(_kill(supervised, victim))
            theirs.append(_kill(plain, victim))
            a, b = ours[-1], theirs[-1]
            say(f"kill {turn + 1}/{kills} of node {victim}: pause {a.pause_seconds:.2f} s ({a.led} leaders), "
                f"without rmqcluster {b.pause_seconds:.2f} s ({b.led} leaders)")  # fmt: skip
    return _rows(ours, theirs)


def _kill(cluster: Cluster, victim: int) -> Kill:
    """One kill under load; returns when the victim is back and leaders are spread."""
    survivor = victim % 3 + 1
    cluster.make_whole()
    ledger = cluster.ledger(queues=QUEUES, first=survivor)
    ledger.declare()
    name = cluster.name(victim)
    led = sum(1 for q in cluster.quorum_queues(survivor) if q["name"] in ledger.queues and q.get("leader") == name)
    ledger.start()
    try:
        until(lambda: ledger.confirmed() > WARM_UP_MESSAGES, "a load that runs")
        ledger.reset_pauses()
        cluster.kill_node(victim)
        _await_calm(ledger.longest_pause_seconds)
        pause = ledger.longest_pause_seconds()
    finally:
        ledger.stop()
    cluster.start_node(victim)
    summary = ledger.drain()
    ledger.delete()
    return Kill(pause, led, ledger.confirmed(), len(summary.lost))


def _await_calm(longest: Callable[[], float]) -> None:
    """Until no publisher stands still any more: the longest pause grows as long as it lasts."""
    seen, since, began = longest(), time.monotonic(), time.monotonic()
    while time.monotonic() - since < CALM_SECONDS:
        if time.monotonic() - began > LIMIT_SECONDS:
            raise TooSlow("publishers that go on")
        time.sleep(LOOK_SECONDS)
        if longest() > seen:
            seen, since = longest(), time.monotonic()


def _rows(ours: list[Kill], theirs: list[Kill]) -> list[str]:
    a, b = ([kill.pause_seconds for kill in side] for side in (ours, theirs))
    rows = []
    luck = {"p50": f"; by luck p = {chance_of(a, b):.2f}", "max": ""}
    for what, of in (("p50", middle), ("max", max)):
        ratio = of(a) / of(b)
        rows.append(row(f"longest pause of a publisher when a leader's node is killed, {what} of {len(a)} kills",
                        f"{of(a):.2f} s ({_all(a)})", f"the same kills without rmqcluster {of(b):.2f} s ({_all(b)})",
                        f"{ratio:.2f}{luck[what]}", f"not worse (≤ {SLACK:g})", ratio <= SLACK))  # fmt: skip
    rows.append(row("in these kills, messages lost", _counts(ours), _counts(theirs), "-", "none",
                    not any(kill.lost for kill in ours)))  # fmt: skip
    return rows


def chance_of(a: Sequence[float], b: Sequence[float]) -> float:
    """How often luck alone would make `a` look so much longer than `b` (one-sided Mann-Whitney test, normal)."""
    above = sum(1.0 if x > y else 0.5 if x == y else 0.0 for x in a for y in b)
    mean, deviation = len(a) * len(b) / 2, math.sqrt(len(a) * len(b) * (len(a) + len(b) + 1) / 12)
    return math.erfc((above - mean) / deviation / math.sqrt(2)) / 2


def _counts(kills: list[Kill]) -> str:
    lost, confirmed, led = (sum(getattr(kill, what) for kill in kills) for what in ("lost", "confirmed", "led"))
    return f"{lost} of {confirmed} confirmed; the victims led {led} of the queues"


def _all(pauses: list[float]) -> str:
    return ", ".join(f"{seconds:.2f}" for seconds in pauses)
