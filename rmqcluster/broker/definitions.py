"""The operator's definitions file: read, checked before anything starts, and never trusted further.

A file that a broker would refuse half-way leaves a half-provisioned cluster, so everything that 3.10 to 4.3
refuse is refused here, with its place in the file.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from rmqcluster.config.settings import Paths
from rmqcluster.errors import ConfigurationError

_BYTES_MAX = 1024 * 1024
_SECTIONS = ("vhosts", "users", "permissions", "topic_permissions", "parameters", "global_parameters", "policies")
_TOPOLOGY = ("queues", "exchanges", "bindings")
_NAMED = ("vhosts", "users", "policies", "queues", "exchanges")
_IN_VHOST = ("permissions", "topic_permissions", "parameters", "policies", "queues", "exchanges", "bindings")
_PLAIN = frozenset(
    {"rabbit_version", "rabbitmq_version", "product_name", "product_version", "rabbitmq_definition_format"}
    | {"explanation", "original_cluster_name", "original_vhost_name", "metadata", "default_queue_type", "description"}
)

Definitions = dict[str, list[dict[str, object]]]


def load(path: Path) -> Definitions | None:
    """The checked content; None when the default file is not there (nothing to provision).

    Raises ConfigurationError naming the file and the place.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        if path == Paths().definitions:
            return None
        raise ConfigurationError(f"RMQCLUSTER_DEFINITIONS: {path} does not exist.") from None
    except OSError as error:
        raise ConfigurationError(f"RMQCLUSTER_DEFINITIONS: {path} cannot be read: {error.strerror}.") from error
    if len(content) > _BYTES_MAX:
        raise ConfigurationError(f"{path}: larger than 1 MiB, which no definitions file should be.")
    try:
        return check(json.loads(content))
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{path}: not JSON, line {error.lineno} column {error.colno}: {error.msg}.") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}.") from error


def check(document: object) -> Definitions:
    """Raises ValueError with the place and what is wrong."""
    if not isinstance(document, dict):
        raise ValueError("the whole must be a JSON object")
    unknown = set(document) - {*_SECTIONS, *_TOPOLOGY} - _PLAIN
    if unknown:
        raise ValueError(f"unknown section {sorted(unknown)[0]!r}")
    definitions = {name: _section(document, name) for name in (*_SECTIONS, *_TOPOLOGY) if name in document}
    vhosts = {row["name"] for row in definitions.get("vhosts", [])}
    for section in _IN_VHOST:
        for index, row in enumerate(definitions.get(section, [])):
            if row.get("vhost") not in vhosts:
                raise ValueError(f"{section}[{index}]: vhost {row.get('vhost')!r} is not among the file's vhosts")
    for index, row in enumerate(definitions.get("queues", [])):
        _check_queue(f"queues[{index}] ({row['name']})", row)
    _check_bindings(definitions)
    return definitions


def _section(document: Mapping[str, object], name: str) -> list[dict[str, object]]:
    rows = document[name]
    if not isinstance(rows, list):
        raise ValueError(f"{name}: must be a list")
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ValueError(f"{name}[{index}]: must be an object")
        if name in _NAMED and (not isinstance(row.get("name"), str) or not row["name"]):
            raise ValueError(f"{name}[{index}]: has no name")
        if not isinstance(row.get("arguments", {}), dict):
            raise ValueError(f"{name}[{index}]: arguments must be an object")
    return rows


def _check_queue(place: str, row: Mapping[str, object]) -> None:
    arguments = row.get("arguments", {})
    assert isinstance(arguments, dict)
    if row.get("durable") is not True:
        raise ValueError(f"{place}: must be durable (RabbitMQ 4.3 has no other lasting queues)")
    if "x-queue-mode" in arguments or arguments.get("x-queue-version") == 1:
        raise ValueError(f"{place}: x-queue-mode and x-queue-version 1 are refused by RabbitMQ 4.3: remove them")
    if arguments.get("x-queue-type") == "quorum" and (row.get("auto_delete") or row.get("exclusive")):
        raise ValueError(f"{place}: a quorum queue can be neither auto_delete nor exclusive")
    for name in ("x-max-length", "x-max-length-bytes", "x-delivery-limit", "x-message-ttl", "x-expires"):
        value = arguments.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{place}: {name} must be a whole number, not {value!r}")


def _check_bindings(definitions: Definitions) -> None:
    known = {
        kind: {(row.get("vhost"), row["name"]) for row in definitions.get(section, [])}
        for kind, section in (("queue", "queues"), ("exchange", "exchanges"))
    }
    for index, row in enumerate(definitions.get("bindings", [])):
        vhost, source, destination = row.get("vhost"), row.get("source"), row.get("destination")
        kind = row.get("destination_type")
        if kind not in known:
            raise ValueError(f"bindings[{index}]: destination_type must be queue or exchange, not {kind!r}")
        if (vhost, destination) not in known[kind]:
            raise ValueError(f"bindings[{index}]: there is no {kind} named {destination!r} in {vhost!r}")
        built_in = isinstance(source, str) and source.startswith("amq.")
        if (vhost, source) not in known["exchange"] and not built_in:
            raise ValueError(f"bindings[{index}]: there is no exchange named {source!r} in {vhost!r}")
        if not isinstance(row.get("routing_key"), str):
            raise ValueError(f"bindings[{index}]: has no routing_key")
