"""What `doctor` looks at. Each look is bounded in time and yields findings; a wrong one carries its mend."""

import os
import platform
import socket
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

from rmqcluster.broker.account import cookie_fingerprint
from rmqcluster.broker.version import find_scripts
from rmqcluster.cli.gather import NoAnswer, fetch
from rmqcluster.config.settings import Settings
from rmqcluster.core.model import StoreView
from rmqcluster.core.status import shown
from rmqcluster.errors import ConfigurationError, StoreRefused, StoreUnavailable
from rmqcluster.store.facts import ServerFacts
from rmqcluster.store.redis_store import RedisStore

RESOLVE_SECONDS = 3.0
CONNECT_SECONDS = 1.0
LATENCY_SECONDS_MAX = 0.1
CLOCK_SECONDS_MAX = 2.0
EPMD_PORT = 4369


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"  # unwise, works
    WRONG = "wrong"
    UNKNOWN = "unknown"  # could not be looked at


@dataclass(frozen=True, slots=True)
class Finding:
    about: str
    level: Level
    found: str
    mend: str = ""


def configuration(settings: Settings) -> Iterator[Finding]:
    for warning in settings.warnings:
        yield Finding("configuration", Level.WARN, warning)
    yield Finding(
        "configuration",
        Level.OK,
        f"size {settings.policy.size}, heartbeat {settings.policy.heartbeat_seconds:g} s, "
        f"TTL {settings.policy.ttl_seconds:g} s, prefix {settings.prefix}",
    )


def redis_server(store: RedisStore, settings: Settings) -> Iterator[Finding]:
    """Reachability first; without it nothing else of Redis can be judged."""
    address = settings.redis.address
    try:
        facts = store.ping_facts()
    except StoreRefused as error:
        yield Finding("redis", Level.WRONG, str(error), "mend REDIS_USER and REDIS_PASS, or the ACL of that user")
        return
    except StoreUnavailable as error:
        mend = "start Redis, or mend REDIS_HOST, REDIS_PORT or REDIS_URL; running brokers need nothing"
        yield Finding("redis", Level.WRONG, str(error), mend)
        return
    yield Finding("redis", Level.OK, f"{address} answers, version {shown(facts.version)}")
    if facts.role != "master":
        mend = "point REDIS_HOST at the master, or use Sentinel in REDIS_URL"
        yield Finding(
            "redis role", Level.WRONG, f"{address} is no master ({shown(facts.role)}): it takes no writes", mend
        )
    yield _eviction(facts.eviction_policy)
    if facts.asks_password is False:
        mend = "set requirepass or ACL users in Redis, and REDIS_PASS_FILE here"
        yield Finding("redis auth", Level.WARN, "lets everybody in without a password", mend)
    else:
        known = facts.asks_password is True
        words = "asks for a password" if known else "could not be found out"
        yield Finding("redis auth", Level.OK if known else Level.UNKNOWN, words)
    yield _persistence(facts)
    yield _bounded("redis latency", facts.reply_seconds, LATENCY_SECONDS_MAX, "put Redis nearer, or relieve it")
    offset = abs(facts.clock_offset_seconds)
    yield _bounded("clock", offset, CLOCK_SECONDS_MAX, "run NTP on this host and on Redis'; only shown times suffer")


def _eviction(policy: str | None) -> Finding:
    if policy is None:
        return Finding("redis eviction", Level.UNKNOWN, "Redis does not tell its maxmemory-policy")
    if policy == "noeviction":
        return Finding("redis eviction", Level.OK, "noeviction")
    found = f"maxmemory-policy {shown(policy)} can evict the coordination keys"
    return Finding("redis eviction", Level.WRONG, found, "set maxmemory-policy noeviction in Redis' configuration")


def _persistence(facts: ServerFacts) -> Finding:
    if facts.save_failed:
        mend = "look at Redis' log: often its disk is full or its directory not writable"
        return Finding("redis persistence", Level.WARN, "the last save or append failed", mend)
    if facts.appends is None:
        return Finding("redis persistence", Level.UNKNOWN, "Redis does not tell")
    words = "append-only file" if facts.appends else "no append-only file; lost keys are rebuilt from the brokers"
    return Finding("redis persistence", Level.OK, words)


def _bounded(about: str, seconds: float, most: float, mend: str) -> Finding:
    if seconds <= most:
        return Finding(about, Level.OK, f"{seconds * 1000:.0f} ms")
    return Finding(about, Level.WARN, f"{seconds * 1000:.0f} ms, more than {most * 1000:.0f} ms", mend)


