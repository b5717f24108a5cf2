"""The store and a real redis-server that is slow, gone, full, read-only or unwilling; and what it is asked."""

import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis_server import RedisServer, free_port, redis_server
from store_bench import Member, RedisBench, settings_for
from support import wait_until

from rmqcluster.agent.ports import Event
from rmqcluster.config.settings import Secret, Settings
from rmqcluster.core.actions import TakeLease
from rmqcluster.core.model import Policy
from rmqcluster.errors import StoreRefused, StoreUnavailable
from rmqcluster.store.redis_store import RedisStore

pytestmark = pytest.mark.redis
PASSWORD = "canary-7Zq"
QUICK = Policy(heartbeat_seconds=2, ttl_seconds=6)


@pytest.fixture
def make_store() -> Iterator[object]:
    stores: list[RedisStore] = []

    def make(settings: Settings, instance: str = "i") -> RedisStore:
        stores.append(RedisStore(settings, node="rabbit@a", instance=instance))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that wants a password."""
    with redis_server(tmp_path_factory.mktemp("guarded"), "--requirepass", PASSWORD) as running:
        yield running


def with_redis(settings: Settings, **changes: object) -> Settings:
    return replace(settings, redis=replace(settings.redis, **changes))


def test_values_end_with_their_time(server: RedisServer, make_store):
    """Heartbeat, announcement and lease are gone after the TTL, by Redis's own doing."""
    settings = settings_for(server.port, policy=Policy(heartbeat_seconds=5, ttl_seconds=2))
    raw = server.admin()
    member = Member(RedisBench(raw, settings, None), "a")
    member.beat(registered=True)
    assert member.store.apply(TakeLease(0))
    assert member.store.snapshot().next_expiry_seconds <= 2
    wait_until(lambda: member.store.snapshot().lease is None, 10, "the lease has ended")
    view = member.store.snapshot()
    assert (view.heartbeats, view.announcements, view.members) == ({}, {}, {"rabbit@a"})
    assert view.owner is not None
    member.store.close()
    raw.close()


def test_beats_extend_only_what_is_kept(server: RedisServer):
    """A lease that its holder keeps outlives the TTL; one that it does not keep ends."""
    settings = settings_for(server.port, policy=Policy(heartbeat_seconds=5, ttl_seconds=1.5))
    raw = server.admin()
    bench = RedisBench(raw, settings, None)
    member = Member(bench, "a")
    assert member.store.apply(TakeLease(0))
    until = time.monotonic() + 2.0

    def kept() -> bool:
        member.beat(keep_lease=True)
        assert member.store.read_lease() is not None
        return time.monotonic() > until

    wait_until(kept, 10, "a lease is kept beyond its TTL")
    bench.close()


def test_a_wrong_password_is_refused_without_showing_it(guarded: RedisServer, make_store):
    """The login is refused at once, the message tells the mend and neither password."""
    settings = settings_for(guarded.port, "wrong-canary")
    with pytest.raises(StoreRefused, match="REDIS_PASS") as caught:
        make_store(settings).snapshot()
    assert "canary" not in str(caught.value)
    assert f"127.0.0.1:{guarded.port}" in str(caught.value)
    assert caught.value.__cause__ is None


def test_no_password_is_refused(guarded: RedisServer, make_store):
    """A server that wants a password refuses who gives none, and says so."""
    with pytest.raises(StoreRefused, match="refuses the login"):
        make_store(settings_for(guarded.port)).snapshot()


def test_the_right_password_is_taken(guarded: RedisServer, make_store):
    """With the password there is nothing to warn of."""
    assert make_store(settings_for(guarded.port, PASSWORD)).snapshot().warnings == ()


def test_credentials_in_a_url(guarded: RedisServer, make_store):
    """REDIS_URL carries the login, percent-encoded, and never gets into a message."""
    good = with_redis(settings_for(1), url=Secret(f"redis://:{PASSWORD}@127.0.0.1:{guarded.port}/0"))
    assert make_store(good).snapshot().warnings == ()
    bad = with_redis(settings_for(1), url=Secret(f"redis://me:wrong%2Dcanary@127.0.0.1:{guarded.port}"))
    with pytest.raises(StoreRefused) as caught:
        make_store(bad).snapshot()
    assert "canary" not in str(caught.value)


