"""What a real broker tells of a resource alarm: room and limit, and the queues that are large."""

import json
import shutil
import urllib.request
from base64 import b64encode

import pytest
from broker_rig import Rig, rigs
from support import wait_until

from rmqcluster.cli.alarms import alarm_facts

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(
        shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin:/usr/sbin:/usr/bin") is None,
        reason="RabbitMQ is not installed",
    ),
]
USER, PASSWORD = "admin", "admin-password"
DEFINITIONS = {
    "vhosts": [{"name": "/fog"}],
    "users": [{"name": USER, "password": PASSWORD, "tags": "administrator"}],
    "permissions": [{"user": USER, "vhost": "/fog", "configure": ".*", "write": ".*", "read": ".*"}],
    "queues": [
        {"name": name, "vhost": "/fog", "durable": True, "auto_delete": False, "arguments": {"x-queue-type": "quorum"}}
        for name in ("tasks.normal", "tasks.idle")
    ],
}


def publish(rig: Rig, queue: str) -> None:
    """One persistent message of 1 KiB through the default exchange of `/fog`."""
    properties = {"delivery_mode": 2}
    body = {"properties": properties, "routing_key": queue, "payload": "x" * 1024, "payload_encoding": "string"}
    request = urllib.request.Request(
        f"http://127.0.0.1:{rig.settings.management_port}/api/exchanges/%2Ffog/amq.default/publish",
        json.dumps(body).encode(),
        {"Authorization": "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer)["routed"] is True


def test_disk_alarm_names_room_limit_and_the_largest_queue() -> None:
    """G1: with a disk alarm the status gets free space, limit and the biggest queue from the broker itself."""
    with rigs() as [rig]:
        rig.start_ready()
        rig.ctl.import_definitions(json.dumps(DEFINITIONS).encode())
        publish(rig, "tasks.normal")
        rig.ctl.run("rabbitmqctl", "set_disk_free_limit", "1000000000000000", deadline_seconds=20)
        node = rig.settings.node
        view = wait_until(lambda: (v := rig.api.facts().view) and v.alarms and v, 20, "the alarm")

        def told() -> tuple[str, ...]:
            address = f"127.0.0.1:{rig.settings.management_port}"
            found = alarm_facts(rig.settings, {node: view}, {node: address})
            return found if len(found) == 2 and "limit 909.5 TiB" in found[0] else ()

        room, largest = wait_until(told, 20, "the statistics, which come every 5 s, have the new limit and the queue")

        assert view.alarms == (f"disk {node}",)
        assert room.startswith(f"{node}: ")
        assert room.endswith("iB free, limit 909.5 TiB")
        assert largest.startswith("biggest: /fog tasks.normal 1.0 KiB, 1 messages, 0 consumers")
