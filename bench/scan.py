"""One scan of the monitor on a real Redis: round trips, what it takes, and how that grows with the cluster.

A scan is one reading of everything, one observation, and one decision by both tables, by the lease holder of a
cluster in which nothing is the matter: then every row is asked. The store looks at `NAMES_LIMIT` names; beyond, only
the decision is measured.
"""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

from bench.rivals import Cluster, Say, laid_out
from bench.table import middle, row
from rmqcluster.agent.memory import Identity, Memory, observe
from rmqcluster.agent.ports import Beat, BrokerFacts
from rmqcluster.agent.prober import Answers
from rmqcluster.agent.store_worker import Reading, StoreWorker
from rmqcluster.config.settings import Settings
from rmqcluster.core import actions as a
from rmqcluster.core.engine import decide
from rmqcluster.core.member_rules import MEMBER_RULES
from rmqcluster.core.model import (
    Announcement,
    BrokerPhase,
    BrokerState,
    Disk,
    DiskKind,
    Lease,
    Marker,
    Observation,
    Policy,
    Record,
    Stage,
    StoreView,
    View,
)
from rmqcluster.core.monitor_rules import MONITOR_RULES
from rmqcluster.core.queues import QueueFacts, QueueKind, QueueReport
from rmqcluster.store.codec import NAMES_LIMIT
from rmqcluster.store.redis_store import RedisStore

SIZES = (3, 15, 50, 100, 255)
SYNTHETIC_SIZES = (500, 1000)
REACH_SIZE, REACH_MS, REACH_TRIPS = 15, 5.0, 2
QUEUES = 30
ID, STAMP, VERSION = "1" * 32, "as configured", "4.3.6"
LONG_SECONDS = 600.0  # the keys outlive the measurement
AT_MOST_SECONDS = 6.0  # of repeating one thing
IDLE_RULE = 990
ME = "rabbit@mq-0000"


def names(size: int) -> frozenset[str]:
    return frozenset(f"rabbit@mq-{number:04d}" for number in range(size))


def announcement(node: str, everybody: frozenset[str]) -> Announcement:
    """A proven member that lists everybody and sees them running."""
    host = node.partition("@")[2]
    return Announcement(
        node=node,
        instance=f"instance of {node}",
        disk=DiskKind.DATA,
        broker=BrokerPhase.READY,
        cluster_id=ID,
        host=host,
        version=VERSION,
        cookie="0" * 16,
        mutual=True,
        view=View(everybody, everybody),
        listed=everybody,
        epoch_high=1,
        management=f"{host}:15672",
        http=f"{host}:15680",
        state="serving",
        wanted=STAMP,
        beat_sequence=1,
    )


def queues(everybody: frozenset[str]) -> QueueReport:
    """Quorum queues of three replicas, spread over the members."""
    order = sorted(everybody)
    found = []
    for number in range(QUEUES):
        members = frozenset(order[(number + turn) % len(order)] for turn in range(3))
        leader = order[number % len(order)]
        found.append(QueueFacts("/fog", f"q{number}", QueueKind.QUORUM, True, leader, members, members, members))
    return QueueReport(tuple(found), everybody, everybody)


class Holder:
    """The lease holder, with everything that it knows besides Redis."""

    def __init__(self, size: int) -> None:
        everybody = names(size)
        now = time.monotonic()
        self.policy = Policy(size=size, ttl_seconds=LONG_SECONDS)
        self._began = now - 3 * LONG_SECONDS
        self._identity = Identity(ME, f"instance of {ME}", "mq-0000", "0" * 16, wanted_stamp=STAMP)
        hosts = tuple((node, node.partition("@")[2]) for node in sorted(everybody))
        marker = Marker(ID, Stage.MEMBER, 2, "mq-0000", tuple(sorted(everybody)), hosts, hosts)
        self._disk = Disk(True, marker, 2)
        self._broker = BrokerState(BrokerPhase.READY, self._began, version=VERSION)
        self._facts = BrokerFacts(View(everybody, everybody), STAMP, "an id")
        self._memory = Memory(self._began, was_registered=True, lease_since=self._began)
        self._queues = queues(everybody)

    def settle(self, view: StoreView) -> Observation:
        """As after a while in which nothing changed, and one look at the queues."""
        self.observe(view)
        self._memory.members_changed_at = self._began
        self._memory.queues, self._memory.queues_at = self._queues, time.monotonic()
        return self.observe(view)

    def observe(self, view: StoreView) -> Observation:
        now = time.monotonic()
        reading = Reading(replace(view, at=now), since=self._began, steady_since=self._began, last_contact_at=now)
        answers = Answers(self._facts, now)
        parts = (self._identity, self.policy, self._memory, now, self._disk, self._broker, reading, answers, None)
        return observe(*parts)


def settings_of(cluster: Cluster, policy: Policy) -> Settings:
    """Of the demo's Redis; each size of cluster has keys of its own."""
    return replace(cluster.settings(), policy=policy, prefix=f"scan{policy.size}")


