"""The report: a section for each RabbitMQ series, in it a table for each group of measurements.

A run replaces the tables of the groups that it measured, and leaves all others and the remarks below any table.
"""

import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rmqcluster.broker.version import find_scripts

HEAD = """# Benchmarks

Written by `make bench`, a section for each RabbitMQ series that it was run with. All ratios come from one run,
interleaved; the middle value counts, all are shown. Both sides use the same plugins, ports, disk and machine;
heartbeat 5 s, TTL 15 s, settle time 10 s where nothing else is said. `python -m bench --only GROUP` measures one
table anew.
"""
COLUMNS = ("| what | rmqcluster | against | ratio | reach | |", "|---|---|---|---|---|---|")
REMARKS = "\nRemarks: "
Tables = dict[str, dict[str, str]]  # series -> title of the group -> what stands below it


def middle(values: Sequence[float]) -> float:
    return statistics.median(values)


def row(what: str, ours: str, against: str, ratio: str, reach: str, met: bool | None) -> str:
    """One line of a table; `met` None: there is nothing to reach."""
    verdict = "measured" if met is None else ("met" if met else "**missed**")
    return f"| {what} | {ours} | {against} | {ratio} | {reach} | {verdict} |"


def spread(values: Sequence[float]) -> str:
    """The middle value and all of them, in seconds."""
    return f"{middle(values):.2f} s ({', '.join(f'{v:.2f}' for v in values)})"


def version() -> str:
    """Of the brokers that are measured."""
    return find_scripts(os.environ).version or "unknown"


def machine(how_often: str) -> str:
    """When, how often and on what was measured."""
    cores, memory = os.cpu_count(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    redis = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {how_often}: {platform.system()} {platform.release()}, {cores} cores, "
        f"{memory:.0f} GiB, Python {platform.python_version()}, RabbitMQ {version()}, Redis {redis[2:]}."
    )


def parse(text: str) -> Tables:
    """The tables of a report."""
    found: Tables = {}
    for part in ("\n" + text).split("\n## ")[1:]:
        series, *groups = part.split("\n### ")
        found[series.strip()] = {
            title.strip(): body.strip() for title, _, body in (group.partition("\n") for group in groups)
        }
    return found


def report(old: str, titles: Sequence[str], measured: Mapping[str, tuple[str, Sequence[str]]]) -> str:
    """The document with what was measured now (title -> how often, rows) in the section of this series.

    `titles` is the order in which the groups stand.
    """
    tables = parse(old)
    series = f"RabbitMQ {'.'.join(version().split('.')[:2])}"
    section = tables.setdefault(series, {})
    for title, (how_often, rows) in measured.items():
        remarks = section.get(title, "").partition(REMARKS)[1:]
        section[title] = "\n".join([machine(how_often), "", *COLUMNS, *rows]) + ("\n" if remarks[1] else "")
        section[title] += "".join(remarks)
    text = HEAD
    for name, groups in tables.items():
        text += f"\n## {name}\n"
        for title in sorted(groups, key=lambda t: titles.index(t) if t in titles else len(titles)):
            text += f"\n### {title}\n\n{groups[title]}\n"
    return text
