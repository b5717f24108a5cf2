"""What the cluster looks like from here: one honest record out of everything that could be read.

Pure: the callers bring what they read (Redis, brokers asked directly, supervisors asked directly) and get a
verdict with its reasons, what happens by itself (`next`) and what a person should type (`do`). The words are
in `status_words`; text for a terminal is in `status_text`. Unknown is `None` and never counted as bad or good.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rmqcluster.core.model import Announcement, BrokerPhase, Policy, StoreView, View
from rmqcluster.errors import ExitCode

SHOWN_CHARACTERS = 400


class Verdict(StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"

    @property
    def exit_code(self) -> ExitCode:
        """0 healthy, 1 degraded, 2 unavailable or unknown."""
        if self is Verdict.HEALTHY:
            return ExitCode.OK
        return ExitCode.DEGRADED if self is Verdict.DEGRADED else ExitCode.UNAVAILABLE


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that could be read. All ages are seconds; None is unknown."""

    policy: Policy
    store: StoreView | None = None
    store_age_seconds: float = 0.0  # of `store`
    store_address: str = "redis"
    store_trouble: str = ""  # why `store` is None
    store_lost_seconds: float | None = None  # how long it has been None
    last_contact_seconds: float | None = None  # since the last timely reply of Redis
    views: Mapping[str, View] = field(default_factory=dict)  # brokers asked directly: newer than Redis' copies
    reports: Mapping[str, Announcement] = field(default_factory=dict)  # supervisors asked directly
    management: Mapping[str, str] = field(default_factory=dict)  # addresses known otherwise than from Redis
    named: frozenset[str] = frozenset()  # further members that somebody knows of
    lost_seconds: Mapping[str, float] = field(default_factory=dict)  # since when a member has been lost
    cluster_id: str | None = None  # known otherwise than from Redis
    warnings: tuple[str, ...] = ()  # about Redis, beside those of `store`


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """One member as it is shown. None is unknown."""

    node: str
    role: str = "member"
    registered: bool | None = None
    heartbeat_age_seconds: float | None = None
    running: bool | None = None
    mutual: bool | None = None
    state: str | None = None
    version: str | None = None
    http: str | None = None
    management: str | None = None
    held: str | None = None

    @property
    def serves(self) -> bool:
        """Its broker runs, and nothing says that it runs outside the cluster."""
        return self.running is True and self.mutual is not False

    @property
    def proven(self) -> bool:
        """Mutual, registered and beating: what `healthy` and `wait` count."""
        return self.mutual is True and self.registered is True and self.heartbeat_age_seconds is not None

    def as_json(self) -> dict[str, object]:
        return {
            "node": self.node,
            "role": self.role,
            "registered": self.registered,
            "heartbeat_age_seconds": self.heartbeat_age_seconds,
            "running": self.running,
            "mutual": self.mutual,
            "state": self.state,
            "version": self.version,
            "http": self.http,
            "management": self.management,
            "held": self.held,
        }


