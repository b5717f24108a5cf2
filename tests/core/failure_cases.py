"""The screens that `docs/failure-cases.md` quotes, each made by the code itself from the situation that it is about.

Run as a program it writes them into the document: `PYTHONPATH=.:tests/core python tests/core/failure_cases.py`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rmqcluster.core import member_outcomes as outcomes
from rmqcluster.core.model import (
    Announcement,
    BrokerPhase,
    BrokerState,
    Disk,
    DiskKind,
    Lease,
    Marker,
    Observation,
    Operation,
    OperationKind,
    Policy,
    Record,
    Stage,
    StoreView,
    View,
)
from rmqcluster.core.operations import deadline_seconds
from rmqcluster.core.queues import QueueFacts, QueueKind, QueueReport, facts_in_words
from rmqcluster.core.status import Moved, Sources, Status
from rmqcluster.core.status_text import status_text
from rmqcluster.core.status_words import summarise

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "failure-cases.md"
FENCE = re.compile(r"(?<=<!-- screen: )([a-z0-9 ,-]+)( -->\n```text\n)(.*?)(?=```)", re.DOTALL)
NOW = 1_769_829_241.0  # 2026-01-31 03:14:01Z
ID = "4f1c9a2e" * 4
OTHER_ID = "77b0d5c3" * 4
M1, M2, M3, M4, M5 = (f"rabbit@rabbitmq{number}" for number in range(1, 6))
ALL = frozenset({M1, M2, M3})
POLICY = Policy()


def queues(online: frozenset[str] = ALL, count: int = 412, classic: str | None = None) -> tuple[str, ...]:
    """What the lease holder's look at the queues says, with this many quorum queues online on these members."""
    leader = min(online)
    found = [QueueFacts("/fog", f"tasks{n}", QueueKind.QUORUM, True, leader, ALL, online, online) for n in range(count)]
    if classic is not None:
        names = ("audit", "mail", "tmp")
        found += [QueueFacts("/fog", one, QueueKind.CLASSIC, leader=classic) for one in names]
    return facts_in_words(QueueReport(tuple(found), ALL, online), POLICY.replicas)


def said(node: str, running: frozenset[str] = ALL, listed: frozenset[str] = ALL, **changes: Any) -> Announcement:
    """A healthy member's own words."""
    known = Announcement(
        node=node,
        instance=f"i-{node}",
        disk=DiskKind.DATA,
        broker=BrokerPhase.READY,
        cluster_id=ID,
        host=f"manager{node[-1]}",
        version="4.3.6",
        mutual=True,
        view=View(listed, running),
        listed=listed,
        state="member",
    )
    return replace(known, **changes)


def reading(*announced: Announcement, beating: frozenset[str] | None = None, **changes: Any) -> StoreView:
    """Redis with these announcements; all of them beat unless told otherwise."""
    nodes = frozenset(one.node for one in announced)
    beating = nodes if beating is None else beating
    known = StoreView(
        members=beating,
        master=M1,
        record=Record(ID, 1, M1),
        lease=Lease(M1, f"i-{M1}", 14),
        announcements={one.node: one for one in announced},
        heartbeats=dict.fromkeys(beating, 12.0),
        epoch=14,
    )
    return replace(known, **changes)


def status(store: StoreView | None, policy: Policy = POLICY, **more: Any) -> Status:
    return summarise(Sources(policy=policy, store=store, store_address="redis:6379", **more))


def under_way(kind: OperationKind, subject: str, by: str, left: float = 100.0) -> dict[str, Any]:
    operation = Operation("o-1", kind, subject, "", by, 14, NOW - 20.0, deadline_seconds(kind, POLICY))
    return {"operation": operation, "operation_left_seconds": left}


def blank(node: str, finding: str, host: str | None = None) -> StoreView:
    """This member came back without its disk; the words are its own rule's."""
    pair = ALL - {node}
    known = {"disk": DiskKind.AMNESIC, "broker": BrokerPhase.DOWN, "mutual": None, "view": None, "state": "waiting"}
    mine = said(node, **known, host=host or f"manager{node[-1]}")
    others = [said(one, pair) for one in sorted(pair)]
    others[0] = replace(others[0], findings=(f"{node} {finding}",))
    store = reading(*others, mine, beating=pair)
    held = outcomes.hold_lost_disk(observed(node, Disk(False, Marker(ID, Stage.MEMBER, 1)), store)).held
    return replace(store, announcements={**store.announcements, node: replace(mine, held=held)})