def fill(settings: Settings, size: int) -> None:
    """All members have registered and beat; the first one holds the lease and is master."""
    everybody = names(size)
    for node in sorted(everybody):
        with closing(RedisStore(settings, node=node, instance=f"instance of {node}")) as store:
            store.beat(Beat(announcement(node, everybody), registered=True, keep_lease=False, keep_claim=False))
            if node == ME:
                assert store.apply(a.RestoreRecord(ID, 1, None))
                assert store.apply(a.TakeLease(0))
                assert store.apply(a.SetMaster(ME, None, 2, ""))


def seconds_each(act: Callable[[], object], times: int) -> list[float]:
    """What each of so many calls took, fewer when they are slow."""
    found: list[float] = []
    ends_at = time.monotonic() + AT_MOST_SECONDS
    while len(found) < times and (len(found) < 5 or time.monotonic() < ends_at):
        began = time.perf_counter()
        act()
        found.append(time.perf_counter() - began)
    return found


def decide_both(o: Observation) -> None:
    decide(MEMBER_RULES, o)
    rule = decide(MONITOR_RULES, o).rule
    assert rule == IDLE_RULE, f"nothing is the matter, so every row is asked, not only up to {rule}"


def round_trips(cluster: Cluster, store: RedisStore, holder: Holder, size: int) -> list[int]:
    """Questions put to Redis by a reading with a beat that is due, and by one without, as Redis tells them."""
    worker = StoreWorker(store, holder.policy, _Clock(), f"instance of {ME}")
    beat = Beat(announcement(ME, names(size)), registered=True, keep_lease=True, keep_claim=False)
    found = []
    with closing(cluster.redis()) as client:
        mine = {one["addr"] for one in client.client_list() if one["name"] == f"rmqcluster-{ME}"}
        for beats in (beat, None):
            with client.monitor() as monitor:
                if beats is not None:
                    worker.announce(beats)
                worker.step()
                client.echo("the end")
                found.append(_asked(monitor, mine))
    return found


def _asked(monitor: Any, mine: set[str]) -> int:
    """Commands that came from these addresses until the end was said; those inside of a script cost no round trip."""
    count = 0
    while True:
        said = monitor.next_command()
        if said["command"].upper().startswith("ECHO"):
            return count
        count += f"{said['client_address']}:{said['client_port']}" in mine


class _Clock:
    @staticmethod
    def monotonic() -> float:
        return time.monotonic()


def measure(times: int, say: Say) -> list[str]:
    """The rows of the report."""
    rows = []
    with laid_out() as cluster:
        for size in SIZES:
            rows += _scan(cluster, size, times, say)
    beyond = f"no reading: the store looks at {NAMES_LIMIT} names"
    for size in SYNTHETIC_SIZES:
        took = f"{middle(seconds_each(_decision(size), times)) * 1000:.1f} ms"
        say(f"observation and decision alone, {size} members: {took}")
        what = f"observation and decision alone, {size} synthetic members"
        rows.append(row(what, took, "-", "-", beyond, None))
    return rows


def _scan(cluster: Cluster, size: int, times: int, say: Say) -> list[str]:
    holder = Holder(size)
    settings = settings_of(cluster, holder.policy)
    fill(settings, size)
    with closing(RedisStore(settings, node=ME, instance=f"instance of {ME}")) as store:
        view = store.snapshot()  # the first also looks at how the server is set up, as it does every five minutes
        assert len(view.announcements) == len(view.heartbeats) == size, view.warnings
        o = holder.settle(view)
        whole = [s * 1000 for s in seconds_each(lambda: decide_both(holder.observe(store.snapshot())), times)]
        parts = [middle(seconds_each(act, times)) * 1000
                 for act in (store.snapshot, lambda: holder.observe(view), lambda: decide_both(o))]  # fmt: skip
        trips = round_trips(cluster, store, holder, size)
    took = f"{middle(whole):.2f} ms (95 % within {sorted(whole)[int(len(whole) * 0.95) - 1]:.2f}): "
    took += "reading {:.2f}, observation {:.2f}, decision {:.2f}".format(*parts)
    counted = f"{trips[1]}, with the beat that is due {trips[0]}"
    say(f"{size} members: {took}; round trips {counted}")
    checked = size == REACH_SIZE
    rows = [row(f"one scan, {size} members", took, "-", "-", f"≤ {REACH_MS:g} ms" if checked else "-",
                middle(whole) <= REACH_MS if checked else None)]  # fmt: skip
    if checked:
        rows.append(row(f"Redis round trips of a scan, {size} members", counted, "-", "-", f"≤ {REACH_TRIPS}",
                        max(trips) <= REACH_TRIPS))  # fmt: skip
    return rows


def _decision(size: int) -> Callable[[], None]:
    """Both tables over members that exist in memory only."""
    everybody = names(size)
    holder = Holder(size)
    view = StoreView(
        members=everybody,
        master=ME,
        record=Record(ID, 1, ME),
        lease=Lease(ME, f"instance of {ME}", 2),
        announcements={node: announcement(node, everybody) for node in everybody},
        heartbeats=dict.fromkeys(everybody, LONG_SECONDS),
        epoch=2,
    )
    holder.settle(view)
    return lambda: decide_both(holder.observe(view))
