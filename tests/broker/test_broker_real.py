"""Real brokers: what is promised of booting, reading, provisioning and failing, on the RabbitMQ installed here."""

import shutil
import socket
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL

import pytest
from broker_rig import REPOSITORY, Rig, rigs
from support import wait_until

from rmqcluster.agent.ports import Boot
from rmqcluster.broker.account import MONITOR_USER
from rmqcluster.broker.definitions import load
from rmqcluster.broker.http import get_json
from rmqcluster.broker.management import ManagementApi
from rmqcluster.broker.provision import Provisioner, wanted_stamp
from rmqcluster.config.settings import Account, Secret
from rmqcluster.core.model import BrokerPhase, Purpose
from rmqcluster.core.queues import missing_count
from rmqcluster.errors import BrokerRefused, CommandFailed

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(
        shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin:/usr/sbin:/usr/bin") is None,
        reason="RabbitMQ is not installed",
    ),
]

ADMIN = Account("admin", Secret("canary-admin-password"), worker=False)
WORKER = Account("worker1", Secret("canary-worker-password"), worker=True)
DEFINITIONS = load(REPOSITORY / "definitions.json")


def ask(rig: Rig, account: Account, path: str) -> object:
    address = f"127.0.0.1:{rig.settings.management_port}"
    return get_json(address, path, account.name, account.password, deadline_seconds=10)


def port_is_open(port: int) -> bool:
    with socket.socket() as one:
        one.settimeout(1)
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_blank_boot_then_restart() -> None:
    """A blank node boots with one account that can do nothing, its tools know it, and its data outlives a restart."""
    with rigs() as [rig]:
        (rig.settings.paths.config_files / "20-operator.conf").write_text("heartbeat = 33\n")
        (rig.settings.paths.config_files / "10-defaults.conf").write_text("loopback_users.guest = false\n")
        rig.own()
        assert not rig.volume.read().has_data

        rig.start_ready()
        first = rig.api.facts()

        assert rig.process.state().exits == ()
        assert first.view is not None
        assert {rig.settings.node} == first.view.members == first.view.running
        assert (first.stamp, first.view.alarms) == ("", ())
        assert first.broker_cluster_id
        assert rig.ctl.facts()["users"] == [MONITOR_USER]
        assert (
            rig.ctl.eval_json("{ok, H} = application:get_env(rabbit, heartbeat), base64:encode(rabbit_json:encode(H)).")
            == 33
        )
        with pytest.raises(BrokerRefused):
            ask(rig, Account("guest", Secret("guest"), worker=False), "/api/whoami")
        assert rig.volume.read().has_data

        rig.stop()
        assert rig.process.state().exits == ()
        rig.start_ready(Boot(Purpose.DATA, "c1"))

        assert rig.api.facts().broker_cluster_id == first.broker_cluster_id


def test_broker_environment_holds_no_secret() -> None:
    """No secret of the supervisor is in the environment or the arguments of the running broker."""
    with rigs() as [rig]:
        rig.start_ready()
        environment = rig.environment_of_broker()
        arguments = Path(f"/proc/{rig.process.pid}/cmdline").read_text()

        assert not [name for name, value in environment.items() if "canary" in value or "RIGCOOKIE" in value]
        assert environment["RABBITMQ_NODENAME"] == rig.settings.node
        assert "canary" not in arguments
        generated = rig.volume.state_dir / "conf.d" / "90-rmqcluster.conf"
        assert generated.stat().st_mode & 0o777 == 0o600


def provisioner(rig: Rig, *accounts: Account) -> Provisioner:
    settings = replace(rig.settings, accounts=accounts)
    return Provisioner(settings, DEFINITIONS, rig.ctl, ManagementApi(settings))


