"""What the rows of the matrix share: messages, what Redis says, what members say."""

import http.client
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pika
from cluster import Cluster
from failover.ledger import Account, Endpoint, Ledger
from support import wait_until

from rmqcluster.demo import node
from rmqcluster.errors import ExitCode

PERSISTENT = pika.BasicProperties(delivery_mode=2)
QUEUE = "tasks.normal"
SERVE_SECONDS = 30
RECOVERY_SECONDS = 60
BUSY_SECONDS = 60
WARM_UP_MESSAGES = 30
UNHEARD = (OSError, http.client.HTTPException, ValueError, KeyError, TypeError)


@contextmanager
def under_load(cluster: Cluster) -> Iterator[Ledger]:
    """A ledger publishes through all members meanwhile. Then the cluster is healed, and no confirmed message may be
    missing (H1)."""
    endpoints = [Endpoint(cluster.address(n), cluster.demo.node(n).amqp_port) for n in cluster.numbers]
    account = Account("admin", cluster.secret("admin"))
    ledger = Ledger(endpoints, account, queues=3, publishers=2, prefix="matrix")
    ledger.declare()
    wait_until(lambda: _are_on_disk(cluster, ledger.queues), SERVE_SECONDS, "the queues are on all their disks")
    ledger.start()
    try:
        wait_until(lambda: ledger.confirmed() > WARM_UP_MESSAGES, SERVE_SECONDS, "the load runs")
        yield ledger
        cluster.heal()
        goes_on(ledger, RECOVERY_SECONDS)  # a consumer of 3.10 that finds no leader hangs for a minute
    finally:
        ledger.stop()
    summary = ledger.drain()
    ledger.delete()
    assert not summary.lost, f"{len(summary.lost)} confirmed messages are lost: {summary.outcomes}"
    assert not summary.unexpected


def _are_on_disk(cluster: Cluster, names: list[str]) -> bool:
    """Does every disk know the queue, and every replica's disk its replica? RabbitMQ 3.10 writes both some seconds
    after it has confirmed a declaration; when all members are killed before that, the queue is gone or begins empty."""
    found = queues(cluster, cluster.numbers[0])
    homes = [(node, name) for name in names for node in found.get(name, {}).get("members", ())]
    disks = {cluster.name(n): cluster.mnesia(n) / cluster.name(n) / "quorum" / cluster.name(n) for n in cluster.numbers}
    try:
        known = {node: (disk / "names.dets").read_bytes() for node, disk in disks.items() if disk.exists()}
        tables = {disk.parent.parent for disk in disks.values() if disk.exists()}
        if not all(is_in_metadata(directory, name) for directory in tables for name in names):
            return False
    except FileNotFoundError:
        return False
    told = {name for _, name in homes}
    return told == set(names) and all(f"_{name}".encode() in known.get(node, b"") for node, name in homes)


def is_in_metadata(directory: Path, name: str) -> bool:
    """Do the tables of this node, or their log, name it?"""
    files = [path for path in directory.glob("*") if path.is_file()]
    return any(name.encode() in path.read_bytes() for path in files)


def goes_on(ledger: Ledger, seconds: float = SERVE_SECONDS) -> None:
    """Messages are confirmed from now on."""
    before = ledger.confirmed()
    wait_until(lambda: ledger.confirmed() > before + WARM_UP_MESSAGES, seconds, "messages are confirmed")


def publish(cluster: Cluster, number: int, *bodies: bytes, seconds: float = SERVE_SECONDS) -> None:
    """Through this member, until each is confirmed. Every try has a connection of its own: RabbitMQ 3.10 goes on
    refusing on a channel that was opened while the queue had no leader."""
    left = list(bodies)

    def all_confirmed() -> bool:
        try:
            with cluster.channel(number) as channel:
                while left:
                    channel.basic_publish("tasks.direct", "normal", left[0], PERSISTENT, mandatory=True)
                    left.pop(0)
        except (pika.exceptions.AMQPError, OSError):
            return False
        return True

    wait_until(all_confirmed, seconds, f"{left!r} are confirmed through {cluster.name(number)}")


def take(cluster: Cluster, number: int, count: int, seconds: float = SERVE_SECONDS) -> list[bytes]:
    """Through this member: everything in the queue, until there were `count` at least."""
    bodies: list[bytes] = []

    def enough() -> bool:
        try:
            with cluster.channel(number) as channel:
                while (got := channel.basic_get(QUEUE, auto_ack=True))[0] is not None:
                    bodies.append(got[2])
        except (pika.exceptions.AMQPError, OSError):
            return False
        return len(bodies) >= count

    wait_until(enough, seconds, f"{count} messages are there through {cluster.name(number)}")
    return bodies


def registered(cluster: Cluster) -> set[str]:
    return set(cluster.redis_dump()["members"])


