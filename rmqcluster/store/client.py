"""Connections to Redis: address, credentials, TLS, Sentinel, deadlines; and what its errors mean.

Nothing is retried here: the next step of the caller is the retry. A connection that timed out is closed, so a
late reply can never be taken for the answer to another question.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.retry import Retry
from redis.sentinel import Sentinel

from rmqcluster.config.settings import RedisSettings, Settings
from rmqcluster.errors import StoreRefused, StoreUnavailable

REPLY_SECONDS_MAX = 2.5
_SENTINEL = ("redis+sentinel", "rediss+sentinel")


class FreshCredentials(CredentialProvider):
    """Reads the password file at every new connection: a rotated password needs no restart."""

    def __init__(self, redis_settings: RedisSettings) -> None:
        self._settings = redis_settings

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        settings = self._settings
        password = settings.password.value if settings.password else ""
        if settings.password_file is not None:
            try:
                password = settings.password_file.read_text().removesuffix("\n")
            except OSError as error:
                raise redis.ConnectionError(f"REDIS_PASS_FILE cannot be read: {error.strerror}") from error
        return (settings.user, password) if settings.user else (password,)


def reply_seconds(settings: Settings) -> float:
    """A call to Redis ends within half a heartbeat, whatever happens."""
    return min(settings.policy.heartbeat_seconds / 2, REPLY_SECONDS_MAX)


def connect(settings: Settings, *, name: str, seconds: float) -> "redis.Redis":
    """A client whose every call ends within about `seconds`; nothing is sent before the first call."""
    common: dict[str, Any] = {
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "socket_keepalive": True,
        "decode_responses": True,
        "client_name": name,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "encoding_errors": "backslashreplace",
    }
    given = settings.redis
    if given.url is not None and urlsplit(given.url.value).scheme in _SENTINEL:
        return _by_sentinel(given.url.value, common)
    if given.url is not None:
        client: redis.Redis = redis.Redis.from_url(given.url.value, **common)
        return client
    if given.password is not None or given.password_file is not None:
        common["credential_provider"] = FreshCredentials(given)
    return redis.Redis(host=given.host, port=given.port, **common)


def _by_sentinel(url: str, common: dict[str, Any]) -> "redis.Redis":
    """`redis+sentinel://user:password@host1:26379,host2:26379/service`; rediss+sentinel for TLS."""
    scheme, _, rest = url.partition("://")
    credentials, _, places = rest.rpartition("@")
    hosts, _, service = places.partition("/")
    user, _, password = credentials.partition(":")
    addresses = []
    for place in hosts.split(","):
        host, _, port = place.partition(":")
        addresses.append((host, int(port or 26379)))
    options = dict(common)
    if scheme == "rediss+sentinel":
        options["ssl"] = True
    sentinel = Sentinel(addresses, sentinel_kwargs=dict(options), **options)
    if password:
        options["password"] = unquote(password)
    if user:
        options["username"] = unquote(user)
    client: redis.Redis = sentinel.master_for(service.split("?")[0] or "mymaster", **options)
    return client


@contextmanager
def translated(address: str) -> Iterator[None]:
    """Redis errors as ours; the message never carries credentials."""
    try:
        yield
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
        raise StoreRefused(
            f"Redis at {address} refuses us: {_plain(error)}; check REDIS_USER and REDIS_PASS (or REDIS_PASS_FILE)"
        ) from None
    except redis.TimeoutError:
        raise StoreUnavailable(f"Redis at {address} did not answer in time") from None
    except redis.exceptions.ReadOnlyError:
        raise StoreRefused(f"Redis at {address} is a read-only replica; point REDIS_HOST at the master") from None
    except redis.ConnectionError as error:
        raise StoreUnavailable(f"Redis at {address} is not reachable: {_plain(error)}") from None
    except redis.ResponseError as error:
        words = _plain(error)
        if "NOAUTH" in words or "WRONGPASS" in words or "NOPERM" in words or "ACL failure" in words:
            raise StoreRefused(f"Redis at {address} refuses us: {words}; check REDIS_USER and REDIS_PASS") from None
        if "READONLY" in words:
            raise StoreRefused(f"Redis at {address} is a read-only replica; point REDIS_HOST at the master") from None
        raise StoreUnavailable(f"Redis at {address} answered with an error: {words}") from None
    except redis.RedisError as error:
        raise StoreUnavailable(f"Redis at {address}: {_plain(error)}") from None


def _plain(error: Exception) -> str:
    text = str(error).split("\n", 1)[0]
    return "".join(c if c.isprintable() else "?" for c in text)[:200] or type(error).__name__
