"""Listening to expired keys on a real server: a hint where Redis sends it, time that passes where it does not."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis_server import RedisServer, free_port, redis_server
from store_bench import announcement, settings_for
from support import wait_until

from rmqcluster.agent.ports import Beat
from rmqcluster.config.settings import Secret, Settings
from rmqcluster.core.actions import StartOperation
from rmqcluster.core.model import OperationKind, Policy
from rmqcluster.errors import StoreRefused, StoreUnavailable
from rmqcluster.store.redis_store import RedisStore

pytestmark = pytest.mark.redis
PASSWORD = "canary-7Zq"
SHORT = StartOperation(OperationKind.GROW, "", 0.3, "ann@host")


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that sends what expires."""
    with redis_server(tmp_path_factory.mktemp("telling"), "--notify-keyspace-events", "Ex") as running:
        yield running


@pytest.fixture
def make_store() -> Iterator[Callable[[Settings], RedisStore]]:
    stores: list[RedisStore] = []

    def make(settings: Settings) -> RedisStore:
        stores.append(RedisStore(settings, node="rabbit@a", instance="i"))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


def listening(store: RedisStore) -> RedisStore:
    assert not store.wait_for_expiry(0.1)
    return store


def test_an_operation_ends_at_its_deadline(telling: RedisServer, make_store):
    """Redis itself takes the record away when its time has come, and the waiter hears of it at once."""
    store = listening(make_store(settings_for(telling.port)))
    assert store.apply(SHORT)
    assert store.snapshot().operation_left_seconds <= 0.3
    asked_at = time.monotonic()
    assert store.wait_for_expiry(20)
    assert time.monotonic() - asked_at < 10
    assert store.read_operation() is None


def test_what_expired_before_the_call_counts(telling: RedisServer, make_store):
    """Nothing is lost between two calls, and what is told once is not told again."""
    store = listening(make_store(settings_for(telling.port)))
    assert store.apply(SHORT)
    wait_until(lambda: store.read_operation() is None, 5, "the operation has expired")
    assert store.wait_for_expiry(5)
    assert not store.wait_for_expiry(0.2)


def test_a_lost_heartbeat_wakes(telling: RedisServer, make_store):
    """The end of a member's heartbeat is such an event."""
    settings = settings_for(telling.port, policy=Policy(heartbeat_seconds=5, ttl_seconds=0.3))
    store = listening(make_store(settings))
    store.beat(Beat(announcement("rabbit@a", "i"), True, False, False))
    assert store.wait_for_expiry(20)


def test_keys_of_others_wake_nobody(telling: RedisServer, make_store):
    """Neither another prefix, nor one that begins with ours, nor another database."""
    settings = settings_for(telling.port)
    store = listening(make_store(settings))
    with telling.admin() as admin, telling.admin(db=1) as elsewhere:
        for client, key in ((admin, "other"), (admin, f"{settings.prefix}2"), (elsewhere, settings.prefix)):
            client.set(key := f"{key}:cluster:operation", "x", px=1)
            wait_until(lambda client=client, key=key: not client.exists(key), 10, "it has expired")
    assert not store.wait_for_expiry(0.3)


def test_the_database_of_the_url_is_listened_to(telling: RedisServer, make_store):
    """In another database than 0 too."""
    settings = settings_for(telling.port)
    url = Secret(f"redis://127.0.0.1:{telling.port}/2")
    store = listening(make_store(replace(settings, redis=replace(settings.redis, url=url))))
    assert store.apply(SHORT)
    assert store.wait_for_expiry(20)


def test_nothing_is_connected_before_the_first_wait(telling: RedisServer, make_store):
    """Who never waits for expiries, such as a command, costs the server no connection for them."""
    store = make_store(settings_for(telling.port))
    with telling.admin() as admin:

        def names() -> set[str]:
            return {one["name"] for one in admin.client_list()}

        store.snapshot()
        assert "rmqcluster-listen-rabbit@a" not in names()
        store.wait_for_expiry(0.05)
        assert "rmqcluster-listen-rabbit@a" in names()


