"""`python -m bench [--only GROUP …]`: measure, interleaved, and write docs/benchmarks.md."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import failover, life, pause, scan
from bench.rivals import Say
from bench.table import report

REPORT = Path(__file__).parent.parent / "docs" / "benchmarks.md"


@dataclass(frozen=True, slots=True)
class Group:
    """One table of the report; `measure` gets how often, where that may be chosen."""

    title: str
    measure: Callable[[int, Say], list[str]]
    times: int
    unit: str


GROUPS = {
    "life": Group("Start, crash, rest", life.measure, 3, "rounds"),
    "failover": Group("Failover", failover.measure, 2, "rounds of each kind"),
    "pause": Group("What a publisher sees", pause.measure, 10, "kills of each"),
    "scan": Group("The monitor's scan", scan.measure, 100, "scans of each size"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    for name, group in GROUPS.items():
        parser.add_argument(f"--{name}", type=int, default=group.times, metavar="N", help=f"{group.unit}")
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), default=list(GROUPS), help="measure these tables")
    parser.add_argument("--dry", action="store_true", help="show the rows and leave the report as it is")
    asked = parser.parse_args(arguments)
    titles = [group.title for group in GROUPS.values()]
    for name in asked.only:
        group, times = GROUPS[name], max(1, getattr(asked, name))
        rows = group.measure(times, lambda words: print(words, flush=True))
        print("\n".join(rows), flush=True)
        if not asked.dry:  # after each group: one that fails takes nothing away from those before
            old = REPORT.read_text() if REPORT.exists() else ""
            REPORT.write_text(report(old, titles, {group.title: (f"{times} {group.unit}", rows)}))


if __name__ == "__main__":
    main()
