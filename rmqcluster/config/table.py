"""The one table of settings: name, default, meaning and shape of every variable that rmqcluster reads.

`load` fills `Settings` from it; the README and `.env.example` are checked against it. A secret setting may
also be given as `NAME_FILE`, the path of a file that holds it.
"""

from dataclasses import dataclass
from typing import Any, Generic

from rmqcluster.config import parse
from rmqcluster.config.parse import Parser, T


@dataclass(frozen=True, slots=True)
class Setting(Generic[T]):
    """One variable. `default` is text as a person would write it; None when there is none."""

    name: str
    default: str | None
    meaning: str
    parse: Parser[T]
    secret: bool = False
    member_only: bool = False  # not needed by commands that only read the cluster's state

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, f"{self.name}_FILE") if self.secret else (self.name,)


_USER = parse.pattern(
    r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,127}", "up to 128 of A-Z a-z 0-9 _ . @ -, not starting with . @ or -"
)
_VISIBLE = "up to 255 visible ASCII characters, no spaces"

REDIS_HOST = Setting("REDIS_HOST", "redis", "host name or address of Redis", parse.host)
REDIS_PORT = Setting("REDIS_PORT", "6379", "port of Redis", parse.port)
REDIS_USER = Setting("REDIS_USER", None, "ACL user of Redis, if not the default one", _USER)
REDIS_PASS = Setting(
    "REDIS_PASS", None, "password of Redis; from a file it is read again at every reconnect", parse.password, True
)
REDIS_URL = Setting(
    "REDIS_URL",
    None,
    "the whole address instead of the parts: redis://, rediss:// (TLS) or redis+sentinel://",
    parse.redis_url,
    True,
)
NODENAME = Setting(
    "RABBITMQ_NODENAME",
    None,
    "node name of this member; without it rabbit@ and this machine's short host name",
    parse.node_name,
    member_only=True,
)
ERLANG_COOKIE = Setting(
    "RABBITMQ_ERLANG_COOKIE",
    None,
    "required; the secret that members prove themselves with to each other, the same on all of them",
    parse.pattern(r"[\x21-\x7e]{1,255}", _VISIBLE),
    secret=True,
    member_only=True,
)
ADMIN_USER = Setting("MQ_ADMIN_USER", None, "the administrator of the brokers", _USER, member_only=True)
ADMIN_PASS = Setting(
    "MQ_ADMIN_PASS", None, "password of the administrator", parse.password, secret=True, member_only=True
)
WORKERS = tuple(
    (
        Setting(f"MQ_NODE{i}_WORKER", None, f"the account of worker {i}", _USER, member_only=True),
        Setting(f"MQ_NODE{i}_PASS", None, f"password of worker {i}", parse.password, secret=True, member_only=True),
    )
    for i in (1, 2, 3)
)
SIZE = Setting(
    "RMQCLUSTER_SIZE", "3", "expected members; a founding needs a majority of them", parse.whole_number(1, 99)
)
PREFIX = Setting(
    "RMQCLUSTER_PREFIX",
    "rabbitmq",
    "prefix of all keys in Redis; one prefix is one cluster",
    parse.pattern(
        r"[A-Za-z0-9](?:[A-Za-z0-9_.:-]{0,62}[A-Za-z0-9])?",
        "up to 64 of A-Z a-z 0-9 _ . : -, starting and ending with a letter or digit",
    ),
)
HEARTBEAT = Setting("RMQCLUSTER_HEARTBEAT_SECONDS", "5", "time between two heartbeats", parse.seconds(0.1, 3600))
TTL = Setting(
    "RMQCLUSTER_TTL_SECONDS",
    "15",
    "life of a heartbeat in Redis, at least 3 heartbeats",
    parse.seconds(0.3, 86400),
)
REDIS_WAIT = Setting(
    "RMQCLUSTER_REDIS_WAIT_SECONDS",
    "120",
    "how long a blank node waits for Redis before it exits with the reason",
    parse.seconds(0, 86400),
)
MASTER_WAIT = Setting(
    "RMQCLUSTER_MASTER_WAIT_SECONDS",
    "180",
    "how long a blank node waits for a master to join before it exits with the reason",
    parse.seconds(0, 86400),
)
SETTLE = Setting(
    "RMQCLUSTER_SETTLE_SECONDS", "10", "quiet time before queue leaders are rebalanced", parse.seconds(0, 86400)
)
STOP = Setting(
    "RMQCLUSTER_STOP_SECONDS",
    "8",
    "budget of an orderly stop, drain included; below the container's stop grace",
    parse.seconds(0.5, 600),
)
JOIN = Setting(
    "RMQCLUSTER_JOIN",
    "boot",
    "how a blank node joins: boot (the broker's own discovery, given the master) or rabbitmqctl",
    parse.choice("boot", "rabbitmqctl"),
    member_only=True,
)
HTTP_BIND = Setting(
    "RMQCLUSTER_HTTP_BIND",
    "0.0.0.0",  # noqa: S104 - the cluster network must reach it; it is never published
    "address that the supervisor's HTTP listens on",
    parse.ip_address,
)
HTTP_PORT = Setting("RMQCLUSTER_HTTP_PORT", "15680", "port of the supervisor's HTTP", parse.port)
HTTP_TOKEN = Setting(
    "RMQCLUSTER_HTTP_TOKEN",
    None,
    "token for HTTP verbs that change something; without it there are none",
    parse.pattern(r"[\x21-\x7e]{1,255}", _VISIBLE),
    secret=True,
)
MANAGEMENT_PORT = Setting("RMQCLUSTER_MANAGEMENT_PORT", "15672", "port of the broker's management API", parse.port)
DEFINITIONS = Setting(
    "RMQCLUSTER_DEFINITIONS",
    "/etc/rabbitmq/definitions.json",
    "topology that is provisioned into the committed cluster",
    parse.absolute_path,
    member_only=True,
)
HOST_ID = Setting(
    "RMQCLUSTER_HOST_ID",
    None,
    "identity of the machine; in a stack file {{.Node.ID}}",
    parse.pattern(r"[A-Za-z0-9_.:-]{1,128}", "up to 128 of A-Z a-z 0-9 _ . : -"),
    member_only=True,
)
LOG = Setting("RMQCLUSTER_LOG", "text", "form of the log: text or json", parse.choice("text", "json"))
NODE_PORT = Setting("RABBITMQ_NODE_PORT", "5672", "AMQP port of the broker", parse.port, member_only=True)
MNESIA_BASE = Setting(
    "RABBITMQ_MNESIA_BASE",
    "/var/lib/rabbitmq/mnesia",
    "where the broker keeps its data; the directory above it is the broker's home",
    parse.absolute_path,
    member_only=True,
)
CONFIG_FILE = Setting(
    "RABBITMQ_CONFIG_FILE",
    "/etc/rabbitmq/rabbitmq.conf",
    "the broker's main configuration file",
    parse.absolute_path,
    member_only=True,
)
CONFIG_FILES = Setting(
    "RABBITMQ_CONFIG_FILES",
    "/etc/rabbitmq/conf.d",
    "directory of further configuration, where the generated file is written",
    parse.directory_path,
    member_only=True,
)
ENABLED_PLUGINS = Setting(
    "RABBITMQ_ENABLED_PLUGINS_FILE",
    "/etc/rabbitmq/enabled_plugins",
    "list of the broker's plugins",
    parse.absolute_path,
    member_only=True,
)

SETTINGS: tuple[Setting[Any], ...] = (
    *(REDIS_HOST, REDIS_PORT, REDIS_USER, REDIS_PASS, REDIS_URL),
    *(NODENAME, ERLANG_COOKIE),
    *(ADMIN_USER, ADMIN_PASS, *(setting for pair in WORKERS for setting in pair)),
    *(SIZE, PREFIX, HEARTBEAT, TTL, REDIS_WAIT, MASTER_WAIT, SETTLE, STOP, JOIN),
    *(HTTP_BIND, HTTP_PORT, HTTP_TOKEN, MANAGEMENT_PORT, DEFINITIONS, HOST_ID, LOG),
    *(NODE_PORT, MNESIA_BASE, CONFIG_FILE, CONFIG_FILES, ENABLED_PLUGINS),
)
KNOWN_NAMES: frozenset[str] = frozenset(name for setting in SETTINGS for name in setting.names)
