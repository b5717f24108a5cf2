"""The rows of a status: who is known, whose broker runs, whose membership is proven by both sides."""

from collections.abc import Mapping

from rmqcluster.core.model import Announcement, BrokerPhase, Policy, View
from rmqcluster.core.status import MemberStatus, Sources
from rmqcluster.core.status_format import name, shown


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
        node=name(node),
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
        drained=said.drained if said else None,
    )


def _heartbeat_age(node: str, sources: Sources) -> float | None:
    """Seconds since the last beat, from the time its key still lives; None when there is no heartbeat."""
    if sources.store is None or node not in sources.store.heartbeats:
        return None
    left = sources.store.heartbeats[node] - sources.store_age_seconds
    return None if left <= 0 else round(max(0.0, sources.policy.ttl_seconds - left), 1)


def _state(node: str, said: Announcement | None, sources: Sources, running: bool | None) -> str | None:
    if said is not None and said.drained and said.broker is BrokerPhase.READY:
        return "drained"
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
