"""Observations for the tests of the HTTP room."""

from dataclasses import replace
from typing import Any

from rmqcluster.agent.published import Published
from rmqcluster.api.routes import Scene
from rmqcluster.config.settings import Secret, Settings
from rmqcluster.core.model import (
    Announcement,
    BrokerPhase,
    BrokerState,
    Decision,
    Disk,
    DiskKind,
    Marker,
    Observation,
    Policy,
    Record,
    Stage,
    StoreView,
    View,
)

ME = "rabbit@a"
ALL = frozenset({ME, "rabbit@b", "rabbit@c"})
TOKEN = "canary-token"
COOKIE = "canary-cookie"
NOW = 1000.0


def settings(*, token: bool = True, port: int = 0) -> Settings:
    return Settings(
        node=ME,
        cookie=Secret(COOKIE),
        http_bind="127.0.0.1",
        http_port=port,
        http_token=Secret(TOKEN) if token else None,
    )


def store() -> StoreView:
    seen = View(ALL, ALL)
    said = {
        node: Announcement(
            node, node, DiskKind.DATA, BrokerPhase.READY, "id-1", mutual=True, view=seen, state="running"
        )
        for node in ALL
    }
    return StoreView(
        members=ALL,
        master=ME,
        record=Record("id-1", 1, ME),
        announcements=said,
        heartbeats=dict.fromkeys(ALL, 14.0),
        epoch=3,
        at=NOW,
    )


def published(**changes: Any) -> Published:
    """A healthy member; `changes` go to the published record, or to its observation or broker by name."""
    observation = Observation(
        now=NOW,
        policy=Policy(),
        me=ME,
        instance="i",
        started_at=900.0,
        disk=Disk(True, Marker("id-1", Stage.MEMBER, 1)),
        broker=BrokerState(changes.pop("phase", BrokerPhase.READY), version="3.10.8"),
        store=changes.pop("store", store()),
        store_since=changes.pop("store_since", 900.0),
        store_trouble=changes.pop("store_trouble", ""),
        view=changes.pop("view", View(ALL, ALL)),
    )
    steady = Published(NOW, observation, Decision(990, "nothing to do", state="running"), None, True, True)
    return replace(steady, **changes)


def scene(shown: Published | None, *, age_seconds: float = 0.1, token: bool = True) -> Scene:
    return Scene(settings(token=token), shown, NOW + age_seconds, NOW)