def test_a_rotated_password_needs_no_restart(tmp_path: Path, make_store):
    """The password file is read again at each new connection."""
    secret = tmp_path / "secret"
    secret.write_text("first\n")
    secret.chmod(0o600)
    with redis_server(tmp_path, "--requirepass", "first") as running:
        settings = with_redis(settings_for(running.port), password=Secret("first"), password_file=secret)
        store = make_store(settings)
        store.snapshot()
        with running.admin(password="first") as admin:
            admin.config_set("requirepass", "second")
            admin.execute_command("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES")
        with pytest.raises(StoreRefused):
            store.snapshot()
        secret.write_text("second\n")
        store.snapshot()


def test_a_password_file_that_cannot_be_read_any_more_keeps_its_word(tmp_path: Path, make_store):
    """What root read before it stepped down goes on to count; without such a word the file is named."""
    gone = tmp_path / "gone"
    with redis_server(tmp_path, "--requirepass", "first") as running:
        kept = with_redis(settings_for(running.port), password=Secret("first"), password_file=gone)
        make_store(kept).snapshot()
        never = with_redis(settings_for(running.port), password_file=gone)
        with pytest.raises(StoreRefused, match=r"REDIS_PASS_FILE.*does not exist"):
            make_store(never).snapshot()


def test_a_missing_permission_is_refused(guarded: RedisServer, make_store):
    """A user without the rights is told what Redis denies."""
    with guarded.admin(password=PASSWORD) as admin:
        admin.execute_command("ACL", "SETUSER", "poor", "on", f">{PASSWORD}", "~nothing:*", "+@all")
    with pytest.raises(StoreRefused, match=r"denies a command or key.*grant"):
        make_store(settings_for(guarded.port, PASSWORD, user="poor")).snapshot()


def test_a_server_that_asks_nobody_is_a_warning(server: RedisServer, make_store):
    """A password is configured, the server answers without one: it works, and every reading warns."""
    warnings = make_store(settings_for(server.port, PASSWORD)).snapshot().warnings
    assert len(warnings) == 1
    assert "without a password" in warnings[0]


def test_an_evicting_policy_is_a_warning(tmp_path: Path, make_store):
    """A server that may evict our keys is told in every reading, though it is looked up rarely."""
    with redis_server(tmp_path, "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru") as running:
        store = make_store(settings_for(running.port))
        for _ in range(2):
            warnings = store.snapshot().warnings
            assert len(warnings) == 1
            assert "allkeys-lru" in warnings[0]


def test_nobody_there_is_unavailable(make_store):
    """A closed port and a name that does not exist are unavailable, with address and mend."""
    port = free_port()
    with pytest.raises(StoreUnavailable, match=rf"127.0.0.1:{port} is not reachable.*check") as caught:
        make_store(settings_for(port)).snapshot()
    assert not isinstance(caught.value, StoreRefused)
    with pytest.raises(StoreUnavailable, match="not reachable"):
        make_store(with_redis(settings_for(port), host="no-such-host.invalid")).snapshot()
    with pytest.raises(StoreUnavailable, match="malformed"):
        make_store(with_redis(settings_for(port), host="x" * 80)).snapshot()


def test_a_frozen_server_is_unavailable_in_time(tmp_path: Path, make_store):
    """No call waits longer than half a heartbeat for a reply; after the thaw the next call works."""
    with redis_server(tmp_path) as running:
        settings = settings_for(running.port, policy=QUICK)
        warm, cold = make_store(settings), make_store(settings)
        warm.snapshot()
        running.freeze()
        for store in (warm, cold):
            asked_at = time.monotonic()
            with pytest.raises(StoreUnavailable, match="in time"):
                store.snapshot()
            assert 0.5 < time.monotonic() - asked_at < 2
        running.thaw()
        for store in (warm, cold):
            wait_until(lambda store=store: answers(store), 5, "the store works again")


def test_a_late_reply_answers_nothing_else(tmp_path: Path, make_store):
    """The reply to a question that timed out is never taken for the answer to the next one."""
    with redis_server(tmp_path) as running:
        store = make_store(settings_for(running.port, policy=QUICK))
        store.record_event(Event("a", "k", "t"))
        running.freeze()
        with pytest.raises(StoreUnavailable):
            store.recent_events(1)
        running.thaw()
        wait_until(lambda: answers(store), 5, "the store works again")
        assert store.read_lease() is None
        assert len(store.recent_events(5)) == 1


def test_a_restarted_server_costs_at_most_one_call(tmp_path: Path, make_store):
    """Connections that died while idle, and scripts that the server lost, are replaced without trouble."""
    first = RedisServer(tmp_path)
    first.wait_ready()
    store = make_store(settings_for(first.port))
    store.snapshot()
    first.stop()
    second = RedisServer(tmp_path, "--port", str(first.port), name="second")
    second.port = first.port
    try:
        second.wait_ready()
        wait_until(lambda: answers(store), 2, "the store works again")
        assert store.apply(TakeLease(0))
    finally:
        second.stop()


