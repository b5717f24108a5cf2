"""The longer sentences of the member rules."""

from rmqcluster.core import evidence as e
from rmqcluster.core.engine import Outcome
from rmqcluster.core.model import Observation


def cluster_name(cluster_id: str | None) -> str:
    """The first eight characters: enough to tell two clusters apart."""
    return cluster_id[:8] if cluster_id else "unknown"


def holding(what: str, do: str) -> Outcome:
    """Dangerous without a person: the words, and one thing to do."""
    return Outcome((), what, "held", f"{what} DO: {do}")


def waiting_for_company(o: Observation) -> str:
    """Whom a founding still misses."""
    blanks = e.blank_announcements(o)
    missing = o.policy.majority - len(blanks)
    if o.store is not None and o.store.claim is not None:
        return f"{o.store.claim.node} claims the founding: waiting until its broker boots"
    if o.seen_cluster_id is not None:
        return f"cluster {cluster_name(o.seen_cluster_id)} was seen before: waiting for a member with data"
    waits = [f"{n} had joined {', '.join(sorted(whom))}" for n, whom in sorted(e.undecided(o).items())]
    if missing > 0 and waits:
        return f"a founding was under way when Redis was emptied: {'; '.join(waits)}, who has not told the outcome"
    if missing > 0:
        return (
            f"{len(blanks)} of {o.policy.size} announced blank disks ({', '.join(blanks)}); "
            f"a founding needs {missing} more"
        )
    return "waiting for the result of the founding claim"
