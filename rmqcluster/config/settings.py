"""Every setting in one place: name, default, unit and meaning. Filled and checked by `load`."""

from dataclasses import dataclass, field
from pathlib import Path

from rmqcluster.core.model import JoinMode, Policy


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that never shows itself."""

    value: str = field(repr=False)

    def __str__(self) -> str:
        return "****"

    def __bool__(self) -> bool:
        return bool(self.value)


@dataclass(frozen=True, slots=True)
class Account:
    """A RabbitMQ user that is provisioned from the environment."""

    name: str
    password: Secret
    worker: bool  # tag `worker` and its permissions; otherwise tag `administrator`


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """How to reach the coordinator. `url` (redis://, rediss://, redis+sentinel://) wins over the parts."""

    host: str = "redis"
    port: int = 6379
    user: str | None = None
    password: Secret | None = None
    password_file: Path | None = None  # read again at every reconnect, so that a rotation needs no restart
    url: Secret | None = None

    @property
    def address(self) -> str:
        """`host:port` for people; never the credentials."""
        if self.url is None:
            return f"{self.host}:{self.port}"
        return self.url.value.split("://", 1)[-1].rsplit("@", 1)[-1].split("/", 1)[0].split("?", 1)[0]


@dataclass(frozen=True, slots=True)
class Paths:
    """Where RabbitMQ keeps its things; RabbitMQ's own variables, its own defaults."""

    mnesia_base: Path = Path("/var/lib/rabbitmq/mnesia")  # RABBITMQ_MNESIA_BASE
    home: Path = Path("/var/lib/rabbitmq")  # HOME of the broker: the cookie is there
    config_file: Path = Path("/etc/rabbitmq/rabbitmq.conf")  # RABBITMQ_CONFIG_FILE
    config_files: Path = Path("/etc/rabbitmq/conf.d")  # RABBITMQ_CONFIG_FILES, a directory
    enabled_plugins: Path = Path("/etc/rabbitmq/enabled_plugins")  # RABBITMQ_ENABLED_PLUGINS_FILE
    definitions: Path = Path("/etc/rabbitmq/definitions.json")  # RMQCLUSTER_DEFINITIONS


@dataclass(frozen=True, slots=True)
class Settings:
    """One member's whole configuration, checked."""

    node: str  # RABBITMQ_NODENAME, always with its host part
    cookie: Secret
    redis: RedisSettings = field(default_factory=RedisSettings)
    policy: Policy = field(default_factory=Policy)
    paths: Paths = field(default_factory=Paths)
    prefix: str = "rabbitmq"
    accounts: tuple[Account, ...] = ()
    http_bind: str = "0.0.0.0"  # noqa: S104 - the cluster network must reach it; it is never published
    http_port: int = 15680
    http_token: Secret | None = None
    management_port: int = 15672  # RMQCLUSTER_MANAGEMENT_PORT
    amqp_port: int = 5672  # RABBITMQ_NODE_PORT
    host_id: str | None = None
    log: str = "text"  # or "json"
    warnings: tuple[str, ...] = ()  # shown at start and by doctor

    @property
    def host(self) -> str:
        """The host part of the node name; peers reach this member's ports there."""
        return self.node.split("@", 1)[1]

    @property
    def join(self) -> JoinMode:
        return self.policy.join
