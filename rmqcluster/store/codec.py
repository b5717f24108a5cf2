"""Records to JSON and back. What comes from Redis is size-limited and typed; what does not fit is no record.

Unknown fields are ignored, so that an older member can read a newer one; `v` is the format version.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from rmqcluster.core.model import (
    Announcement,
    BrokerPhase,
    Claim,
    DiskKind,
    Lease,
    Owner,
    Record,
    View,
)

FORMAT = 1
VALUE_BYTES_MAX = 64 * 1024
NAMES_MAX = 2000
_NODE = re.compile(r"[A-Za-z0-9_][\w.-]{0,100}@[A-Za-z0-9][\w.-]{0,250}")
_TEXT_MAX = 2000


class Unusable(ValueError):
    """A value that is not a record of ours."""


def is_node(name: object) -> bool:
    return isinstance(name, str) and _NODE.fullmatch(name) is not None


def printable(text: str) -> str:
    """One line without control characters, bounded: text from Redis cannot forge what a person reads."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:_TEXT_MAX])


def encode(record: Mapping[str, object]) -> str:
    return json.dumps({"v": FORMAT, **{k: v for k, v in record.items() if v is not None}}, separators=(",", ":"))


def _object(raw: str | None) -> dict[str, Any]:
    if raw is None or len(raw) > VALUE_BYTES_MAX:
        raise Unusable("missing or larger than 64 KiB")
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Unusable("not JSON") from error
    if not isinstance(found, dict) or type(found.get("v")) is not int:
        raise Unusable("not a record of ours")
    return found


def _text(o: Mapping[str, Any], name: str) -> str:
    value = o.get(name)
    if not isinstance(value, str) or len(value) > _TEXT_MAX:
        raise Unusable(f"{name} is not a text")
    return printable(value)


def _maybe_text(o: Mapping[str, Any], name: str) -> str | None:
    return None if o.get(name) is None else _text(o, name)


def _node(o: Mapping[str, Any], name: str) -> str:
    value = o.get(name)
    if not is_node(value):
        raise Unusable(f"{name} is not a node name")
    return str(value)


def _count(o: Mapping[str, Any], name: str) -> int:
    value = o.get(name, 0)
    if type(value) is not int or not 0 <= value < 2**53:
        raise Unusable(f"{name} is not a number")
    return value


def _nodes(value: object) -> frozenset[str]:
    if not isinstance(value, list) or len(value) > NAMES_MAX or not all(is_node(name) for name in value):
        raise Unusable("not a list of node names")
    return frozenset(value)


def encode_announcement(a: Announcement) -> str:
    view = None if a.view is None else {"members": sorted(a.view.members), "running": sorted(a.view.running)}
    if view is not None and a.view is not None and a.view.alarms:
        view["alarms"] = list(a.view.alarms)
    return encode(
        {
            "node": a.node,
            "instance": a.instance,
            "disk": a.disk.value,
            "broker": a.broker.value,
            "cluster_id": a.cluster_id,
            "host": a.host,
            "version": a.version,
            "cookie": a.cookie,
            "mutual": a.mutual,
            "view": view,
            "listed": sorted(a.listed) or None,
            "epoch_high": a.epoch_high,
            "management": a.management,
            "http": a.http,
            "state": a.state,
            "held": a.held,
            "wanted": a.wanted,
            "beat_sequence": a.beat_sequence,
        }
    )


def decode_announcement(raw: str | None, node: str) -> Announcement:
    """Raises Unusable; an announcement under another name than its own is unusable too."""
    o = _object(raw)
    if _node(o, "node") != node:
        raise Unusable("announced under another name")
    mutual = o.get("mutual")
    if mutual is not None and type(mutual) is not bool:
        raise Unusable("mutual is not true or false")
    try:
        disk, broker = DiskKind(o.get("disk")), BrokerPhase(o.get("broker"))
    except ValueError as error:
        raise Unusable("unknown disk or broker state") from error
    return Announcement(
        node=node,
        instance=_text(o, "instance"),
        disk=disk,
        broker=broker,
        cluster_id=_maybe_text(o, "cluster_id"),
        host=_maybe_text(o, "host"),
        version=_maybe_text(o, "version"),
        cookie=_maybe_text(o, "cookie"),
        mutual=mutual,
        view=None if o.get("view") is None else _view(o["view"]),
        listed=_nodes(o.get("listed", [])),
        epoch_high=_count(o, "epoch_high"),
        management=_maybe_text(o, "management"),
        http=_maybe_text(o, "http"),
        state=_maybe_text(o, "state") or "",
        held=_maybe_text(o, "held"),
        wanted=_maybe_text(o, "wanted"),
        beat_sequence=_count(o, "beat_sequence"),
    )


def _view(o: object) -> View:
    if not isinstance(o, dict):
        raise Unusable("view is not an object")
    alarms = o.get("alarms", [])
    if not isinstance(alarms, list) or len(alarms) > NAMES_MAX or not all(isinstance(a, str) for a in alarms):
        raise Unusable("alarms are not texts")
    return View(_nodes(o.get("members")), _nodes(o.get("running")), tuple(printable(a) for a in alarms))


def encode_owner(owner: Owner) -> str:
    return encode({"instance": owner.instance, "sequence": owner.sequence})


def decode_owner(raw: str | None) -> Owner:
    o = _object(raw)
    return Owner(_text(o, "instance"), _count(o, "sequence"))


def encode_record(record: Record) -> str:
    return encode({"cluster_id": record.cluster_id, "epoch": record.epoch, "founder": record.founder})


def decode_record(raw: str | None) -> Record:
    o = _object(raw)
    return Record(_text(o, "cluster_id"), _count(o, "epoch"), _text(o, "founder"))


def decode_claim(raw: str | None) -> Claim:
    o = _object(raw)
    return Claim(_text(o, "cluster_id"), _node(o, "node"), _text(o, "instance"), _count(o, "epoch"))


def decode_lease(raw: str | None) -> Lease:
    o = _object(raw)
    return Lease(_node(o, "node"), _text(o, "instance"), _count(o, "epoch"))
