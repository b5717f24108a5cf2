"""Where settings come from: the environment first, then `.env`, then files for the secrets.

Problems are collected, so that a person mends all of them at once; `Reader` never raises for a bad value.
"""

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rmqcluster.config.parse import T
from rmqcluster.config.secrets import read_secret_file
from rmqcluster.config.settings import Secret
from rmqcluster.config.table import KNOWN_NAMES, Setting

DOTENV_BYTES_MAX = 256 * 1024


class Reader:
    """Reads settings one by one and remembers what was wrong with them.

    A variable that is set to nothing counts as not given, as compose files write `${NAME:-}`; set to nothing
    in the environment it also hides the one in `.env`.
    """

    def __init__(self, environ: Mapping[str, str], dotenv_path: Path | None, *, lenient: bool) -> None:
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.lenient = lenient  # a member's settings may be missing or wrong
        from_file = self._read_dotenv(dotenv_path) if dotenv_path is not None else {}
        self._values = {name: text for name, text in {**from_file, **environ}.items() if text}

    @property
    def values(self) -> dict[str, str]:
        """Every variable that was given with its text, secrets among them."""
        return dict(self._values)

    @property
    def names(self) -> frozenset[str]:
        """Every variable that was given, known or not."""
        return frozenset(self._values)

    def given(self, setting: Setting[Any]) -> bool:
        return any(name in self._values for name in setting.names)

    def file_of(self, setting: Setting[Any]) -> Path | None:
        """The file that a secret comes from, if it comes from one."""
        path = self._values.get(f"{setting.name}_FILE")
        return Path(path) if path else None

    def optional(self, setting: Setting[T]) -> T | None:
        """The value, its default when it is not given or wrong, None when there is no default."""
        text = self._secret_text(setting) if setting.secret else self._values.get(setting.name)
        if text is not None:
            try:
                return setting.parse(text)
            except ValueError as allowed:
                self.problem(setting, f"{self._shown(setting, text)} is not allowed; give {allowed}")
        return None if setting.default is None else setting.parse(setting.default)

    def value(self, setting: Setting[T]) -> T:
        """The value of a setting that has a default."""
        value = self.optional(setting)
        assert value is not None, f"{setting.name} has no default"
        return value

    def secret(self, setting: Setting[str]) -> Secret | None:
        text = self.optional(setting)
        return None if text is None else Secret(text)

    def problem(self, setting: Setting[Any], text: str) -> None:
        """Remember what is wrong; a reader of the cluster's state is only warned about a member's settings."""
        if self.lenient and setting.member_only:
            self.warnings.append(f"{setting.name}: {text} (not needed here)")
        else:
            self.problems.append(f"{setting.name}: {text}")

    def _secret_text(self, setting: Setting[Any]) -> str | None:
        text, path = self._values.get(setting.name), self.file_of(setting)
        if path is None:
            return text
        if text is not None:
            self.problem(setting, f"given twice, here and as {setting.name}_FILE; keep one")
            return None
        try:
            content, warning = read_secret_file(path)
        except ValueError as error:
            self.problem(setting, f"{setting.name}_FILE: {show(str(error), limit=400)}")
            return None
        if warning:
            self.warnings.append(f"{setting.name}_FILE: {show(warning, limit=400)}")
        return content

    @staticmethod
    def _shown(setting: Setting[Any], text: str) -> str:
        return "the value (not shown)" if setting.secret else f'"{show(text)}"'

    def _read_dotenv(self, path: Path) -> dict[str, str]:
        try:
            if not path.exists():
                return {}
            status = path.stat()
            if not stat.S_ISREG(status.st_mode) or status.st_size > DOTENV_BYTES_MAX:
                self.problems.append(f"{path}: not a file of settings; remove it or write NAME=value lines into it")
                return {}
            content = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            self.problems.append(f"{path}: cannot be read ({reason}); mend its owner, mode or content")
            return {}
        values = self._parse_dotenv(path, content)
        holds_secret = any(text and _is_secret(name) for name, text in values.items())
        if holds_secret and status.st_mode & 0o077:
            self.warnings.append(f"{path} holds secrets and can be read by other users; chmod 600 {path}")
        return values

    def _parse_dotenv(self, path: Path, content: str) -> dict[str, str]:
        # Imported here: most members have no .env and need not carry the parser in memory.
        from io import StringIO

        from dotenv.parser import parse_stream

        values: dict[str, str] = {}
        for binding in parse_stream(StringIO(content)):
            if binding.error:
                self.problems.append(f"{path}: line {binding.original.line} is not NAME=value; mend or remove it")
            elif binding.key is not None:
                values[binding.key] = binding.value or ""
        return values


def _is_secret(name: str) -> bool:
    return f"{name}_FILE" in KNOWN_NAMES


def show(text: str, limit: int = 80) -> str:
    """A value made safe for a terminal and a log: one line, printable, of limited length."""
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return printable if len(printable) <= limit else printable[: limit - 1] + "…"
