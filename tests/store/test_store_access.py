"""The access list: the commands that are named are enough, and each of them is needed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis_server import RedisServer, redis_server
from store_bench import announcement, settings_for

from rmqcluster.agent.ports import Beat, Event
from rmqcluster.config.settings import Settings
from rmqcluster.core import actions as a
from rmqcluster.core.model import OperationKind, Policy
from rmqcluster.errors import StoreRefused, StoreUnavailable
from rmqcluster.store.keys import CHANNELS, COMMANDS
from rmqcluster.store.redis_store import RedisStore

pytestmark = pytest.mark.redis
PASSWORD = "node-password"
ALONE = Policy(size=1)
HEARING = "subscribe"


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server whose default user is off; `admin` may do everything."""
    directory: Path = tmp_path_factory.mktemp("acl")
    users = directory / "users.acl"
    users.write_text(f"user default off\nuser admin on >{PASSWORD} ~* &* +@all\n")
    with redis_server(directory, "--aclfile", str(users), "--notify-keyspace-events", "Ex") as running:
        yield running


def allow(server: RedisServer, prefix: str, commands: tuple[str, ...], channels: tuple[str, ...] = CHANNELS) -> None:
    with server.admin(username="admin", password=PASSWORD) as admin:
        admin.execute_command(
            *("ACL", "SETUSER", "node", "reset", "on", f">{PASSWORD}", f"~{prefix}:*", "-@all", "resetchannels"),
            *(f"&{channel}" for channel in channels),
            *(f"+{command}" for command in commands),
        )
        admin.script_flush()


def hears(settings: Settings) -> bool:
    """Does it hear that a key has expired?"""
    store = RedisStore(settings, node="rabbit@a", instance="i")
    try:
        store.wait_for_expiry(0.1)
        store.pause("test", 0.2)
        return store.wait_for_expiry(2)
    finally:
        store.close()


def live(settings: Settings) -> tuple[str, ...]:
    """One of each thing that the code asks of Redis; the warnings of the last reading."""
    store = RedisStore(settings, node="rabbit@a", instance="i")
    other = RedisStore(settings, node="rabbit@b", instance="j")
    try:
        for one, name, instance in ((store, "rabbit@a", "i"), (other, "rabbit@b", "j")):
            one.beat(Beat(announcement(name, instance), True, False, False))
        assert store.apply(a.ClaimFounding())
        store.beat(Beat(announcement("rabbit@a", "i", beat_sequence=2), True, False, True))
        assert store.apply(a.OfferFounder("rabbit@a"))
        assert store.apply(a.AbandonClaim("test"))
        assert store.apply(a.RestoreRecord("c1", 1, None))
        assert store.apply(a.TakeOwnership("i"))
        assert store.apply(a.TakeLease(0))
        store.beat(Beat(announcement("rabbit@a", "i", beat_sequence=3), True, True, False))
        epoch = store.snapshot().epoch
        assert store.apply(a.SetMaster("rabbit@a", "rabbit@a", epoch, "test"))
        assert other.apply(a.Leave(final=True))
        assert store.apply(a.RemoveMember("rabbit@b", epoch, "test"))
        assert store.apply(a.ForgetName("rabbit@b", epoch))
        assert store.apply(a.StartOperation(OperationKind.FORGET, "rabbit@b", 60.0, "test"))
        operation = store.read_operation()
        assert operation is not None
        assert store.apply(a.EndOperation(operation, "done", "test"))
        assert store.read_lease() is not None
        store.record_event(Event("rabbit@a", "k", "t"))
        assert len(store.recent_events(1)) == 1
        store.wait_for_event("0", 0.01)
        store.pause("test", 60)
        store.resume()
        assert store.ping_facts().asks_password
        warnings = store.snapshot().warnings
        assert store.apply(a.ReleaseLease("test"))
        store.apply(a.Leave(final=True))
        store.clear()
        assert store.clear_identity("c1") == ()
        return warnings
    finally:
        store.close()
        other.close()


def test_the_named_commands_are_enough(listed: RedisServer):
    """With `default off` and exactly these commands on our keys everything works, without a warning."""
    settings = settings_for(listed.port, PASSWORD, user="node", policy=ALONE)
    allow(listed, settings.prefix, COMMANDS)
    assert live(settings) == ()
    assert hears(settings)


@pytest.mark.parametrize("command", [one for one in COMMANDS if one != HEARING])
def test_each_named_command_is_needed(listed: RedisServer, command: str):
    """Without any one of them something is refused: the list holds nothing more than the code needs."""
    settings = settings_for(listed.port, PASSWORD, user="node", policy=ALONE)
    allow(listed, settings.prefix, tuple(one for one in COMMANDS if one != command))
    with pytest.raises(StoreRefused, match="denies a command or key"):
        live(settings)


@pytest.mark.parametrize(("commands", "channels"), [(set(COMMANDS) - {HEARING}, CHANNELS), (set(COMMANDS), ())])
def test_hearing_of_expiries_is_needed_for_nothing_else(
    listed: RedisServer, commands: set[str], channels: tuple[str, ...]
):
    """Without SUBSCRIBE or its channel expiries are not heard, and nothing is refused."""
    settings = settings_for(listed.port, PASSWORD, user="node", policy=ALONE)
    allow(listed, settings.prefix, tuple(commands), channels)
    assert live(settings) == ()
    assert not hears(settings)


def test_keys_of_others_are_out_of_reach(listed: RedisServer):
    """The same user under another prefix is refused, inside scripts too."""
    settings = settings_for(listed.port, PASSWORD, user="node", policy=ALONE)
    allow(listed, "elsewhere", COMMANDS)
    with pytest.raises(StoreUnavailable):
        live(settings)