def held_with_data(node: str, rule: Callable[[Observation], Any], cluster_id: str, listed: frozenset[str]) -> StoreView:
    """This member has data and is held by `rule`, in that rule's words."""
    pair = ALL - {node}
    others = [said(one, pair, listed) for one in sorted(pair)]
    mine = said(node, broker=BrokerPhase.DOWN, view=None, mutual=None, cluster_id=None, state="held")
    store = reading(*others, mine, beating=pair)
    held = rule(observed(node, Disk(True, Marker(cluster_id, Stage.MEMBER, 1)), store)).held
    return replace(store, announcements={**store.announcements, node: replace(mine, held=held)})


def observed(node: str, disk: Disk, store: StoreView) -> Observation:
    known = Observation(NOW, POLICY, node, "i", NOW - 60.0, disk, BrokerState(), store)
    return replace(known, host=f"manager{node[-1]}")


def host_lost() -> Status:
    pair = ALL - {M2}
    store = reading(said(M1, pair, notes=queues(pair, classic=M2)), said(M3, pair))
    return status(store, lost_seconds={M2: 161.0}, moved=Moved(M2, M1, NOW - 161.0, 14))


def broker_crashed() -> Status:
    pair = ALL - {M2}
    crashed = said(M2, broker=BrokerPhase.STARTING, view=None, mutual=None, state="booting")
    return status(reading(said(M1, pair), said(M3, pair), crashed, beating=pair))


def power_cut_of_all() -> Status:
    booting = {"broker": BrokerPhase.STARTING, "view": None, "mutual": None, "state": "booting"}
    return status(reading(*(said(node, **booting) for node in sorted(ALL)), beating=frozenset(), lease=None))


def two_of_three_lost() -> Status:
    store = reading(said(M1, frozenset({M1}), mutual=None), lease=None)
    return status(store, lost_seconds={M2: 252.0, M3: 161.0}, hosts={M2: "manager2", M3: "manager3"})


def majority_wiped() -> Status:
    wiped = {"disk": DiskKind.AMNESIC, "broker": BrokerPhase.DOWN, "view": None, "mutual": None, "state": "waiting"}
    alone = said(M1, frozenset({M1}), mutual=None)
    return status(reading(alone, said(M2, **wiped), said(M3, **wiped), beating=frozenset({M1}), lease=None))


def redis_down() -> Status:
    return status(
        None,
        store_trouble="connection refused",
        store_lost_seconds=252.0,
        last_contact_seconds=252.0,
        views={node: View(ALL, ALL) for node in ALL},
        cluster_id=ID,
    )


def redis_flushed() -> Status:
    return status(reading(said(M1), said(M2), said(M3), master=None, record=None, lease=None))


def no_heartbeat() -> Status:
    return status(reading(said(M1), said(M2)))


def minority() -> Status:
    """The page of a member that is cut off from the others and from Redis."""
    mine = said(M3, frozenset({M3}), mutual=None)
    missed = {M1: 41.0, M2: 41.0}
    silent = {"store_trouble": "timed out", "store_lost_seconds": 38.0, "last_contact_seconds": 38.0}
    return status(None, reports={M3: mine}, lost_seconds=missed, **silent)


def one_way_cut() -> Status:
    return status(reading(said(M1, frozenset({M1, M2})), said(M2), said(M3)))


def alarm(kind: str, *facts: str) -> Status:
    seen = View(ALL, ALL, (f"{kind} {M3}",))
    return status(reading(*(said(node, view=seen) for node in sorted(ALL))), alarm_facts=facts)


def wiped_waiting() -> Status:
    store = blank(M2, "waits for other replicas of /fog tasks1, tasks2 to be there and caught up")
    return status(replace(store, announcements=unheld(store)))


def unheld(store: StoreView) -> Mapping[str, Announcement]:
    return {node: replace(one, held=None) for node, one in store.announcements.items()}


def replacing(step: int) -> Status:
    pair = ALL - {M2}
    operation = under_way(OperationKind.REPLACE, M2, f"monitor {M1}", 220.0)
    if step == 1:
        return status(replace(blank(M2, ""), announcements=unheld(blank(M2, "")), **operation))
    growing = queues(pair, 292)
    return status(reading(said(M1, notes=growing), said(M2), said(M3), **operation))


