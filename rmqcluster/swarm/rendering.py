"""`compose.yml` as data: variables filled in, parts of it for `docker stack deploy`, and what changed since the last.

Variables follow the rules of `docker stack deploy`: `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`,
`${NAME:?words}`, `${NAME?words}`, `$$`. Keys are never filled in.
"""

import io
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter

from rmqcluster.errors import ConfigurationError

RENDERED_LABEL = "rmqcluster.rendered"
_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<bare>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?:(?P<how>:?[-?])(?P<words>[^}$]*))?\}|)"
)
_NUMBERS = ("published", "soft", "hard")

Stack = dict[str, Any]


def load(path: Path, variables: Mapping[str, str]) -> Stack:
    """The file with its variables filled in. Raises ConfigurationError with the file and what to do."""
    try:
        document = YAML(typ="safe", pure=True).load(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error}. Run make in the project's directory") from error
    except YAMLError as error:
        raise ConfigurationError(f"{path} is no YAML: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("services"), dict):
        raise ConfigurationError(f"{path} names no services")
    filled: Stack = _fill(document, variables, str(path))
    return filled


def _fill(value: Any, variables: Mapping[str, str], where: str) -> Any:
    if isinstance(value, str):
        return fill(value, variables, where)
    if isinstance(value, list):
        return [_fill(one, variables, where) for one in value]
    if isinstance(value, dict):
        return {key: _number(key, _fill(one, variables, f"{where}: {key}")) for key, one in value.items()}
    return value


def _number(key: str, value: Any) -> Any:
    """`docker stack deploy` makes numbers of what it fills in itself, and wants them from everybody else."""
    return int(value) if key in _NUMBERS and isinstance(value, str) and value.isdecimal() else value


def fill(text: str, variables: Mapping[str, str], where: str) -> str:
    """One value. Raises ConfigurationError for a variable that is required and missing, and for what is none."""

    def one(found: re.Match[str]) -> str:
        if found["escaped"]:
            return "$"
        name, how, words = found["bare"] or found["name"], found["how"] or "", found["words"] or ""
        if not name:
            raise ConfigurationError(f"{where}: {text!r} has a $ that begins no variable. Write $$ for a $ itself")
        value = variables.get(name)
        missing = value is None or (value == "" and how.startswith(":"))
        if how.endswith("?") and missing:
            raise ConfigurationError(f"{where}: {name} is not set: {words or 'set it in .env'}")
        return words if missing and how.endswith("-") else value or ""

    return _VARIABLE.sub(one, text)


def merged(stack: Stack, more: Stack) -> Stack:
    """The stack with the ports that another file publishes beside its own."""
    services = dict(stack["services"])
    for name, service in more["services"].items():
        mine = services[name]
        services[name] = {**mine, "ports": [*mine.get("ports", ()), *service["ports"]]}
    return {**stack, "services": services}


def part(stack: Stack, services: Iterable[str]) -> Stack:
    """The stack with these services alone; whatever else it declares stays, so that names mean the same.

    `docker stack deploy` without `--prune` leaves services alone that a file does not name.
    """
    wanted = set(services)
    return {**stack, "services": {name: one for name, one in stack["services"].items() if name in wanted}}


def described(stack: Stack, name: str) -> dict[str, Any]:
    """A service with what is behind its secrets, configs and networks: new content is a new name and nothing else.

    A network is described as a whole: Swarm cannot change one.
    """
    service = stack["services"][name]
    names: dict[str, Any] = {}
    for kind in ("secrets", "configs", "networks"):
        for one in service.get(kind) or ():
            key = one["source"] if isinstance(one, dict) else one
            declared = stack.get(kind, {}).get(key) or {}
            names[key] = declared if kind == "networks" else declared.get("name", key)
    return {**service, "names": names}


def marked(stack: Stack) -> Stack:
    """The stack with what each service was made from written on it, for `differences` at the next deployment."""
    services = {}
    for name, service in stack["services"].items():
        deploy = service.get("deploy") or {}
        labels = _labels(deploy.get("labels")) | {RENDERED_LABEL: _as_json(described(stack, name))}
        services[name] = {**service, "deploy": {**deploy, "labels": labels}}
    return {**stack, "services": services}


def absolute(stack: Stack, directory: Path) -> Stack:
    """The stack with its configs' files named so that they are found from anywhere."""
    configs = {key: {**one, "file": str(directory / one["file"])} for key, one in stack["configs"].items()}
    return {**stack, "configs": configs}


def _labels(found: Any) -> dict[str, str]:
    """Compose allows a list of `name=value` as well."""
    if isinstance(found, list):
        return dict(one.partition("=")[::2] for one in found)
    return dict(found or {})


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


class _Representer(SafeRepresenter):
    """Values in quotes: to the YAML 1.1 of `docker stack deploy` a bare yes, on or 1:30 is no text."""

    def represent_str(self, data: str) -> ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", data, style='"')

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


_Representer.add_representer(str, _Representer.represent_str)


def text(stack: Stack) -> str:
    """YAML for `docker stack deploy`, every `$` escaped since it is filled in already."""
    escaped = _escape(stack)
    out = io.StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.Representer = _Representer
    writer.default_flow_style = False
    writer.width = 4096
    writer.dump(escaped, out)
    return out.getvalue()


def _escape(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, list):
        return [_escape(one) for one in value]
    if isinstance(value, dict):
        return {key: _escape(one) for key, one in value.items()}
    return value


def differences(service: Mapping[str, Any], label: str | None) -> tuple[str, ...] | None:
    """What would change in a service that runs, one line each; () when nothing would, None when nobody knows."""
    if label is None:
        return None
    try:
        before = json.loads(label)
    except ValueError:
        return None
    now = json.loads(_as_json(service))
    old, new = dict(_flat(before)), dict(_flat(now))
    lines = []
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            lines.append(f"{key}: {old.get(key, 'not set')} -> {new.get(key, 'not set')}")
    return tuple(lines)


def _flat(value: Any, path: str = "") -> Iterable[tuple[str, str]]:
    """`a.b.c` -> text; lists as a whole, since the order means something."""
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from _flat(one, f"{path}.{key}" if path else str(key))
    else:
        yield path, value if isinstance(value, str) else _as_json(value)