def test_lost_scripts_are_sent_again(server: RedisServer, make_store):
    """SCRIPT FLUSH costs nothing but a second try in the same call."""
    store = make_store(settings_for(server.port))
    store.snapshot()
    with server.admin() as admin:
        admin.script_flush()
    assert store.apply(TakeLease(0))


def test_a_replica_is_unavailable_for_writes(tmp_path: Path, make_store, server: RedisServer):
    """A read-only replica can be read; a write says what it is. It is trouble, not a refusal: it passes."""
    options = ("--replicaof", "127.0.0.1", str(server.port))
    with redis_server(tmp_path, *options) as replica:
        store = make_store(settings_for(replica.port))
        assert store.snapshot().members == frozenset()
        with pytest.raises(StoreUnavailable, match="read-only replica") as caught:
            store.apply(TakeLease(0))
        assert not isinstance(caught.value, StoreRefused)


def test_a_full_server_can_be_read_and_left(tmp_path: Path, make_store):
    """Out of memory no beat is written, but readings and what only deletes go on."""
    with redis_server(tmp_path, "--maxmemory", "1", "--maxmemory-policy", "noeviction") as running:
        store = make_store(settings_for(running.port))
        assert store.snapshot().epoch == 0
        store.clear()
        with pytest.raises(StoreUnavailable, match="out of memory") as caught:
            store.apply(TakeLease(0))
        assert not isinstance(caught.value, StoreRefused)


def test_a_key_of_another_type_stops_the_write_with_words(server: RedisServer, make_store):
    """A beat into a spoiled set says what is wrong and what to do."""
    settings = settings_for(server.port)
    with server.admin() as admin:
        admin.rpush(f"{settings.prefix}:cluster:members", "x")
        bench = RedisBench(admin, settings, None)
        member = Member(bench, "a")
        with pytest.raises(StoreUnavailable, match=r"another type.*delete"):
            member.beat(registered=True)
        bench.close()


def test_waiting_ends_with_an_event_or_in_time(server: RedisServer, make_store):
    """A waiter gets events in order from its last one on, and an empty answer when the time is over."""
    settings = settings_for(server.port)
    store, other = make_store(settings), make_store(settings, "j")
    asked_at = time.monotonic()
    assert store.wait_for_event("$", 0.1) == []
    assert 0.08 < time.monotonic() - asked_at < 1
    for number in range(3):
        other.record_event(Event("a", "k", str(number)))
    first = other.recent_events(3)[0]
    assert [event.text for event in store.wait_for_event(first.id, 5)] == ["1", "2"]
    last = store.recent_events(1)[0]
    assert store.wait_for_event(last.id, 0.05) == []


def test_history_is_capped(server: RedisServer, make_store):
    """The stream keeps about a thousand events however many are written."""
    store = make_store(settings_for(server.port))
    for number in range(1300):
        store.record_event(Event("a", "k", str(number)))
    events = store.recent_events(5000)
    assert 1000 <= len(events) <= 1150
    assert events[-1].text == "1299"


def test_connections_tell_who_they_are(server: RedisServer, make_store):
    """CLIENT LIST shows each member by its node name."""
    make_store(settings_for(server.port)).snapshot()
    with server.admin() as admin:
        assert "rmqcluster-rabbit@a" in {client["name"] for client in admin.client_list()}


def test_facts_for_doctor(guarded: RedisServer, server: RedisServer, make_store):
    """Version, role, policy, persistence, whether it asks for a password, and its clock."""
    facts = make_store(settings_for(guarded.port, PASSWORD)).ping_facts()
    assert (facts.role, facts.eviction_policy, facts.appends, facts.asks_password) == (
        "master",
        "noeviction",
        False,
        True,
    )
    assert facts.version[0].isdigit()
    assert abs(facts.clock_offset_seconds) < 1 > facts.reply_seconds > 0
    assert make_store(settings_for(server.port)).ping_facts().asks_password is False


def test_a_silent_listener_is_unavailable_in_time(make_store):
    """A port that takes connections and never says a word ends in time too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = settings_for(listener.getsockname()[1], PASSWORD, policy=QUICK)
        asked_at = time.monotonic()
        with pytest.raises(StoreUnavailable, match="in time"):
            make_store(settings).snapshot()
        assert time.monotonic() - asked_at < 2


def answers(store: RedisStore) -> bool:
    try:
        store.snapshot()
    except StoreUnavailable:
        return False
    return True
