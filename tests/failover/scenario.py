"""The master is killed under load, the others take over, it comes back; every step has a deadline.

Whatever happens, the victim is started again and the account is settled: a missed deadline does not hide a loss.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .ledger import Ledger, Outcome, Summary
from .targets import Target, leaders, replicated

LOOK_SECONDS = 0.05
QUEUES = 6
REPLICAS = 3
WARM_UP_MESSAGES = 200
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the steps may take, in seconds; the target's TTL and settle time come on top where they count."""

    start: float = 30.0
    election: float = 2.0  # beyond the TTL
    balance: float = 20.0  # beyond TTL and settle time, for leaders to be spread and replicas to be there
    rejoin: float = 90.0


class Missed(Exception):
    """A deadline passed."""


@dataclass(slots=True)
class Report:
    """What was seen; times in seconds since the kill, `rejoined` and `whole again` since the start after it."""

    victim: str = ""
    victim_is_down: bool = False
    times: dict[str, float] = field(default_factory=dict)
    leaders: dict[str, dict[str, int]] = field(default_factory=dict)
    summary: Summary | None = None
    missed: list[str] = field(default_factory=list)
    pause_at_kill_seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return not self.missed and self.summary is not None and self.summary.is_clean


def run(target: Target, say: Say, ledger: Ledger | None = None, limits: Limits | None = None) -> Report:
    """The whole scenario. Deadlines that were missed and losses are in the report."""
    report, limits = Report(), limits or Limits()
    ledger = ledger or Ledger(target.endpoints(), target.account(), queues=QUEUES, prefix="failover")
    try:
        ledger.declare()
        _under_load(target, ledger, report, limits, say)
        say("the load has ended; every queue is emptied")
        report.summary = ledger.drain()
    except TimeoutError as error:
        report.missed.append(str(error))
    finally:
        _delete(ledger, report)
    return report


def _under_load(target: Target, ledger: Ledger, report: Report, limits: Limits, say: Say) -> None:
    try:
        seconds = limits.start + target.settle_seconds
        _await(lambda: _is_whole(target, target.nodes()[0], ledger.queues), seconds, "no replicas or balance before")
        ledger.start()
        _await(lambda: ledger.confirmed() > WARM_UP_MESSAGES, limits.start, "the load does not run")
        _fail_over(target, ledger, report, limits, say)
        _come_back(target, ledger, report, limits, say)
    except Missed as missed:
        report.missed.append(str(missed))
    finally:
        ledger.stop()
        if report.victim_is_down:
            target.start(report.victim)


def _delete(ledger: Ledger, report: Report) -> None:
    try:
        ledger.delete()
    except TimeoutError as error:
        report.missed.append(str(error))


def _fail_over(target: Target, ledger: Ledger, report: Report, limits: Limits, say: Say) -> None:
    nodes = target.nodes()
    victim = report.victim = _master(target, nodes[0]) or nodes[0]
    survivors = [name for name in nodes if name != victim]
    report.leaders["before"] = leaders(target, survivors[0], nodes)
    say(f"killing the master {victim}")
    ledger.reset_pauses()
    killed_at = time.monotonic()
    report.victim_is_down = True
    target.kill(victim)
    limit = target.ttl_seconds + limits.election
    _timed(
        report,
        "noticed",
        killed_at,
        limit,
        lambda: any(_misses(target, name, victim) for name in survivors),
        "the loss is noticed",
    )
    _timed(report, "elected", killed_at, limit, lambda: _elected(target, survivors, victim), "a live member is master")
    _timed(
        report,
        "removed",
        killed_at,
        limit,
        lambda: not any(_is_registered(target, name, victim) for name in survivors),
        f"{victim} is out of the members",
    )
    limit = target.ttl_seconds + target.settle_seconds + limits.balance
    _timed(
        report,
        "balanced",
        killed_at,
        limit,
        lambda: _is_balanced(target, survivors),
        "leaders are spread over the survivors",
    )
    report.pause_at_kill_seconds = ledger.longest_pause_seconds()
    report.leaders["during"] = leaders(target, survivors[0], survivors)


def _come_back(target: Target, ledger: Ledger, report: Report, limits: Limits, say: Say) -> None:
    nodes, victim = target.nodes(), report.victim
    asked = next(name for name in nodes if name != victim)
    say(f"starting {victim} again")
    started_at = time.monotonic()
    report.victim_is_down = False
    target.start(victim)
    _timed(
        report,
        "rejoined",
        started_at,
        limits.rejoin,
        lambda: all(_is_member(target, name, victim) for name in (asked, victim)),
        f"{victim} is a member again",
    )
    limit = report.times["rejoined"] + target.settle_seconds + limits.balance
    _timed(
        report,
        "whole again",
        started_at,
        limit,
        lambda: _is_whole(target, asked, ledger.queues),
        "replicas and balance over all members",
    )
    report.leaders["after"] = leaders(target, asked, nodes)


def await_whole(target: Target, queues: Sequence[str], seconds: float) -> None:
    """Until every member says that all are members, and all replicas and leaders are where they should be.

    Raises Missed.
    """
    nodes = target.nodes()

    def is_whole() -> bool:
        members = all(_is_member(target, asked, name) for asked in nodes for name in nodes)
        return members and _is_whole(target, nodes[0], queues)

    _await(is_whole, seconds, f"the cluster is not whole again within {seconds:.0f} s")


def _timed(report: Report, what: str, since: float, limit: float, condition: Callable[[], bool], words: str) -> None:
    """Wait for the condition and note when it came; `limit` and that time count from `since`, in seconds."""
    _await(condition, since + limit - time.monotonic(), f"{words}: not within {limit:.0f} s")
    report.times[what] = time.monotonic() - since


def _await(condition: Callable[[], bool], seconds: float, missed: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Missed(missed)
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
    """Every queue has its leader on one of `running`, and none leads more than one more than another."""
    try:
        counts, all_queues = leaders(target, running[0], running), len(replicated(target, running[0]))
    except OSError:
        return False
    return max(counts.values()) - min(counts.values()) <= 1 and sum(counts.values()) == all_queues


def _is_whole(target: Target, asked: str, queues: Sequence[str]) -> bool:
    """The queues of the ledger have all their replicas online, and the leaders are spread over all members."""
    try:
        rows = {str(row.get("name")): row for row in replicated(target, asked)}
    except OSError:
        return False
    replicas = min(REPLICAS, len(target.nodes()))
    full = all(len(rows.get(name, {}).get("online") or ()) >= replicas for name in queues)
    return full and _is_balanced(target, target.nodes())


def lines(report: Report) -> list[str]:
    """The report for people."""
    found = [f"killed               {report.victim} (supervisor and broker, SIGKILL)"]
    names = {
        "noticed": "noticed after",
        "elected": "new master after",
        "removed": "out of members after",
        "balanced": "balanced after",
        "rejoined": "rejoined after",
        "whole again": "whole again after",
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
