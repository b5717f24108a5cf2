"""The environment of the broker and of its tools: made from an allow-list, so that no secret of ours leaks.

The cookie is in its file, accounts come by definitions; a variable that looks like a secret is never passed.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from rmqcluster.config.settings import Settings

_PASSED = re.compile(r"^(PATH|LANG|LC_[A-Z]+|TZ|TMPDIR|ERL_[A-Z0-9_]+|RABBITMQ_[A-Z0-9_]+|SSL_CERT_(FILE|DIR))$")
_SECRET = re.compile(r"COOKIE|PASS|SECRET|TOKEN|_DEFAULT_USER|_DEFAULT_VHOST")
_ONLY_SERVER = ("RABBITMQ_NODE_PORT", "RABBITMQ_DIST_PORT", "RABBITMQ_NODE_IP_ADDRESS", "RABBITMQ_PID_FILE")


def tool_environment(settings: Settings, inherited: Mapping[str, str]) -> dict[str, str]:
    """For `rabbitmqctl` and its kin; the node is chosen here, because a `-n` switch breaks stdin on 4.x."""
    passed = {
        name: value
        for name, value in inherited.items()
        if _PASSED.match(name) and not _SECRET.search(name) and name not in _ONLY_SERVER
    }
    passed.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    if "." in settings.host:  # Erlang refuses a dot in short names
        passed["RABBITMQ_USE_LONGNAME"] = "true"
    return passed | {
        "HOME": str(settings.paths.home),
        "RABBITMQ_NODENAME": settings.node,
        "RABBITMQ_MNESIA_BASE": str(settings.paths.mnesia_base),  # for the tools that work on a node that is down
    }


def broker_environment(
    settings: Settings, inherited: Mapping[str, str], conf_directory: Path, notify_socket: str | None
) -> dict[str, str]:
    """For `rabbitmq-server`.

    RUNNING_UNDER_SYSTEMD makes its script exec the VM: signals reach it, and 3.10 exits with its real status.
    A crash dump can hold secrets, so none is written.
    """
    environment = tool_environment(settings, inherited)
    environment |= {name: inherited[name] for name in _ONLY_SERVER if name in inherited}
    environment |= {
        "RABBITMQ_CONFIG_FILE": str(settings.paths.config_file),
        "RABBITMQ_CONFIG_FILES": str(conf_directory),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(settings.paths.enabled_plugins),
        "RABBITMQ_NODE_PORT": str(settings.amqp_port),
        "RUNNING_UNDER_SYSTEMD": "true",
        "ERL_CRASH_DUMP_SECONDS": "0",
    }
    if notify_socket is not None:
        environment["NOTIFY_SOCKET"] = notify_socket
    return environment
