"""From a loss to the right labels, by a broker alone and by its host, and from the return to spread leaders.

The labels are read from Redis every 10 ms. A master that also holds the monitor's lease is the worse loss, since
somebody must take the lease first: both kinds are measured, whoever the master was moved to by `failover --to`.
"""

import math
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field

from bench.rivals import Cluster, Say, laid_out, until
from bench.table import middle, row, spread
from rmqcluster.demo import node, watch
from rmqcluster.demo.state import PREFIX
from rmqcluster.store.keys import Keys
from rmqcluster.store.redis_store import RedisStore
from tests.failover.ledger import Ledger

LOOK_SECONDS = 0.01
BALANCE_LOOK_SECONDS = 0.1
LABEL_LIMIT_SECONDS = 40.0
CRASH_REACH = 2.0
GRACE_SECONDS, SETTLE_GRACE_SECONDS = 2.0, 5.0
QUEUES = 6
KINDS = {True: "which holds the lease too", False: "the lease elsewhere"}


@dataclass(slots=True)
class Loss:
    """What one loss showed; seconds since the kill, infinite when it did not happen in time."""

    elected: float = math.inf  # the label names another registered member
    right: float = math.inf  # and the victim is no registered member any more


@dataclass(slots=True)
class Return:
    """What one return showed, under load."""

    whole: float  # seconds from the start to registered, with all replicas online
    spread: float  # from there to leaders on all members
    pause: float  # the longest one of a publisher meanwhile
    confirmed: int
    lost: int


@dataclass(slots=True)
class Found:
    crashes: dict[bool, list[Loss]] = field(default_factory=lambda: {True: [], False: []})
    losses: dict[bool, list[Loss]] = field(default_factory=lambda: {True: [], False: []})
    returns: list[Return] = field(default_factory=list)


def measure(rounds: int, say: Say) -> list[str]:
    """The rows of the report."""
    found = Found()
    with laid_out() as cluster:
        cluster.form_supervised()
        with closing(cluster.store()) as store:
            for turn in range(2 * rounds):
                lease_too = turn % 2 == 0
                _crash(cluster, store, lease_too, found, say)
            for turn in range(2 * rounds):
                lease_too = turn % 2 == 0
                _lose_host(cluster, store, lease_too, found, say)
        policy = cluster.settings().policy
    return _loss_rows(found, policy.ttl_seconds) + _return_rows(found, policy.settle_seconds)


def _crash(cluster: Cluster, store: RedisStore, lease_too: bool, found: Found, say: Say) -> None:
    victim = _arrange(cluster, store, lease_too)
    began = time.monotonic()
    cluster.kill_broker(victim)
    loss = _await_labels(cluster, victim, began)
    found.crashes[lease_too].append(loss)
    say(f"broker of the master killed, {KINDS[lease_too]}: elected {loss.elected:.2f} s, right {loss.right:.2f} s")


def _lose_host(cluster: Cluster, store: RedisStore, lease_too: bool, found: Found, say: Say) -> None:
    victim = _arrange(cluster, store, lease_too)
    survivor = victim % 3 + 1
    ledger = cluster.ledger(queues=QUEUES, first=survivor)
    ledger.declare()
    began = time.monotonic()
    cluster.kill_node(victim)
    loss = _await_labels(cluster, victim, began)
    found.losses[lease_too].append(loss)
    say(f"host of the master lost, {KINDS[lease_too]}: elected {loss.elected:.2f} s, right {loss.right:.2f} s")
    back = _come_back(cluster, store, victim, survivor, ledger)
    found.returns.append(back)
    say(
        f"back after {back.whole:.2f} s, leaders spread {back.spread:.2f} s later, longest pause {back.pause:.2f} s, "
        f"{back.confirmed} confirmed, {back.lost} lost"
    )


