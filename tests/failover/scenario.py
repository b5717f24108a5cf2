"""The master is killed under load, the others take over, it comes back; every step has a deadline."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from .ledger import Ledger, Outcome, Summary
from .targets import Target, leaders

LOOK_SECONDS = 0.05
QUEUES = 6
WARM_UP_MESSAGES = 200
START_SECONDS = 30.0
REJOIN_SECONDS = 90.0
GRACE_SECONDS = 20.0  # beyond TTL and settle time, for leaders to be spread and replicas to be there
ELECTION_GRACE_SECONDS = 2.0
Say = Callable[[str], None]


class Missed(Exception):
    """A deadline passed."""


@dataclass(slots=True)
class Report:
    """What was seen; times in seconds since the kill, `rejoined` and `balanced_again` since the start after it."""

    victim: str = ""
    times: dict[str, float] = field(default_factory=dict)
    leaders: dict[str, dict[str, int]] = field(default_factory=dict)
    summary: Summary | None = None
    missed: list[str] = field(default_factory=list)
    pause_at_kill_seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return not self.missed and self.summary is not None and self.summary.is_clean


def run(target: Target, say: Say) -> Report:
    """The whole scenario. Deadlines that were missed and losses are in the report."""
    report = Report()
    ledger = Ledger(target.endpoints(), target.account(), queues=QUEUES, prefix="failover")
    ledger.declare()
    try:
        _await(lambda: _is_balanced(target, target.nodes()), START_SECONDS + target.settle_seconds, "balance before")
        ledger.start()
        try:
            _await(lambda: ledger.confirmed() > WARM_UP_MESSAGES, START_SECONDS, "the load runs")
            _fail_over(target, ledger, report, say)
        except Missed as missed:
            report.missed.append(str(missed))
        finally:
            ledger.stop()
        say("the load has ended; every queue is emptied")
        report.summary = ledger.drain()
    finally:
        ledger.delete()
    return report


def _fail_over(target: Target, ledger: Ledger, report: Report, say: Say) -> None:
    nodes = target.nodes()
    victim = report.victim = _master(target, nodes[0]) or nodes[0]
    survivors = [name for name in nodes if name != victim]
    report.leaders["before"] = leaders(target, survivors[0], nodes)
    say(f"killing the master {victim}")
    ledger.reset_pauses()
    killed_at = time.monotonic()
    target.kill(victim)
    limit = target.ttl_seconds + ELECTION_GRACE_SECONDS
    with _timed(report, "noticed", killed_at):
        _await(lambda: any(_misses(target, name, victim) for name in survivors), limit, "the loss is noticed")
    with _timed(report, "elected", killed_at):
        _await(lambda: _elected(target, survivors, victim), killed_at + limit - time.monotonic(), "a new master")
    with _timed(report, "removed", killed_at):
        left = killed_at + limit - time.monotonic()
        _await(lambda: not any(_is_registered(target, n, victim) for n in survivors), left, "it is out of the members")
    seconds = target.ttl_seconds + target.settle_seconds + GRACE_SECONDS
    with _timed(report, "balanced", killed_at):
        _await(lambda: _is_balanced(target, survivors), seconds, "leaders are spread over the survivors")
    report.pause_at_kill_seconds = ledger.longest_pause_seconds()
    report.leaders["during"] = leaders(target, survivors[0], survivors)
    say(f"starting {victim} again")
    started_at = time.monotonic()
    target.start(victim)
    with _timed(report, "rejoined", started_at):
        both = (survivors[0], victim)
        _await(lambda: all(_is_member(target, n, victim) for n in both), REJOIN_SECONDS, f"{victim} is a member again")
    with _timed(report, "balanced again", started_at):
        seconds = target.settle_seconds + GRACE_SECONDS
        _await(lambda: _is_whole(target, survivors[0], nodes), seconds, "replicas and balance over all members")
    report.leaders["after"] = leaders(target, survivors[0], nodes)


@contextmanager
def _timed(report: Report, what: str, since: float) -> Iterator[None]:
    yield
    report.times[what] = time.monotonic() - since


def _await(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Missed(f"{what}: not within {seconds:.0f} s")
        time.sleep(LOOK_SECONDS)


def _master(target: Target, asked: str) -> str | None:
    status = target.status(asked)
    return str(status["master"]) if status is not None and status.get("master") else None


def _misses(target: Target, asked: str, victim: str) -> bool:
    """Does `asked` no longer count the victim as a registered, beating, running member and master?"""
    status = target.status(asked)
    if status is None:
        return False
    row = next((row for row in status["members"] if row["node"] == victim), None)
    return row is None or row["running"] is False or row["registered"] is False or status["master"] != victim


def _is_registered(target: Target, asked: str, name: str) -> bool:
    """By the word of `asked`; as long as it does not answer, nothing has changed."""
    status = target.status(asked)
    return status is None or any(row["node"] == name and row["registered"] is not False for row in status["members"])


def _elected(target: Target, survivors: list[str], victim: str) -> bool:
    masters = {_master(target, name) for name in survivors}
    return len(masters) == 1 and masters <= set(survivors) and victim not in masters


def _is_member(target: Target, asked: str, name: str) -> bool:
    status = target.status(asked)
    rows = status["members"] if status is not None else []
    row = next((row for row in rows if row["node"] == name), {})
    beats = row.get("heartbeat_age_seconds") is not None
    return beats and all(row.get(word) is True for word in ("registered", "mutual", "running"))


def _is_balanced(target: Target, running: list[str]) -> bool:
    try:
        counts = leaders(target, running[0], running)
        rows = [row for row in target.queues(running[0]) if row.get("type") == "quorum"]
    except OSError:
        return False
    return max(counts.values()) - min(counts.values()) <= 1 and sum(counts.values()) == len(rows)


def _is_whole(target: Target, asked: str, nodes: list[str]) -> bool:
    """Every quorum queue has its replicas online on all members, and the leaders are spread."""
    try:
        rows = [row for row in target.queues(asked) if row.get("type") == "quorum"]
    except OSError:
        return False
    full = all(set(row.get("online") or row.get("members") or ()) >= set(nodes) for row in rows)
    return bool(rows) and full and _is_balanced(target, nodes)


def lines(report: Report) -> list[str]:
    """The report for people."""
    found = [f"killed               {report.victim} (supervisor and broker, SIGKILL)"]
    names = {
        "noticed": "noticed after",
        "elected": "new master after",
        "removed": "out of members after",
        "balanced": "balanced after",
        "rejoined": "rejoined after",
        "balanced again": "whole again after",
    }
    found += [f"{names[what]:<20} {seconds:6.2f} s" for what, seconds in report.times.items()]
    found += [f"leaders {when:<12} {_counts(counts)}" for when, counts in report.leaders.items()]
    summary = report.summary
    if summary is not None:
        apart = ", ".join(f"{outcome} {summary.outcomes[outcome]}" for outcome in Outcome)
        found.append(f"published            {sum(summary.outcomes.values())} ({apart})")
        found.append(f"confirmed            {summary.outcomes[Outcome.OK]}")
        found.append(f"delivered            {summary.delivered}")
        found.append(f"lost                 {len(summary.lost)}")
        found.append(f"duplicated           {summary.duplicated}")
        found.append(f"unexpected           {len(summary.unexpected)}")
        found.append(f"longest pause        {summary.longest_pause_seconds:6.2f} s without a confirm")
    found += [f"MISSED               {words}" for words in report.missed]
    found.append("passed" if report.passed else "FAILED")
    return found


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