def test_provisioning() -> None:
    """Accounts and topology come in once; a second run changes nothing; a new password is applied."""
    with rigs() as [rig]:
        rig.start_ready()
        first = provisioner(rig, ADMIN, WORKER)
        first.provision("c1")
        stamp = rig.api.facts().stamp
        hashes = {str(row["name"]): row["password_hash"] for row in rows(ask(rig, ADMIN, "/api/users"))}

        assert stamp == wanted_stamp(replace(rig.settings, accounts=(ADMIN, WORKER)), DEFINITIONS)
        assert set(hashes) == {"admin", "worker1", MONITOR_USER}
        assert {str(row["name"]) for row in rows(ask(rig, ADMIN, "/api/queues"))} == {
            *("tasks.high_priority", "tasks.normal", "tasks.low_priority"),
            *("results.success", "results.failed", "metrics.node", "dlq"),
        }
        assert {row["type"] for row in rows(ask(rig, ADMIN, "/api/queues"))} == {"quorum"}
        bindings = rows(ask(rig, ADMIN, "/api/exchanges/%2Ffog/dlx/bindings/source"))
        assert [(row["destination"], row["routing_key"]) for row in bindings] == [("dlq", "#")]
        permission = rows(ask(rig, ADMIN, "/api/users/worker1/permissions"))[0]
        assert (permission["configure"], permission["write"], permission["read"]) == (
            *("^$", r"^(results|metrics)\.topic$", r"^tasks\."),
        )
        assert missing_count(first.queues(), frozenset({rig.settings.node})) == 0

        first.provision("c1")
        assert hashes == {str(row["name"]): row["password_hash"] for row in rows(ask(rig, ADMIN, "/api/users"))}

        rotated = replace(WORKER, password=Secret("canary-rotated"))
        provisioner(rig, ADMIN, rotated).provision("c1")
        with pytest.raises(BrokerRefused):
            ask(rig, WORKER, "/api/whoami")
        # The management API lets only certain tags in: a worker's password is checked by the broker itself.
        assert (
            rig.ctl.eval_json(
                'R = rabbit_access_control:check_user_pass_login(<<"worker1">>, <<"canary-rotated">>),'
                " base64:encode(rabbit_json:encode(element(1, R)))."
            )
            == "ok"
        )
        assert not [line for line in rig.lines if "canary" in line]


def rows(answer: object) -> list[dict[str, object]]:
    assert isinstance(answer, list)
    return answer


def test_second_node_joins_while_booting() -> None:
    """A joiner keeps its ports closed until its target answers, then is a member, and queues grow onto it."""
    with rigs(2) as [one, two]:
        two.start(Boot(Purpose.JOIN, "c1", target=one.settings.node))
        waiting = wait_until(lambda: (two.turn(), two.process.waits_for())[1], 40, "joiner says what it waits for")

        assert one.settings.node in waiting
        assert not port_is_open(two.settings.amqp_port)
        assert not two.volume.read().has_data

        one.start_ready()
        provisioner(one, ADMIN).provision("c1")
        two.until(BrokerPhase.READY)
        view = two.api.facts().view

        assert view is not None
        assert view.members == {one.settings.node, two.settings.node}
        assert view == one.api.peer_view(f"127.0.0.1:{two.settings.management_port}")
        with pytest.raises(CommandFailed, match="already lists"):
            two.ctl.join(one.settings.node)

        grower = provisioner(one, ADMIN)
        grower.provision("c1")
        assert {len(queue.members) for queue in grower.queues().queues} == {2}


def test_join_by_command() -> None:
    """A broker that booted alone becomes a member by stop_app, join_cluster, start_app."""
    with rigs(2) as [one, two]:
        one.start_ready()
        two.start_ready()
        two.ctl.join(one.settings.node)

        assert two.ctl.view().running == {one.settings.node, two.settings.node}


def test_refused_join_says_why_and_leaves_the_broker_running() -> None:
    """A join that fails gives the tool's own words, and the broker's application is up again."""
    with rigs() as [rig]:
        rig.start_ready()
        with pytest.raises(CommandFailed, match="join_cluster"):
            rig.ctl.join("absent@localhost")

        assert rig.ctl.view().members == {rig.settings.node}


@pytest.mark.parametrize(
    ("line", "said"),
    [("no.such.key = 1", "no setting named no.such.key"), ("this is not a line", "syntax error in")],
)
def test_bad_configuration_is_told(line: str, said: str) -> None:
    """A broker that dies of its configuration is reported in its own words, as something only a person can mend."""
    with rigs() as [rig]:
        (rig.settings.paths.config_files / "50-operator.conf").write_text(line + "\n")
        rig.own()
        rig.start()
        rig.until(BrokerPhase.DOWN, 20)
        [ended] = rig.process.state().exits

        assert said in ended.reason
        assert ended.configuration


def test_port_in_use_is_told() -> None:
    """A broker whose AMQP port is taken says so; it may be free the next time, so it is no configuration error."""
    with rigs() as [rig], socket.create_server(("", rig.settings.amqp_port)):
        rig.start()
        rig.until(BrokerPhase.DOWN, 40)
        [ended] = rig.process.state().exits

        assert ended.reason == f"AMQP port {rig.settings.amqp_port} is in use by another process"
        assert not ended.configuration


def test_killed_broker_is_noticed() -> None:
    """An end that nobody asked for is on record with its signal."""
    with rigs() as [rig]:
        rig.start_ready()
        rig.spawner.spawned[-1].signal(SIGKILL)
        rig.until(BrokerPhase.DOWN)

        [ended] = rig.process.state().exits
        assert "SIGKILL" in ended.reason
