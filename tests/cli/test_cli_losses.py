"""What two real brokers tell of the queues that go with one of them."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "broker"))

from broker_rig import rigs

from rmqcluster.agent.ports import Boot
from rmqcluster.broker.account import MONITOR_USER
from rmqcluster.cli.losses import UNSEEN, losses
from rmqcluster.core.model import Announcement, BrokerPhase, DiskKind, Purpose, StoreView, View

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(
        shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin:/usr/sbin:/usr/bin") is None,
        reason="RabbitMQ is not installed",
    ),
]


def queue(name: str, vhost: str, **arguments: object) -> dict[str, object]:
    named = {key.replace("_", "-"): value for key, value in arguments.items()}
    return {"name": name, "vhost": vhost, "durable": True, "auto_delete": False, "arguments": named}


def definitions() -> bytes:
    quorum = {"x_queue_type": "quorum"}
    nothing = dict.fromkeys(("configure", "write", "read"), "^$")
    made = {
        "vhosts": [{"name": "/seen"}, {"name": "/unseen"}],
        "permissions": [{"user": MONITOR_USER, "vhost": "/seen", **nothing}],
        "queues": [
            queue("classic", "/seen"),
            queue("sole", "/seen", **quorum, x_quorum_initial_group_size=1),
            queue("pair", "/seen", **quorum, x_quorum_initial_group_size=2),
            queue("classic", "/unseen"),
        ],
    }
    return json.dumps(made).encode()


def test_h3_queues_of_a_node_that_is_given_up() -> None:
    """They are named while it runs and after it died, as far as they are shown; the list is never called complete."""
    with rigs(2) as [one, two]:
        for rig in (one, two):
            operators = rig.settings.paths.config_files / "20-operator.conf"
            operators.write_text("cluster_partition_handling = ignore\n")  # the one that is left goes on answering
            rig.own()
        one.start_ready()
        two.start_ready(Boot(Purpose.JOIN, "c1", one.settings.node))
        two.ctl.import_definitions(definitions())
        names = frozenset((one.settings.node, two.settings.node))
        said = Announcement(
            node=one.settings.node,
            instance="i",
            disk=DiskKind.DATA,
            broker=BrokerPhase.READY,
            view=View(names, names),
            management=f"127.0.0.1:{one.settings.management_port}",
        )
        view = StoreView(members=names, master=one.settings.node, announcements={one.settings.node: said})
        session: Any = SimpleNamespace(settings=one.settings)
        gone = frozenset((two.settings.node,))
        before = losses(session, view, gone)
        two.process.kill()
        two.until(BrokerPhase.DOWN)
        after = losses(session, view, gone)

    assert before.dying == ("classic /seen classic", "quorum /seen sole")
    assert after.dying[0] == "classic /seen classic"
    assert "quorum /seen pair" not in after.dying
    assert before.sentences[-1] == after.sentences[-1] == UNSEEN
