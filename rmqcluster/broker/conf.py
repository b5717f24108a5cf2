"""The generated part of the broker's configuration: what depends on this boot and on RabbitMQ's version.

`render` is pure. `write` puts the result and a copy of the operator's own conf.d files into our state
directory; RABBITMQ_CONFIG_FILES points there (a directory, read in name order, 3.10 to 4.3).
"""

import shutil
from pathlib import Path

from rmqcluster.agent.ports import Boot
from rmqcluster.broker.account import MONITOR_TAGS, MONITOR_USER
from rmqcluster.broker.atomic import write_file
from rmqcluster.broker.version import as_numbers
from rmqcluster.config.settings import Secret, Settings
from rmqcluster.core.model import JoinMode, Purpose
from rmqcluster.errors import ConfigurationError

GENERATED = "90-rmqcluster.conf"
OPENS_GUEST = "10-defaults.conf"  # the official image's: lets `guest` in from anywhere
_MAX_REPLICAS = 3
_RECONCILE_MILLISECONDS = 60_000  # RabbitMQ's hour is long for a queue whose first try failed
_RETRIES = 1_000_000  # `unlimited` is not understood by all versions; running out means booting alone


def render(boot: Boot, version: str | None, settings: Settings, monitor_password: Secret) -> str:
    """Content of the generated file for this boot. An unknown version gets only keys that all versions know."""
    lines = ["# Generated for one boot; changes are lost.", *_base(settings), *_floor(monitor_password)]
    lines += _versioned(version, settings)
    if boot.purpose is Purpose.JOIN and settings.join is JoinMode.BOOT:
        if boot.target is None or boot.target == settings.node:
            raise ValueError(f"a joiner needs another member as its target, not {boot.target}")
        lines += _discovery(boot.target)
    return "\n".join(lines) + "\n"


def _base(settings: Settings) -> list[str]:
    return [
        "log.console = true",
        "log.console.level = info",
        "log.console.use_colors = off",
        "log.file = false",
        f"management.tcp.port = {settings.management_port}",
    ]


def _floor(monitor_password: Secret) -> list[str]:
    """A blank node knows one account, which may look but neither publish nor consume: no client gets in.

    RabbitMQ reads these only when its database is empty, so every boot gets them: data that turns out to be
    none must not bring back `guest`.
    """
    return [
        f"default_user = {MONITOR_USER}",
        f"default_pass = {monitor_password.value}",
        *(f"default_user_tags.{tag} = true" for tag in MONITOR_TAGS),
        "default_permissions.configure = ^$",
        "default_permissions.write = ^$",
        "default_permissions.read = ^$",
    ]


def _discovery(target: str) -> list[str]:
    """Join while booting, before the client ports open; only ever through a proven member."""
    return [
        "cluster_formation.peer_discovery_backend = classic_config",
        f"cluster_formation.classic_config.nodes.1 = {target}",
        f"cluster_formation.discovery_retry_limit = {_RETRIES}",
        "cluster_formation.discovery_retry_interval = 500",
    ]


def _versioned(version: str | None, settings: Settings) -> list[str]:
    numbers = as_numbers(version)
    if numbers is None:
        return []
    replicas = min(_MAX_REPLICAS, settings.policy.size)
    lines = []
    if numbers < (4, 3) and settings.policy.size >= 3:  # two paused halves of a pair would serve nobody
        lines.append("cluster_partition_handling = pause_minority")
    if numbers >= (4, 1):
        lines.append(f"quorum_queue.initial_cluster_size = {replicas}")
    if numbers >= (3, 13):
        reconciliation = "quorum_queue.continuous_membership_reconciliation"
        # No target for all: it would grow queues that have a single replica on purpose. Queues with a target of
        # their own are RabbitMQ's to look after, all others are ours.
        lines.append(f"{reconciliation}.enabled = true")
        lines.append(f"{reconciliation}.auto_remove = false")
        lines.append(f"{reconciliation}.interval = {_RECONCILE_MILLISECONDS}")
    return lines


def write(directory: Path, settings: Settings, content: str) -> None:
    """Fill `directory` with the operator's conf.d files and the generated one (0600).

    Raises ConfigurationError naming the file that cannot be read or written.
    """
    source = settings.paths.config_files
    try:
        if directory.exists():
            shutil.rmtree(directory)
        directory.mkdir(mode=0o700, parents=True)
        for file in sorted(source.glob("*.conf")) if source.is_dir() else []:
            if file.name not in (OPENS_GUEST, GENERATED):
                write_file(directory / file.name, file.read_bytes())
        write_file(directory / GENERATED, content.encode())
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename or directory}: {error.strerror}. The broker's configuration could not be written."
        ) from error