def losses_on_disk(cluster: Cluster, by: int, of: int) -> set[bytes]:
    """Each loss of `of`, with its time, that the disk of `by` knows. Mnesia waits at its start for everybody whose end
    is not written there, and writes it some seconds after the broker has told of it."""
    log = cluster.mnesia(by) / cluster.name(by) / "LATEST.LOG"
    pattern = rb"mnesia_down.{1,3}" + re.escape(cluster.name(of).encode()) + rb".{24}"
    return set(re.findall(pattern, log.read_bytes(), re.DOTALL)) if log.exists() else set()


def lease_holder(cluster: Cluster) -> str | None:
    """Who may act for the cluster now, by what Redis holds."""
    with cluster.redis() as client:
        raw = client.get("rabbitmq:monitor:lease")
    return None if raw is None else str(json.loads(str(raw))["node"])


def holder_number(cluster: Cluster) -> int:
    """The number of the member that holds the lease; waits until somebody does."""
    holder = wait_until(lambda: lease_holder(cluster), SERVE_SECONDS, "somebody holds the lease")
    return next(n for n in cluster.numbers if cluster.name(n) == holder)


def master_number(cluster: Cluster) -> int:
    master = wait_until(lambda: cluster.redis_dump()["master"], SERVE_SECONDS, "a master is named")
    return next(n for n in cluster.numbers if cluster.name(n) == master)


def epoch(cluster: Cluster) -> int:
    with cluster.redis() as client:
        return int(str(client.get("rabbitmq:cluster:epoch") or 0))


def last_event(cluster: Cluster) -> str:
    """Where the record of events ends now; hand it to `events`."""
    with cluster.redis() as client:
        entries = client.xrevrange("rabbitmq:events", count=1)
    return str(entries[0][0]) if entries else "0-0"


def events(cluster: Cluster, after: str = "0-0") -> list[dict[str, Any]]:
    """What happened, oldest first."""
    with cluster.redis() as client:
        return [dict(fields) for _, fields in client.xrange("rabbitmq:events", min=f"({after}")]


def reasons(cluster: Cluster, by: int, about: str = "") -> list[str]:
    """Why the verdict of this member is not healthy, as far as it names `about`."""
    return [str(reason) for reason in (cluster.status(by) or {}).get("reasons", []) if about in str(reason)]


def identity(cluster: Cluster) -> list[object]:
    """What every disk says it is: the same again means that nothing was made anew."""
    return [
        (marker.get("cluster_id"), marker.get("stage")) for n in cluster.numbers for marker in [_marker(cluster, n)]
    ]


def _marker(cluster: Cluster, number: int) -> dict[str, Any]:
    return cluster.marker(number) or {}


def listed(cluster: Cluster, by: int) -> set[str]:
    """Whom this broker lists; everybody while it cannot be asked: unknown is not forgotten."""
    try:
        return cluster.member_names(by)
    except UNHEARD:
        return {cluster.name(n) for n in cluster.numbers}


def queues(cluster: Cluster, by: int) -> dict[str, dict[str, Any]]:
    """The queues of /fog by the word of this member; empty while it does not answer."""
    try:
        status, rows = cluster.api(by, "/api/queues/%2Ffog")
    except UNHEARD:
        return {}
    return {row["name"]: row for row in rows} if status == 200 else {}


def whole(cluster: Cluster, by: int, replicas: int = 3) -> bool:
    """Does every quorum queue have all its replicas, online?"""
    rows = [row for row in queues(cluster, by).values() if row.get("type") == "quorum"]
    return bool(rows) and all(len(row.get("online") or ()) == len(row.get("members") or ()) == replicas for row in rows)


def leaders(cluster: Cluster, by: int) -> dict[str, int]:
    """Node name -> how many quorum queues it leads."""
    found = dict.fromkeys((cluster.name(n) for n in cluster.numbers), 0)
    for row in queues(cluster, by).values():
        if row.get("type") == "quorum" and row.get("leader") in found:
            found[str(row["leader"])] += 1
    return found


def words(done: "subprocess.CompletedProcess[str]") -> str:
    """Everything that a command said."""
    return done.stdout + done.stderr


def broker_pid(cluster: Cluster, number: int) -> int | None:
    """Of the broker that this member has now; None while it has none."""
    process = node.broker(cluster.demo, number)
    return process.pid if process is not None else None


def operation(cluster: Cluster) -> dict[str, Any] | None:
    with cluster.redis() as client:
        raw = client.get("rabbitmq:cluster:operation")
    return None if raw is None else dict(json.loads(str(raw)))


def asked(cluster: Cluster, by: int, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """What a person asks for beside that member, as often as somebody else is busy."""
    said: list[subprocess.CompletedProcess[str]] = []

    def is_heard() -> bool:
        said.append(cluster.cli(by, *arguments))
        return said[-1].returncode != ExitCode.TRY_AGAIN

    wait_until(is_heard, BUSY_SECONDS, f"{arguments[0]} gets its turn")
    return said[-1]


def forget(cluster: Cluster, number: int, by: int, *more: str) -> "subprocess.CompletedProcess[str]":
    """A person's `rmqcluster forget`, with the name typed."""
    name = cluster.name(number)
    return asked(cluster, by, "forget", name, "--node", name, "--yes", *more)
