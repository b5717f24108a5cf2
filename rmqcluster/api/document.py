"""What one supervisor knows, as the same `Status` that the command line shows."""

from dataclasses import replace

from rmqcluster.agent.published import Published
from rmqcluster.config.settings import Settings
from rmqcluster.core.model import Announcement, Observation
from rmqcluster.core.status import Sources, Status
from rmqcluster.core.status_words import summarise


def status_of(published: Published, now: float, settings: Settings) -> Status:
    """The cluster as this supervisor's newest observation shows it; `now` is monotonic seconds."""
    seen = published.observation
    store = seen.store
    peers = seen.disk.marker.peers if seen.disk.marker else ()
    return summarise(
        Sources(
            policy=seen.policy,
            store=store,
            store_age_seconds=max(0.0, now - store.at) if store else 0.0,
            store_address=settings.redis.address,
            store_trouble=seen.store_trouble,
            store_lost_seconds=None if store else max(0.0, now - seen.store_since),
            last_contact_seconds=_last_contact(seen, now),
            views=seen.peer_views,
            reports={seen.me: _self_report(published, settings)},
            management=dict(peers),
            hosts=dict(seen.disk.marker.hosts) if seen.disk.marker else {},
            lost_seconds={node: max(0.0, now - since) for node, since in seen.missed_since.items()},
            cluster_id=seen.seen_cluster_id,
        )
    )


def _last_contact(seen: Observation, now: float) -> float | None:
    """A store that was never readable since the start was never heard: unknown."""
    if seen.store is not None or seen.store_since <= seen.started_at:
        return None
    return max(0.0, now - seen.store_since)


def _self_report(published: Published, settings: Settings) -> Announcement:
    """What this member would announce now, were Redis there to hear it."""
    seen, decision = published.observation, published.decision
    said = seen.store.announcements.get(seen.me) if seen.store else None
    fresh = Announcement(
        node=seen.me,
        instance=seen.instance,
        disk=seen.disk.kind,
        broker=seen.broker.phase,
        management=f"{settings.host}:{settings.management_port}",
        http=f"{settings.host}:{settings.http_port}",
    )
    return replace(
        said or fresh,
        disk=seen.disk.kind,
        broker=seen.broker.phase,
        cluster_id=seen.disk.cluster_id,
        version=seen.broker.version,
        mutual=published.mutual,
        view=seen.view,
        state=decision.state,
        held=decision.held,
        drained=seen.drained,
    )
