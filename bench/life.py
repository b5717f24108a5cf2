"""From the first start to rest: cold start, crash and return, what a supervisor costs while nothing happens."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from bench.rivals import Cluster, Say, all_mutual, laid_out, running, until
from bench.table import middle, row, spread
from rmqcluster.broker.version import find_scripts
from rmqcluster.cli.healthcheck import check
from rmqcluster.demo import node
from rmqcluster.store.redis_store import RedisStore

REST_SECONDS = 60.0
QUIET_SECONDS = 20.0
PATRONI_MIB = 46.8


def cold_start(supervised: bool) -> float:
    """Seconds from the first start to three brokers that all list three running members."""
    with laid_out() as cluster:
        began = time.monotonic()
        if supervised:
            cluster.start_supervised()
        else:
            for one in cluster.demo.nodes:
                cluster.start_plain(one.number)
        until(lambda: all_mutual(cluster.demo), "a cold start")
        return time.monotonic() - began


def back(cluster: Cluster, number: int) -> bool:
    """The broker runs again, by its own word and by that of a peer."""
    one, peer = cluster.demo.node(number), cluster.demo.node(number % 3 + 1)
    return one.name in running(cluster.demo, one) and one.name in running(cluster.demo, peer)


def crash_supervised(cluster: Cluster, number: int) -> tuple[float, float]:
    """Seconds from kill -9 of a broker to the event that tells of it, and to registered and running again."""
    name, store = cluster.demo.node(number).name, cluster.store()
    seen = len(crashes(store, name))
    began = time.monotonic()
    cluster.kill_broker(number)
    until(lambda: len(crashes(store, name)) > seen, "the notice of a crash")
    noticed = time.monotonic() - began
    until(lambda: back(cluster, number), "a return")
    until(lambda: is_registered(store, name), "a registration")
    return noticed, time.monotonic() - began


def crashes(store: RedisStore, name: str) -> list[str]:
    return [event.id for event in store.recent_events(500) if event.kind == "crash" and event.actor == name]


def is_registered(store: RedisStore, name: str) -> bool:
    view = store.snapshot()
    return name in view.members and name in view.heartbeats


def crash_plain(cluster: Cluster, number: int) -> float:
    """The same for a broker that is started again at once by hand."""
    began = time.monotonic()
    cluster.kill_broker(number)
    cluster.start_plain(number)
    until(lambda: back(cluster, number), "a return")
    return time.monotonic() - began


def at_rest(cluster: Cluster) -> dict[str, float]:
    """Memory, share of a core and processes started of the supervisors, all of them over one minute."""
    store = cluster.store()
    # What follows a return (provisioning is looked over by the new lease holder) is no rest yet.
    until(lambda: time.time() - store.recent_events(1)[-1].at > QUIET_SECONDS, "a quiet cluster")
    pids = [one.supervisor.pid for one in cluster.demo.nodes if one.supervisor]
    before = [usage(pid) for pid in pids]
    time.sleep(REST_SECONDS)
    after = [usage(pid) for pid in pids]
    shares = [(b[0] - a[0]) / REST_SECONDS * 100 for a, b in zip(before, after, strict=True)]
    children = sum(b[1] - a[1] for a, b in zip(before, after, strict=True))
    return {"rss_mib": max(b[2] for b in after), "cpu_percent": max(shares), "children_ticks": children}


def usage(pid: int) -> tuple[float, float, float]:
    """CPU seconds of the process, of the children it has waited for (minor faults, too), and its MiB."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    ticks = os.sysconf("SC_CLK_TCK")
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    return (int(fields[11]) + int(fields[12])) / ticks, float(int(fields[8]) + int(fields[13])), resident


