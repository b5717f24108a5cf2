"""Named questions about one reading of Redis, as an operator's command asks them. Pure; unknown counts for nothing."""

from rmqcluster.core.model import BrokerPhase, DiskKind, StoreView, View

BLANKS = (DiskKind.BLANK, DiskKind.AMNESIC)
DATA = (DiskKind.DATA, DiskKind.UNMARKED)


def broker_views(view: StoreView) -> dict[str, View]:
    """Whom each running broker lists and sees."""
    said = view.announcements.items()
    return {node: a.view for node, a in said if a.view is not None and a.broker is BrokerPhase.READY}


def listed(view: StoreView) -> frozenset[str]:
    """Whom the brokers list: those of proven members where there are any."""
    views = broker_views(view)
    proven = {node: one for node, one in views.items() if view.announcements[node].mutual}
    return frozenset().union(*(one.members for one in (proven or views).values()))


def known(view: StoreView) -> frozenset[str]:
    """Everybody that Redis, a broker or a disk names."""
    said = view.announcements.values()
    names = (a.listed | (a.view.members if a.view is not None else frozenset()) for a in said)
    return frozenset(view.announcements) | view.members | frozenset(view.heartbeats) | frozenset().union(*names)


def seen_running_by(view: StoreView, node: str) -> list[str]:
    """Whose brokers see that the broker of `node` runs."""
    return sorted(other for other, one in broker_views(view).items() if other != node and node in one.running)


def not_serving(view: StoreView, node: str) -> str:
    """Why `node` does not count as a serving member, in words that follow its name; "" when it does."""
    said = view.announcements.get(node)
    if said is None:
        return "is not heard"
    if said.held is not None:
        return "is held"
    if is_stopping(view, node):
        return "is stopping"
    if said.broker is not BrokerPhase.READY:
        return f"has a broker that is {said.broker}"
    if said.drained:
        return "is in maintenance"
    if said.mutual is not True:
        return "is not proven a member"
    if node not in view.members:
        return "is not registered"
    return "" if node in view.heartbeats else "has no heartbeat"


def serving(view: StoreView) -> frozenset[str]:
    return frozenset(node for node in listed(view) if not not_serving(view, node))


def is_stopping(view: StoreView, node: str) -> bool:
    said = view.announcements.get(node)
    return said is not None and (said.broker is BrokerPhase.STOPPING or said.state == "stopping")


def is_drained(view: StoreView, node: str) -> bool:
    said = view.announcements.get(node)
    return said is not None and said.drained


def on_the_way(view: StoreView) -> list[str]:
    """Whose broker boots, or runs and is not proven yet."""
    waiting = (BrokerPhase.STARTING, BrokerPhase.READY)
    said = view.announcements.items()
    return sorted(node for node, a in said if a.broker in waiting and a.mutual is not True and a.held is None)


def alarms(view: StoreView) -> list[str]:
    """`disk rabbit@a`, each once."""
    return sorted({alarm for one in broker_views(view).values() for alarm in one.alarms})


def majority_of(count: int) -> int:
    return count // 2 + 1