def _come_back(cluster: Cluster, store: RedisStore, victim: int, survivor: int, ledger: Ledger) -> Return:
    ledger.start()
    try:
        until(lambda: ledger.confirmed() > 100, "a load that runs")
        ledger.reset_pauses()
        began = time.monotonic()
        cluster.start_node(victim)
        until(lambda: _is_registered(store, cluster.name(victim)), "a registration", BALANCE_LOOK_SECONDS)
        until(lambda: cluster.has_replicas(survivor, victim), "replicas that are back", BALANCE_LOOK_SECONDS)
        whole = time.monotonic()
        until(lambda: cluster.is_spread(survivor), "spread leaders", BALANCE_LOOK_SECONDS)
        spread_at = time.monotonic()
        until(lambda: time.monotonic() - spread_at > 1.0, "the end of a pause that the last move made")
        pause = ledger.longest_pause_seconds()
    finally:
        ledger.stop()
    summary = ledger.drain()
    ledger.delete()
    return Return(whole - began, spread_at - whole, pause, ledger.confirmed(), len(summary.lost))


def _arrange(cluster: Cluster, store: RedisStore, lease_too: bool) -> int:
    """Three quiet members, their leaders spread, and the master where it is to be; returns its number."""
    watch.await_members(cluster.demo, cluster.numbers, lambda _words: None, 120)
    cluster.make_whole()
    until(lambda: store.read_lease() is not None and store.read_operation() is None, "a lease and no operation")
    lease, master = store.read_lease(), store.snapshot().master
    assert lease is not None
    if (master == lease.node) != lease_too:
        wanted = lease.node if lease_too else next(n.name for n in cluster.demo.nodes if n.name != lease.node)
        environment = node.environment(cluster.demo, cluster.demo.nodes[0])
        argv = [sys.executable, "-m", "rmqcluster", "failover", "--to", wanted, "--yes"]
        subprocess.run(argv, env=environment, check=True, capture_output=True, timeout=60)
        until(lambda: store.snapshot().master == wanted, "the master moved")
        master = wanted
    return next(one.number for one in cluster.demo.nodes if one.name == master)


def _is_registered(store: RedisStore, name: str) -> bool:
    view = store.snapshot()
    return name in view.members and name in view.heartbeats


def _await_labels(cluster: Cluster, victim: int, began: float) -> Loss:
    keys, gone, loss = Keys(PREFIX), cluster.name(victim), Loss()
    with closing(cluster.redis()) as client:
        while time.monotonic() - began < LABEL_LIMIT_SECONDS:
            with client.pipeline() as both:
                master, members = both.get(keys.master).smembers(keys.members).execute()
            if master != gone and master in members:
                loss.elected = min(loss.elected, time.monotonic() - began)
                if gone not in members:
                    loss.right = time.monotonic() - began
                    break
            time.sleep(LOOK_SECONDS)
    return loss


def _loss_rows(found: Found, ttl: float) -> list[str]:
    rows = []
    for kind, words in KINDS.items():
        right = [loss.right for loss in found.crashes[kind]]
        rows.append(row(f"broker of the master killed to new master and labels right, {words}", spread(right),
                        "-", "-", f"≤ {CRASH_REACH:g} s", max(right) <= CRASH_REACH))  # fmt: skip
    for kind, words in KINDS.items():
        right, elected = ([getattr(loss, what) for loss in found.losses[kind]] for what in ("right", "elected"))
        reach = ttl + GRACE_SECONDS
        rows.append(row(f"host of the master lost to new master and labels right, {words}", spread(right),
                        "-", "-", f"≤ TTL + {GRACE_SECONDS:g} = {reach:g} s", max(right) <= reach))  # fmt: skip
        rows.append(row(f"of that, to the new master alone, {words}", spread(elected), "-", "-",
                        f"≤ {reach:g} s, sooner", max(elected) <= reach))  # fmt: skip
    return rows


def _return_rows(found: Found, settle: float) -> list[str]:
    back = found.returns
    late, reach = [one.spread for one in back], settle + SETTLE_GRACE_SECONDS
    pauses = [one.pause for one in back]
    counts = f"{sum(one.confirmed for one in back)} messages confirmed, {sum(one.lost for one in back)} lost"
    return [
        row("all replicas of a returned member online to leaders spread, under load", spread(late), "-", "-",
            f"≤ settle time + {SETTLE_GRACE_SECONDS:g} = {reach:g} s", max(late) <= reach),
        row("start of a lost host to registered with all replicas, under load", spread([one.whole for one in back]),
            "-", "-", "-", None),
        row("longest pause of a publisher from its start until leaders are spread",
            f"{middle(pauses):.2f} s, at most {max(pauses):.2f} s ({counts})", "-", "-", "none lost",
            not any(one.lost for one in back)),
    ]  # fmt: skip