def draining() -> Status:
    operation = under_way(OperationKind.DRAIN, M2, "ann@manager1")
    return status(reading(said(M1), said(M2), said(M3), **operation))


def drained() -> Status:
    return status(reading(said(M1), said(M2, drained=True, state="drained"), said(M3)))


def stopping() -> Status:
    pair = ALL - {M2}
    going = said(M2, broker=BrokerPhase.STOPPING, view=None, mutual=None, state="stopping")
    return status(reading(said(M1), said(M3), going, beating=pair, **under_way(OperationKind.STOP, M2, M2, 18.0)))


def stopped() -> Status:
    pair = ALL - {M2}
    return status(reading(said(M1, pair), said(M3, pair)), stopped_seconds={M2: 65.0})


def rebalancing() -> Status:
    operation = under_way(OperationKind.REBALANCE, "", f"monitor {M1}")
    return status(reading(said(M1), said(M2), said(M3), **operation))


def single_replicas() -> Status:
    lone = tuple(
        QueueFacts("/fog", name, QueueKind.QUORUM, True, M1, frozenset({M1}), frozenset({M1}), frozenset({M1}), 1)
        for name in ("scratch", "spool")
    )
    notes = facts_in_words(QueueReport(lone, ALL, ALL), POLICY.replicas)
    return status(reading(said(M1, notes=notes), said(M2), said(M3)))


def growing() -> Status:
    four = ALL | {M4}
    members = [said(node, four, four) for node in sorted(four)]
    return status(reading(*members), replace(POLICY, size=5))


def shrinking() -> Status:
    five = ALL | {M4, M5}
    return status(reading(*(said(node, five, five) for node in sorted(five))))


def paused() -> Status:
    return status(
        reading(said(M1), said(M2), said(M3), paused="until 2026-01-31 04:00:00Z by ann@manager1: new switch")
    )


def twin() -> Status:
    pair = ALL - {M2}
    return status(reading(said(M1), said(M3), said(M2, state="twin"), beating=pair))


CASES: dict[str, Callable[[], Status]] = {
    "host lost": host_lost,
    "broker crashed": broker_crashed,
    "power cut of all": power_cut_of_all,
    "majority lost": two_of_three_lost,
    "majority wiped": majority_wiped,
    "redis down": redis_down,
    "redis flushed": redis_flushed,
    "no heartbeat": no_heartbeat,
    "minority": minority,
    "one-way cut": one_way_cut,
    "disk alarm": lambda: alarm(
        "disk",
        f"{M3}: 1.8 GiB free, limit 2.0 GiB",
        "biggest: /fog tasks 31.0 GiB, 4100000 messages, 0 consumers",
    ),
    "memory alarm": lambda: alarm("memory", f"{M3}: 3.3 GiB of memory used, limit 3.2 GiB"),
    "blank disk": wiped_waiting,
    "replacing, begun": lambda: replacing(1),
    "replacing, replicas": lambda: replacing(4),
    "blank disk, other host": lambda: status(
        blank(M2, "its disk was last on manager2 and may return; this is manager3", "manager3")
    ),
    "blank disk, sole copies": lambda: status(
        blank(M2, "the empty directory may be a missing mount, and only its old disk holds /fog audit, /fog mail")
    ),
    "forgotten": lambda: status(held_with_data(M2, outcomes.hold_forgotten, ID, ALL - {M2})),
    "foreign volume": lambda: status(held_with_data(M2, outcomes.hold_foreign, OTHER_ID, ALL)),
    "twin": twin,
    "draining": draining,
    "drained": drained,
    "stopping": stopping,
    "stopped": stopped,
    "rebalance": rebalancing,
    "single replicas": single_replicas,
    "growing": growing,
    "shrinking": shrinking,
    "paused": paused,
}


def screen(case: str) -> str:
    """What `rmqcluster status` prints above its table."""
    return status_text(CASES[case](), NOW).split("\n\n")[0] + "\n"


def quoted(document: str) -> list[tuple[str, str]]:
    """Case and text of every screen that the document quotes."""
    return [(found[1], found[3]) for found in FENCE.finditer(document)]


def filled(document: str) -> str:
    return FENCE.sub(lambda found: f"{found[1]}{found[2]}{screen(found[1])}", document)


if __name__ == "__main__":
    DOCUMENT.write_text(filled(DOCUMENT.read_text()))
