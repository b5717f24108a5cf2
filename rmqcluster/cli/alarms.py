"""What stands behind a resource alarm: how much is free, and which queues are large. Bounded questions, facts in words.

These are asked only while there is an alarm: statistics cost the brokers something.
"""

from collections.abc import Iterator, Mapping

from rmqcluster.broker.account import MONITOR_USER, monitor_password
from rmqcluster.broker.http import get_json
from rmqcluster.config.settings import Settings
from rmqcluster.core.model import View
from rmqcluster.core.status_format import name, shown
from rmqcluster.errors import BrokerRefused, BrokerUnavailable

ANSWER_SECONDS = 2.0
NODES_MAX = 3
QUEUES_SHOWN = 2
NODE = "/api/nodes?columns=name,disk_free,disk_free_limit,mem_used,mem_limit"
QUEUES = (
    f"/api/queues?page=1&page_size={QUEUES_SHOWN}&sort=message_bytes&sort_reverse=true"
    "&columns=vhost,name,messages,message_bytes,consumers"
)
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def alarm_facts(settings: Settings, views: Mapping[str, View], addresses: Mapping[str, str]) -> tuple[str, ...]:
    """Sentences about the nodes with an alarm; empty when there is none, or nobody answers in time."""
    alarms = {alarm for view in views.values() for alarm in view.alarms}
    if not alarms or not settings.cookie or not addresses:
        return ()
    address = addresses[min(addresses)]
    password = monitor_password(settings.cookie)

    def ask(path: str) -> object:
        try:
            return get_json(address, path, MONITOR_USER, password, deadline_seconds=ANSWER_SECONDS)
        except (BrokerUnavailable, BrokerRefused):
            return None  # without these facts the alarm itself is still told

    return (*_room(ask(NODE), alarms), *_large(ask(QUEUES)))


def _room(nodes: object, alarms: set[str]) -> list[str]:
    rows = {str(row.get("name")): row for row in nodes if isinstance(row, dict)} if isinstance(nodes, list) else {}
    found = []
    for alarm in sorted(alarms)[:NODES_MAX]:
        kind, _, node = alarm.partition(" ")
        row = rows.get(node, {})
        if kind == "disk" and (free := _size(row.get("disk_free"))) and (limit := _size(row.get("disk_free_limit"))):
            found.append(f"{name(node)}: {free} free, limit {limit}")
        elif kind == "memory" and (used := _size(row.get("mem_used"))) and (limit := _size(row.get("mem_limit"))):
            found.append(f"{name(node)}: {used} of memory used, limit {limit}")
    return found


def _large(queues: object) -> Iterator[str]:
    rows = queues.get("items") if isinstance(queues, dict) else None
    words = [_queue(row) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    told = [word for word in words if word][:QUEUES_SHOWN]
    if told:
        yield f"biggest: {'; '.join(told)}"


def _queue(row: Mapping[str, object]) -> str:
    """`/fog tasks.normal 31.0 GiB, 4100000 messages, 0 consumers`; empty for a queue that holds nothing."""
    messages, consumers, size = row.get("messages"), row.get("consumers"), _size(row.get("message_bytes"))
    if not isinstance(messages, int) or messages == 0:
        return ""
    by_whom = f", {consumers} consumers" if isinstance(consumers, int) else ""
    held = f" {size}," if size else ""
    return f"{shown(str(row.get('vhost')), 60)} {shown(str(row.get('name')), 60)}{held} {messages} messages{by_whom}"


def _size(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        return ""
    size, unit = float(value), 0
    while size >= 1024 and unit < len(UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.1f} {UNITS[unit]}" if unit else f"{size:.0f} B"
