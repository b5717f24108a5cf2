"""Fills and checks `Settings`: every problem is found in one pass and told in one error, one line each."""

import difflib
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from rmqcluster.config import table
from rmqcluster.config.settings import Account, Paths, RedisSettings, Secret, Settings
from rmqcluster.config.sources import Reader, show
from rmqcluster.config.table import Setting
from rmqcluster.core.model import JoinMode, Policy
from rmqcluster.errors import ConfigurationError

Role = Literal["member", "client"]

OWN_PREFIX = "RMQCLUSTER_"
MONITOR_USER = "rmqcluster-monitor"  # the supervisors' own account in the broker
RESERVED_USERS = {
    MONITOR_USER: "is the supervisors' own account",
    "guest": "is removed from every cluster",
}
HEARTBEATS_PER_TTL = 3
# The official image exits at once when it sees these names.
REFUSED = {
    "RABBITMQ_DEFAULT_USER_FILE": "MQ_ADMIN_USER",
    "RABBITMQ_DEFAULT_PASS_FILE": "MQ_ADMIN_PASS_FILE",
}
NOT_USED = {
    "RABBITMQ_DEFAULT_USER": "MQ_ADMIN_USER",
    "RABBITMQ_DEFAULT_PASS": "MQ_ADMIN_PASS or MQ_ADMIN_PASS_FILE",
}


def load(
    environ: Mapping[str, str],
    dotenv_path: Path | None = Path(".env"),
    *,
    role: Role = "member",
    hostname: str | None = None,
) -> Settings:
    """The checked settings of this process.

    A `member` runs a broker and needs everything. A `client` only reads the cluster's state: what belongs to
    a member may be missing (the cookie is then empty) or wrong (then it is a warning). `hostname` stands for
    this machine's, to which the node name defaults. `os.environ` is never changed.

    Raises `ConfigurationError` naming each variable, its value unless secret, and what is allowed.
    """
    reader = Reader(environ, dotenv_path, lenient=role == "client")
    _check_names(reader)
    settings = Settings(
        node=_node(reader, hostname or socket.gethostname()),
        cookie=_cookie(reader),
        redis=_redis(reader),
        policy=_policy(reader),
        paths=_paths(reader),
        prefix=reader.value(table.PREFIX),
        accounts=_accounts(reader),
        http_bind=reader.value(table.HTTP_BIND),
        http_port=reader.value(table.HTTP_PORT),
        http_token=reader.secret(table.HTTP_TOKEN),
        management_port=reader.value(table.MANAGEMENT_PORT),
        amqp_port=reader.value(table.NODE_PORT),
        host_id=reader.optional(table.HOST_ID),
        log=reader.value(table.LOG),
    )
    _check_ports(reader, settings)
    if reader.problems:
        raise ConfigurationError("\n".join(reader.problems))
    return replace(settings, warnings=tuple(reader.warnings))


def _check_names(reader: Reader) -> None:
    """A misspelt name would be a silent default, so unknown ones of ours are refused."""
    known = sorted(table.KNOWN_NAMES)
    for name in sorted(reader.names):
        if name in REFUSED:
            reader.problems.append(f"{name}: refused by RabbitMQ's image; use {REFUSED[name]}")
        elif name in NOT_USED:
            reader.warnings.append(f"{name}: not used, a blank node must have no known account; use {NOT_USED[name]}")
        elif name.startswith(OWN_PREFIX) and name not in table.KNOWN_NAMES:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "remove it; .env.example lists all settings"
            reader.problems.append(f"{show(name)}: no such setting; {hint}")


def _node(reader: Reader, hostname: str) -> str:
    """RabbitMQ's own default, `rabbit@$(hostname -s)`, and its completion of a name without a host."""
    name = reader.optional(table.NODENAME) or "rabbit"
    if "@" in name:
        return name
    node = f"{name}@{hostname.split('.', 1)[0]}"
    try:
        return table.NODENAME.parse(node)
    except ValueError as allowed:
        reader.problem(table.NODENAME, f'"{show(node)}" (from this host\'s name) is not allowed; give {allowed}')
        return f"{name}@localhost"


