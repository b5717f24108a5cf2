"""Connections to Redis: credentials, TLS, Sentinel, and a limit on every wait.

Nothing is retried here: the next round of the caller is the retry. A connection that timed out is closed by
redis-py, so a late reply can never be taken for the answer to another question.
"""

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from rmqcluster.config.secrets import read_secret_file
from rmqcluster.config.settings import Settings
from rmqcluster.store.address import Address, Login, read_address
from rmqcluster.store.trouble import PasswordUnreadable

REPLY_SECONDS_MAX = 2.5
SENTINEL_SECONDS_MIN = 0.2


class FreshLogin(CredentialProvider):
    """Reads the password file at every new connection, so that a rotated password needs no restart.

    A file that only root may read was read at the start; after stepping down that password goes on to count.
    """

    def __init__(self, login: Login) -> None:
        self._login = login

    def get_credentials(self) -> tuple[str, str]:
        # The user is always named: a bare AUTH fails on a server that has no password, and that only deserves
        # a warning. Redis older than 6 takes no user; redis-py then falls back to the password alone.
        user = self._login.user or "default"
        if self._login.password_file is None:
            return user, self._login.password.value if self._login.password else ""
        try:
            password, _ = read_secret_file(self._login.password_file)
        except ValueError as error:
            if self._login.password is not None:
                return user, self._login.password.value
            raise PasswordUnreadable(f"REDIS_PASS_FILE: {error}") from None
        return user, password


def reply_seconds(settings: Settings) -> float:
    """How long one reply may take: half a heartbeat, at most 2.5 s."""
    return min(settings.policy.heartbeat_seconds / 2, REPLY_SECONDS_MAX)


def connect(settings: Settings, name: str, seconds: float) -> "redis.Redis":
    """A client that waits at most `seconds` for a connection and for each reply; nothing is sent yet.

    Raises ConfigurationError for a malformed URL.
    """
    address = read_address(settings.redis)
    limit = reply_seconds(settings)
    options = _options(address, name, seconds, limit)
    if address.service is not None:
        return redis.Redis.from_pool(_sentinel_pool(address, options, limit))
    host, port = address.places[0]
    kind = redis.SSLConnection if address.tls else redis.Connection
    return redis.Redis.from_pool(redis.ConnectionPool(connection_class=kind, host=host, port=port, **options))


def gives_login(settings: Settings) -> bool:
    """Is a password configured?"""
    return bool(read_address(settings.redis).login)


def answers_anybody(settings: Settings) -> bool | None:
    """Does Redis answer a client that gives no password? None when that cannot be told."""
    address = read_address(settings.redis)
    if address.service is not None:
        return None
    host, port = address.places[0]
    limit = reply_seconds(settings)
    kind = redis.SSLConnection if address.tls else redis.Connection
    options = _options(Address(address.places, tls=address.tls, tls_files=address.tls_files), "", limit, limit)
    stranger = redis.Redis.from_pool(redis.ConnectionPool(connection_class=kind, host=host, port=port, **options))
    try:
        stranger.ping()
    except (redis.AuthenticationError, redis.ResponseError):
        return False
    except redis.RedisError:
        return None
    finally:
        stranger.close()
    return True


def _options(address: Address, name: str, seconds: float, connect_seconds: float) -> dict[str, Any]:
    options: dict[str, Any] = {
        "db": address.database,
        "protocol": 2,  # the same on every version of Redis
        "socket_timeout": seconds,
        "socket_connect_timeout": connect_seconds,
        "socket_keepalive": True,
        "decode_responses": True,
        "encoding_errors": "backslashreplace",  # bytes that are no text must not end a reading
        "client_name": name,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        **_without_library_name(),
    }
    if address.login:
        options["credential_provider"] = FreshLogin(address.login)
    if address.tls:
        options |= {"ssl_cert_reqs": "required", "ssl_check_hostname": True, **address.tls_files}
    return options


def _without_library_name() -> dict[str, None]:
    """Each connection would also tell the client library's name and version: two more round trips."""
    if hasattr(redis, "DriverInfo"):
        return {"driver_info": None}
    return {"lib_name": None, "lib_version": None}


def _sentinel_pool(address: Address, options: dict[str, Any], limit: float) -> SentinelConnectionPool:
    # All Sentinels are asked one after the other when the first are dead; together they get one reply's time.
    each = max(SENTINEL_SECONDS_MIN, limit / len(address.places))
    own = {**options, "db": 0, "socket_timeout": each, "socket_connect_timeout": each, "client_name": None}
    own.pop("credential_provider", None)
    if address.sentinel_login:
        own["credential_provider"] = FreshLogin(address.sentinel_login)
    if address.tls:
        own["ssl"] = True
    own.pop("driver_info", None)
    sentinel: Any = Sentinel  # untyped in redis-py
    manager = sentinel(address.places, sentinel_kwargs=own)
    pool: Any = SentinelConnectionPool
    found: SentinelConnectionPool = pool(address.service, manager, ssl=address.tls, **options)
    return found
