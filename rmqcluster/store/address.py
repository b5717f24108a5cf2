"""Where Redis is and how it is entered: settings or `REDIS_URL` read into one record, checked.

`redis://[user:password@]host[:port][/db]`, the same with `rediss://` for TLS, and
`redis+sentinel://[user:password@]host1[:26379],host2[:26379]/service[/db]`. After a `?`: `ssl_ca_certs`,
`ssl_certfile`, `ssl_keyfile` (paths), and for Sentinel `tls=true`, `sentinel_username`, `sentinel_password`.
Certificates and host names are always verified; there is no way to switch that off.
"""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from rmqcluster.config.settings import RedisSettings, Secret
from rmqcluster.errors import ConfigurationError

REDIS_PORT = 6379
SENTINEL_PORT = 26379
TLS_OPTIONS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
SENTINEL_OPTIONS = frozenset({"tls", "sentinel_username", "sentinel_password"})


@dataclass(frozen=True, slots=True)
class Login:
    """A user and a password; `password_file` is read again at every connection and wins."""

    user: str | None = None
    password: Secret | None = None
    password_file: Path | None = None

    def __bool__(self) -> bool:
        return bool(self.password) or self.password_file is not None


@dataclass(frozen=True, slots=True)
class Address:
    """One Redis, or the Sentinels (`service` given) that know which Redis it is."""

    places: tuple[tuple[str, int], ...]
    login: Login = Login()
    service: str | None = None
    sentinel_login: Login = Login()
    tls: bool = False
    tls_files: dict[str, str] = field(default_factory=dict)
    database: int = 0


def read_address(settings: RedisSettings) -> Address:
    """Raises ConfigurationError that names the part of REDIS_URL that is wrong, never the URL."""
    if settings.url is None:
        login = Login(settings.user, settings.password, settings.password_file)
        return Address(((settings.host, settings.port),), login)
    try:
        parts = urlsplit(settings.url.value)
    except ValueError:
        raise _wrong("it is not a URL") from None
    if parts.scheme == "redis+sentinel":
        return _sentinels(parts)
    if parts.scheme not in ("redis", "rediss"):
        raise _wrong("it must begin with redis://, rediss:// or redis+sentinel://")
    options = _options(parts, TLS_OPTIONS if parts.scheme == "rediss" else frozenset())
    return Address(
        _places(parts, REDIS_PORT)[:1],
        _login(parts),
        tls=parts.scheme == "rediss",
        tls_files=options,
        database=_database(parts.path.strip("/")),
    )


def _sentinels(parts: SplitResult) -> Address:
    options = _options(parts, TLS_OPTIONS | SENTINEL_OPTIONS)
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise _wrong("the name of the Sentinel service is missing after the hosts, as in /mymaster")
    password = options.pop("sentinel_password", "")
    login = Login(options.pop("sentinel_username", None), Secret(password) if password else None)
    tls = options.pop("tls", "false")
    if tls not in ("true", "false"):
        raise _wrong("tls must be true or false")
    return Address(
        _places(parts, SENTINEL_PORT),
        _login(parts),
        service=service,
        sentinel_login=login,
        tls=tls == "true",
        tls_files=options,
        database=_database(database),
    )


def _places(parts: SplitResult, port: int) -> tuple[tuple[str, int], ...]:
    found = []
    for place in parts.netloc.rpartition("@")[2].split(","):
        try:
            one = urlsplit(f"//{place}")
            found.append((one.hostname or "", one.port or port))
        except ValueError:
            raise _wrong("a host or port is malformed") from None
        if not found[-1][0]:
            raise _wrong("the host is missing")
    return tuple(found)


def _login(parts: SplitResult) -> Login:
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    return Login(unquote(user) or None, Secret(unquote(password)) if password else None)


def _options(parts: SplitResult, allowed: frozenset[str]) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not options.keys() <= allowed:
        known = ", ".join(sorted(allowed)) or "none"
        raise _wrong(f"it has an option that is not known; known with this scheme: {known}")
    return options


def _database(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise _wrong("the database after the host must be a number")
    return int(text)


def _wrong(what: str) -> ConfigurationError:
    return ConfigurationError(f"REDIS_URL: {what}")