def test_a_silent_server_lets_the_time_pass(server: RedisServer, make_store):
    """A server that sends no events is waited for as long as was asked, and is never set up otherwise."""
    store = make_store(settings_for(server.port))
    assert store.apply(SHORT)
    asked_at = time.monotonic()
    assert not store.wait_for_expiry(0.6)
    assert time.monotonic() - asked_at >= 0.6
    assert store.read_operation() is None
    with server.admin() as admin:
        assert admin.config_get("notify-keyspace-events") == {"notify-keyspace-events": ""}


@pytest.mark.parametrize("rights", [("+@all", "-subscribe", "allchannels"), ("+@all", "resetchannels")])
def test_a_denied_listener_lets_the_time_pass(telling: RedisServer, make_store, rights: tuple[str, ...]):
    """Without the command or the channel no call fails or returns early, and Redis is not asked each time."""
    with telling.admin() as admin:
        admin.execute_command("ACL", "SETUSER", "deaf", "reset", "on", f">{PASSWORD}", "~*", *rights)
        admin.execute_command("ACL", "LOG", "RESET")
        store = make_store(settings_for(telling.port, PASSWORD, user="deaf"))
        for _ in range(3):
            asked_at = time.monotonic()
            assert not store.wait_for_expiry(0.2)
            assert time.monotonic() - asked_at >= 0.2
        assert [entry["count"] for entry in admin.acl_log()] == [1]


def test_a_wrong_login_is_refused(telling: RedisServer, make_store):
    """Listening is refused in the same words as any other call."""
    store = make_store(settings_for(telling.port, "wrong-canary", user="nobody"))
    with pytest.raises(StoreRefused, match="REDIS_PASS") as caught:
        store.wait_for_expiry(5)
    assert "canary" not in str(caught.value)


def test_nobody_there_is_unavailable(make_store):
    """A closed port is told at once."""
    with pytest.raises(StoreUnavailable, match="not reachable"):
        make_store(settings_for(free_port())).wait_for_expiry(5)


def test_a_restarted_server_is_listened_to_again(tmp_path: Path, make_store):
    """A server that ends under a waiter is unavailable; after its return expiries are heard again."""
    first = RedisServer(tmp_path, "--notify-keyspace-events", "Ex")
    first.wait_ready()
    store = listening(make_store(settings_for(first.port)))
    first.stop()
    with pytest.raises(StoreUnavailable, match="not reachable"):
        store.wait_for_expiry(5)
    second = RedisServer(tmp_path, "--notify-keyspace-events", "Ex", "--port", str(first.port), name="second")
    second.port = first.port
    try:
        second.wait_ready()
        assert listening(store).apply(SHORT)
        assert store.wait_for_expiry(20)
    finally:
        second.stop()


def test_trouble_elsewhere_renews_the_listener(telling: RedisServer, make_store):
    """When another call failed, behind the address may be another server: the next wait connects anew."""
    settings = settings_for(telling.port)
    store = listening(make_store(settings))
    with telling.admin() as admin:

        def connected() -> str:
            return next(one["id"] for one in admin.client_list() if one["name"] == "rmqcluster-listen-rabbit@a")

        before = connected()
        assert not store.wait_for_expiry(0.05)
        assert connected() == before
        admin.rpush(f"{settings.prefix}:cluster:members", "x")
        with pytest.raises(StoreUnavailable):
            store.beat(Beat(announcement("rabbit@a", "i"), True, False, False))
        assert not store.wait_for_expiry(0.05)
        assert connected() != before


def test_doctor_learns_whether_expiries_are_told(telling: RedisServer, server: RedisServer, make_store):
    """Whether the server sends such events; unknown where our account may not ask."""
    assert make_store(settings_for(telling.port)).ping_facts().expiry_events is True
    assert make_store(settings_for(server.port)).ping_facts().expiry_events is False
    with telling.admin() as admin:
        admin.execute_command("ACL", "SETUSER", "mute", "reset", "on", f">{PASSWORD}", "~*", "+@all", "-config")
    assert make_store(settings_for(telling.port, PASSWORD, user="mute")).ping_facts().expiry_events is None