@dataclass(frozen=True, slots=True)
class Status:
    """The contract of `status --json` and `/status`, with the headline that people read first."""

    verdict: Verdict
    headline: str
    reasons: tuple[str, ...]
    next: tuple[str, ...]
    do: tuple[str, ...]
    cluster_id: str | None
    size: int
    epoch: int | None
    master: str | None
    paused: str | None
    members: tuple[MemberStatus, ...]
    redis_reachable: bool | None
    redis_last_contact_seconds: float | None
    redis_warnings: tuple[str, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        return self.verdict.exit_code

    @property
    def proven(self) -> tuple[str, ...]:
        """Node names of the mutual, registered, beating members."""
        return tuple(member.node for member in self.members if member.proven)

    def as_json(self) -> dict[str, object]:
        """The contract's JSON: these keys, this order, unknown as null."""
        return {
            "verdict": self.verdict.value,
            "reasons": list(self.reasons),
            "next": list(self.next),
            "do": list(self.do),
            "cluster_id": self.cluster_id,
            "size": self.size,
            "epoch": self.epoch,
            "master": self.master,
            "paused": self.paused,
            "members": [member.as_json() for member in self.members],
            "redis": {
                "reachable": self.redis_reachable,
                "last_contact_seconds": self.redis_last_contact_seconds,
                "warnings": list(self.redis_warnings),
            },
            "operation": None,
        }


def shown(text: str, limit: int = SHOWN_CHARACTERS) -> str:
    """`text` fit for a terminal, a log or a page: control and bidirectional characters escaped, length limited."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)


def known_views(sources: Sources) -> dict[str, View]:
    """The newest view of each broker that has one: asked directly, else as announced."""
    announced = sources.store.announcements if sources.store else {}
    views = {node: said.view for node, said in announced.items() if said.view is not None}
    views |= {node: said.view for node, said in sources.reports.items() if said.view is not None}
    return views | dict(sources.views)


def member_names(sources: Sources) -> list[str]:
    """Everybody known: registered, announced, listed by a broker, or named by a supervisor."""
    names = set(sources.reports) | set(sources.views) | sources.named
    if sources.store is not None:
        names |= sources.store.members | set(sources.store.announcements) | set(sources.store.heartbeats)
    for view in known_views(sources).values():
        names |= view.members
    return sorted(names)


def is_running(node: str, said: Announcement | None, views: Mapping[str, View]) -> bool | None:
    """Does this member's broker run? Its own word first, then anyone who sees it, then those who miss it."""
    own = views.get(node)
    if own is not None:
        return node in own.running
    if said is not None and said.broker in (BrokerPhase.DOWN, BrokerPhase.STARTING):
        return False
    others = [view for view in views.values() if node in view.members]
    if any(node in view.running for view in others):
        return True
    if others:
        return False
    return True if said is not None and said.broker is BrokerPhase.READY else None


def is_mutual(node: str, policy: Policy, views: Mapping[str, View]) -> bool | None:
    """Does this broker list a majority that lists it in turn, itself included? None when too few were read.

    The majority is of the expected size or of the listed members, whichever is larger.
    """
    own = views.get(node)
    if own is None:
        return None
    if node not in own.members:
        return False
    needed = max(policy.size, len(own.members)) // 2 + 1
    agree = sum(1 for peer in own.members if peer in views and node in views[peer].members)
    unheard = sum(1 for peer in own.members if peer not in views)
    if agree >= needed:
        return True
    return None if agree + unheard >= needed else False


def describe_members(sources: Sources) -> tuple[MemberStatus, ...]:
    """One row per member, sorted by name."""
    views = known_views(sources)
    return tuple(_describe_member(node, sources, views) for node in member_names(sources))


def _describe_member(node: str, sources: Sources, views: Mapping[str, View]) -> MemberStatus:
    store = sources.store
    said = sources.reports.get(node) or (store.announcements.get(node) if store else None)
    running = is_running(node, said, views)
    mutual = False if running is False else is_mutual(node, sources.policy, views)
    if running is not False and said is not None and said.mutual is not None and node not in sources.views:
        mutual = said.mutual
    return MemberStatus(
        node=shown(node, 120),
        role="master" if store is not None and store.master == node else "member",
        registered=None if store is None else node in store.members,
        heartbeat_age_seconds=_heartbeat_age(node, sources),
        running=running,
        mutual=mutual,
        state=_state(node, said, sources, running),
        version=_optional(said.version if said else None),
        http=_optional(said.http if said else None),
        management=_optional((said.management if said else None) or sources.management.get(node)),
        held=_optional(said.held if said else None),
    )


def _heartbeat_age(node: str, sources: Sources) -> float | None:
    """Seconds since the last beat, from the time its key still lives; None when there is no heartbeat."""
    if sources.store is None or node not in sources.store.heartbeats:
        return None
    left = sources.store.heartbeats[node] - sources.store_age_seconds
    return None if left <= 0 else round(max(0.0, sources.policy.ttl_seconds - left), 1)


def _state(node: str, said: Announcement | None, sources: Sources, running: bool | None) -> str | None:
    if said is not None and said.state:
        return shown(said.state, 60)
    if said is not None and said.broker is not BrokerPhase.READY:
        return said.broker.value
    if running:
        return "running"
    if sources.store is None and running is None:
        return None
    if _heartbeat_age(node, sources) is None:
        return "lost"
    return "down" if running is False else None


def _optional(text: str | None) -> str | None:
    return shown(text) if text else None