def peers(view: StoreView | None, settings: Settings) -> Iterator[Finding]:
    """Names of the members resolve; cookies and versions agree."""
    if view is None:
        yield Finding("peers", Level.UNKNOWN, "Redis does not say who they are")
        return
    names = sorted(view.members | set(view.announcements) | {settings.node})
    hosts = sorted({name.partition("@")[2] for name in names} - {""})
    for host, address in zip(hosts, _resolve(hosts), strict=True):
        if address is None:
            mend = "mend DNS: same network, same name? Swarm publishes a task's name once it is healthy"
            yield Finding("dns", Level.WRONG, f"{shown(host)} does not resolve here", mend)
        else:
            yield Finding("dns", Level.OK, f"{shown(host)} is {shown(address)}")
    said = view.announcements.values()
    prints = {one.cookie for one in said if one.cookie}
    if settings.cookie:
        prints.add(cookie_fingerprint(settings.cookie))
    if len(prints) > 1:
        mend = "give every node the same RABBITMQ_ERLANG_COOKIE and restart those that differ"
        yield Finding("cookie", Level.WRONG, "not the same on all members and here", mend)
    versions = sorted({one.version for one in said if one.version})
    if versions:
        level = Level.OK if len(versions) == 1 else Level.WARN
        mend = "" if level is Level.OK else "finish the upgrade: mixed versions are for its duration only"
        yield Finding("rabbitmq", level, f"members run {', '.join(map(shown, versions))}", mend)


def _resolve(hosts: list[str]) -> list[str | None]:
    """All names within `RESOLVE_SECONDS`; None for those that have no address by then."""

    def one(host: str) -> str | None:
        try:
            return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
        except (OSError, UnicodeError):
            return None

    pool = ThreadPoolExecutor(min(16, len(hosts) or 1))
    waiting = [pool.submit(one, host) for host in hosts]
    found = []
    for future in waiting:
        try:
            found.append(future.result(RESOLVE_SECONDS))
        except TimeoutError:
            found.append(None)
    pool.shutdown(wait=False, cancel_futures=True)
    return found


def cookie_file(settings: Settings) -> Iterator[Finding]:
    path = settings.paths.home / ".erlang.cookie"
    if not settings.cookie:
        yield Finding("cookie file", Level.UNKNOWN, "RABBITMQ_ERLANG_COOKIE is not given here")
        return
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        content = path.read_text("utf-8").strip()
    except FileNotFoundError:
        yield Finding("cookie file", Level.OK, f"{path} is not there yet; the supervisor writes it")
        return
    except (OSError, UnicodeDecodeError) as error:
        yield Finding("cookie file", Level.UNKNOWN, f"{path} cannot be read: {error}", "run this as the broker's user")
        return
    if mode & 0o077:
        yield Finding("cookie file", Level.WRONG, f"{path} has mode {mode:04o}", f"chmod 600 {path}")
    elif content != settings.cookie.value:
        mend = "give the node its old cookie, or remove the file while its broker is stopped"
        yield Finding("cookie file", Level.WRONG, f"{path} is not RABBITMQ_ERLANG_COOKIE", mend)
    else:
        yield Finding("cookie file", Level.OK, f"{path}, mode {mode:04o}")


def ports(settings: Settings) -> Iterator[Finding]:
    """Answering ports are the member's own when its supervisor answers; otherwise somebody else has them."""
    try:
        fetch(f"127.0.0.1:{settings.http_port}", "/livez")
        ours = True
    except NoAnswer:
        ours = False
    epmd = os.environ.get("ERL_EPMD_PORT", "")
    epmd_port = int(epmd) if epmd.isascii() and epmd.isdigit() else EPMD_PORT
    wanted = {"supervisor": settings.http_port, "amqp": settings.amqp_port, "management": settings.management_port}
    for name, port in wanted.items():
        answers = _answers(port)
        if answers and not ours:
            mend = f"end what listens on {port}, or choose another port"
            yield Finding(f"port {name}", Level.WARN, f"{port} is taken, and no supervisor runs here", mend)
        else:
            yield Finding(f"port {name}", Level.OK, f"{port} {'answers' if answers else 'is free'}")
    yield Finding("port epmd", Level.OK, f"{epmd_port} {'answers' if _answers(epmd_port) else 'is free'}")


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def versions(*, local_broker: bool) -> Iterator[Finding]:
    yield Finding("python", Level.OK, platform.python_version())
    if not local_broker:
        return
    try:
        version = find_scripts(os.environ).version
    except ConfigurationError as error:
        yield Finding("rabbitmq here", Level.UNKNOWN, str(error))
        return
    yield Finding("rabbitmq here", Level.OK, version or "installed, version not told by its directory")
