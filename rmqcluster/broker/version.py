"""Where RabbitMQ's scripts are and which version they belong to, found without starting a process.

Debian's wrappers in `/usr/sbin` go through `su` and redirect output; the real scripts stand beside the
plugins, in a tree that carries the version in a name: `rabbitmq_server-3.10.8/sbin` (Debian) or
`/opt/rabbitmq/plugins/rabbit-4.1.8` (official image).
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rmqcluster.errors import ConfigurationError

_VERSION = r"\d+\.\d+\.\d+[0-9A-Za-z.+-]*"
_SERVER_TREE = re.compile(rf"^rabbitmq_server-({_VERSION})$")
_RABBIT_PLUGIN = re.compile(rf"^rabbit-({_VERSION}?)(?:\.ez)?$")
_DEBIAN_SCRIPTS = Path("/usr/lib/rabbitmq/bin")


@dataclass(frozen=True, slots=True)
class Scripts:
    """The directory of `rabbitmq-server`, `rabbitmqctl` and `rabbitmq-queues`, and their version if readable."""

    directory: Path
    version: str | None

    def path(self, tool: str) -> str:
        return str(self.directory / tool)


def find_scripts(environment: Mapping[str, str]) -> Scripts:
    """Raises ConfigurationError when no RabbitMQ is installed."""
    candidates = [_DEBIAN_SCRIPTS / "rabbitmq-server"]
    on_path = shutil.which("rabbitmq-server", path=environment.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
    if on_path:
        candidates.append(Path(on_path))
    for candidate in candidates:
        if candidate.exists():
            directory = candidate.resolve().parent
            return Scripts(directory, read_version(directory))
    raise ConfigurationError(
        "rabbitmq-server was not found: neither on PATH nor in /usr/lib/rabbitmq/bin. Install RabbitMQ 3.10 or newer."
    )


def read_version(directory: Path) -> str | None:
    """Version of the RabbitMQ whose scripts are in `directory`, from the names around it; None if they say none."""
    for parent in (directory, *directory.parents):
        match = _SERVER_TREE.match(parent.name)
        if match:
            return match.group(1)
    plugins = directory.parent / "plugins"
    found = [match.group(1) for entry in _names(plugins) if (match := _RABBIT_PLUGIN.match(entry))]
    return found[0] if len(found) == 1 else None


def as_numbers(version: str | None) -> tuple[int, int] | None:
    """(major, minor), for comparing; None when the version is unknown."""
    match = re.match(r"^(\d+)\.(\d+)", version or "")
    return (int(match.group(1)), int(match.group(2))) if match else None


def _names(directory: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in directory.iterdir())
    except OSError:
        return []
