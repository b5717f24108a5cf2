"""`.env`: written once with strong random secrets, never overwritten; read for the stack's variables and secrets."""

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from rmqcluster.config.sources import Reader
from rmqcluster.errors import ConfigurationError, OperationRefused

SECRET_BYTES = 24  # 192 bits; written as 32 characters that need no quoting anywhere
EMPTY_SECRET = re.compile(r"^(?P<name>[A-Z][A-Z0-9_]*_(?:PASS|PASSWORD|COOKIE|TOKEN))=\s*$")


def write(example: Path, target: Path) -> tuple[str, ...]:
    """`target` from `example`, every empty password, cookie and token filled in. Returns their names.

    Raises OperationRefused when `target` is there: its secrets are those of a running stack.
    """
    names = []
    lines = []
    for line in _read(example).splitlines():
        found = EMPTY_SECRET.match(line)
        if found:
            names.append(found["name"])
            line = f"{found['name']}={secrets.token_urlsafe(SECRET_BYTES)}"
        lines.append(line)
    try:
        file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise OperationRefused(
            f"{target} is there and was not touched: its secrets are those of the stack that runs with them. "
            "Edit it, or move it away first"
        ) from error
    with os.fdopen(file, "w") as out:
        out.write("\n".join(lines) + "\n")
    return tuple(names)


def read(path: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of the stack: the environment first, then the file. Raises ConfigurationError without a file."""
    if not path.exists():
        raise ConfigurationError(f"{path} is missing. Type:  make env  (it writes it, with random secrets)")
    reader = Reader(environment, path, lenient=True)
    if reader.problems:
        raise ConfigurationError("; ".join(reader.problems))
    return reader.values


def _read(example: Path) -> str:
    try:
        return example.read_text()
    except OSError as error:
        raise ConfigurationError(f"{example} cannot be read: {error}. Run make in the project's directory") from error