def _cookie(reader: Reader) -> Secret:
    if not reader.given(table.ERLANG_COOKIE):
        if not reader.lenient:
            reader.problem(
                table.ERLANG_COOKIE,
                "required, the same secret on all members; give it here or as RABBITMQ_ERLANG_COOKIE_FILE",
            )
        return Secret("")
    return reader.secret(table.ERLANG_COOKIE) or Secret("")


def _redis(reader: Reader) -> RedisSettings:
    if reader.given(table.REDIS_URL):
        for setting in (table.REDIS_HOST, table.REDIS_PORT):
            if reader.given(setting):
                reader.warnings.append(f"{setting.name}: not used, REDIS_URL is given and wins")
    return RedisSettings(
        host=reader.value(table.REDIS_HOST),
        port=reader.value(table.REDIS_PORT),
        user=reader.optional(table.REDIS_USER),
        password=reader.secret(table.REDIS_PASS),
        password_file=reader.file_of(table.REDIS_PASS),
        url=reader.secret(table.REDIS_URL),
    )


def _policy(reader: Reader) -> Policy:
    policy = Policy(
        size=reader.value(table.SIZE),
        heartbeat_seconds=reader.value(table.HEARTBEAT),
        ttl_seconds=reader.value(table.TTL),
        redis_wait_seconds=reader.value(table.REDIS_WAIT),
        master_wait_seconds=reader.value(table.MASTER_WAIT),
        stop_seconds=reader.value(table.STOP),
        settle_seconds=reader.value(table.SETTLE),
        join=JoinMode(reader.value(table.JOIN)),
    )
    least = HEARTBEATS_PER_TTL * policy.heartbeat_seconds
    if policy.ttl_seconds < least - 1e-9:
        reader.problem(
            table.TTL,
            f'"{policy.ttl_seconds:g}" is not allowed; give at least {HEARTBEATS_PER_TTL} heartbeats, '
            f"{least:g} with {table.HEARTBEAT.name}={policy.heartbeat_seconds:g}",
        )
    if policy.size % 2 == 0:
        reader.warnings.append(
            f"{table.SIZE.name}: {policy.size} is even and survives no more losses than {policy.size - 1}; "
            "use an odd number"
        )
    return policy


def _paths(reader: Reader) -> Paths:
    base = reader.value(table.MNESIA_BASE)
    return Paths(
        mnesia_base=base,
        home=base.parent,
        config_file=reader.value(table.CONFIG_FILE),
        config_files=reader.value(table.CONFIG_FILES),
        enabled_plugins=reader.value(table.ENABLED_PLUGINS),
        definitions=reader.value(table.DEFINITIONS),
    )


def _accounts(reader: Reader) -> tuple[Account, ...]:
    accounts: dict[str, Account] = {}
    rows = [(table.ADMIN_USER, table.ADMIN_PASS, False), *((user, word, True) for user, word in table.WORKERS)]
    for user_setting, password_setting, worker in rows:
        account = _account(reader, user_setting, password_setting, worker)
        if account is None:
            continue
        if account.name in accounts:
            reader.problem(user_setting, f'"{account.name}" is also another account\'s name; give each its own')
        accounts[account.name] = account
    return tuple(accounts.values())


def _account(reader: Reader, user: Setting[str], password: Setting[str], worker: bool) -> Account | None:
    if reader.given(user) and not reader.given(password):
        reader.problem(user, f"has no password; give {password.name} or {password.name}_FILE too")
    if reader.given(password) and not reader.given(user):
        reader.problem(password, f"belongs to no account; give {user.name} too")
    name, word = reader.optional(user), reader.secret(password)
    if name in RESERVED_USERS:
        reader.problem(user, f'"{name}" {RESERVED_USERS[name]}; give another name')
        return None
    return Account(name, word, worker) if name and word else None


def _check_ports(reader: Reader, settings: Settings) -> None:
    """Ports that would only fail minutes later, when the second listener starts."""
    seen: dict[int, str] = {}
    for setting, port in (
        (table.NODE_PORT, settings.amqp_port),
        (table.MANAGEMENT_PORT, settings.management_port),
        (table.HTTP_PORT, settings.http_port),
    ):
        if port in seen:
            reader.problem(setting, f'"{port}" is also {seen[port]}; give each its own port')
        seen[port] = setting.name