def command_cost(argv: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Wall and CPU seconds of one run."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(argv, env=environment, check=True, capture_output=True, timeout=60)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def healthchecks(cluster: Cluster, rounds: int) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Costs of `rmqcluster healthcheck` and of `rabbitmqctl status`, one after the other."""
    one = cluster.demo.nodes[0]
    environment = node.environment(cluster.demo, one)
    ours = [sys.executable, "-m", "rmqcluster", "healthcheck"]
    theirs = [find_scripts(os.environ).path("rabbitmqctl"), "status"]
    assert check(environment) == 0, "the supervisor is healthy"
    pairs = [(command_cost(ours, environment), command_cost(theirs, environment)) for _ in range(rounds)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def is_khepri_only() -> bool:
    """From 4.3 on; on older series the ratio is measured and argued."""
    version = find_scripts(os.environ).version or "0.0"
    return [int(part) for part in version.split(".")[:2]] >= [4, 3]


def measure(rounds: int, say: Say) -> list[str]:
    """The rows of the report; every comparison comes from this one run, interleaved."""
    ours: list[float] = []
    theirs: list[float] = []
    for turn in range(rounds):
        ours.append(cold_start(True))
        theirs.append(cold_start(False))
        say(f"cold start {turn + 1}/{rounds}: {ours[-1]:.2f} s, classic_config {theirs[-1]:.2f} s")
    ratio = middle(ours) / middle(theirs)
    rows = [
        row(
            "cold start of 3 nodes to mutual membership",
            spread(ours),
            f"classic_config {spread(theirs)}",
            f"{ratio:.2f}",
            "≤ 0.90 on 4.3",
            ratio <= 0.9 if is_khepri_only() else None,
        )
    ]
    with laid_out() as supervised, laid_out() as plain:
        supervised.form_supervised()
        plain.form_plain()
        rows += _crashes(supervised, plain, rounds, say)
        plain.end()
        rows += _costs(supervised, say)
    return rows


def _crashes(supervised: Cluster, plain: Cluster, rounds: int, say: Say) -> list[str]:
    noticed, ours, theirs = [], [], []
    for turn in range(rounds):
        number = turn % 3 + 1
        notice, again = crash_supervised(supervised, number)
        noticed.append(notice)
        ours.append(again)
        theirs.append(crash_plain(plain, number))
        say(f"crash {turn + 1}/{rounds}: noticed {notice:.3f} s, back {again:.2f} s, plain {theirs[-1]:.2f} s")
    ratio = middle(ours) / middle(theirs)
    return [
        row("kill -9 of a broker to registered and running again", spread(ours),
            f"bare rabbitmq-server on the same data {spread(theirs)}", f"{ratio:.2f}", "≤ 1.15", ratio <= 1.15),
        row("broker crash noticed (event written)", spread(noticed), "-", "-", "≤ 1 s", max(noticed) <= 1.0),
    ]  # fmt: skip


def _costs(cluster: Cluster, say: Say) -> list[str]:
    rest = at_rest(cluster)
    say(f"at rest: {rest}")
    ours, theirs = healthchecks(cluster, 10)
    wall = middle([w for w, _ in ours]) / middle([w for w, _ in theirs])
    cpu = middle([c for _, c in ours]) / middle([c for _, c in theirs])
    idle = rest["children_ticks"] == 0
    return [
        row("supervisor at rest, memory (largest of 3)", f"{rest['rss_mib']:.1f} MiB",
            f"Patroni 4.1 after its imports: {PATRONI_MIB} MiB", f"{rest['rss_mib'] / PATRONI_MIB:.2f}", "≤ 45 MiB",
            rest["rss_mib"] <= 45),
        row("supervisor at rest, CPU (largest of 3, one minute)", f"{rest['cpu_percent']:.2f} % of a core", "-", "-",
            "≤ 0.5 %", rest["cpu_percent"] <= 0.5),
        row("processes started at rest", "none" if idle else "some", "-", "-", "none", idle),
        row("healthcheck, wall", f"{middle([w for w, _ in ours]) * 1000:.0f} ms",
            f"rabbitmqctl status {middle([w for w, _ in theirs]) * 1000:.0f} ms", f"{wall:.2f}", "≤ 0.25",
            wall <= 0.25),
        row("healthcheck, CPU", f"{middle([c for _, c in ours]) * 1000:.0f} ms",
            f"rabbitmqctl status {middle([c for _, c in theirs]) * 1000:.0f} ms", f"{cpu:.3f}", "≤ 0.125",
            cpu <= 0.125),
    ]  # fmt: skip
