"""What is provisioned, when, and what a wrong definitions file is told."""

import hashlib
import json
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from rmqcluster.broker.account import MONITOR_USER, password_hash
from rmqcluster.broker.definitions import check, load
from rmqcluster.broker.provision import Provisioner, document, wanted_stamp
from rmqcluster.config.settings import Account, Paths, Secret, Settings
from rmqcluster.core.queues import QueueReport
from rmqcluster.errors import CommandFailed, ConfigurationError

REPOSITORY = Path(__file__).resolve().parents[2]
DEFINITIONS = load(REPOSITORY / "definitions.json")
ADMIN = Account("admin", Secret("canary-admin"), worker=False)
WORKER = Account("worker1", Secret("canary-worker"), worker=True)
SETTINGS = Settings("rabbit@one", Secret("canary-cookie"), accounts=(ADMIN, WORKER))


def test_password_hash_follows_rabbitmqs_algorithm() -> None:
    """The documentation's own example."""
    assert (
        password_hash(Secret("test12"), bytes.fromhex("908DC60A")) == "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
    )


def test_shipped_topology_is_the_promised_one() -> None:
    """Every queue is a durable quorum queue with its limits; tasks are dead-lettered by name."""
    assert DEFINITIONS is not None
    arguments: dict[str, Any] = {str(row["name"]): row["arguments"] for row in DEFINITIONS["queues"]}
    kinds = {row["name"]: row["type"] for row in DEFINITIONS["exchanges"]}

    assert {entry["x-queue-type"] for entry in arguments.values()} == {"quorum"}
    for name in ("tasks.high_priority", "tasks.normal", "tasks.low_priority"):
        assert arguments[name] == {
            "x-queue-type": "quorum",
            "x-max-length": 10_000,
            "x-overflow": "reject-publish",
            "x-delivery-limit": 3,
            "x-dead-letter-exchange": "dlx",
            "x-dead-letter-routing-key": f"{name}.failed",
        }
    limits = {
        name: (entry["x-max-length"], entry["x-overflow"]) for name, entry in arguments.items() if name[0] in "rm"
    }
    assert limits == {
        "results.success": (50_000, "drop-head"),
        "results.failed": (50_000, "drop-head"),
        "metrics.node": (100_000, "drop-head"),
    }
    assert kinds == {
        "tasks.direct": "direct",
        "results.topic": "topic",
        "metrics.topic": "topic",
        "dlx": "topic",
        "system.fanout": "fanout",
    }
    assert {(row["source"], row["routing_key"], row["destination"]) for row in DEFINITIONS["bindings"]} == {
        ("tasks.direct", "high_priority", "tasks.high_priority"),
        ("tasks.direct", "normal", "tasks.normal"),
        ("tasks.direct", "low_priority", "tasks.low_priority"),
        ("results.topic", "results.success.#", "results.success"),
        ("results.topic", "results.failed.#", "results.failed"),
        ("metrics.topic", "metrics.node.#", "metrics.node"),
        ("dlx", "#", "dlq"),
    }


def test_accounts_get_exactly_their_rights() -> None:
    """Administrator: everything; worker: three patterns; monitor: look only. Passwords appear as hashes alone."""
    made: dict[str, Any] = document(SETTINGS, DEFINITIONS)
    tags = {row["name"]: row["tags"] for row in made["users"]}
    rights = {(row["user"], row["vhost"]): (row["configure"], row["write"], row["read"]) for row in made["permissions"]}

    assert tags == {
        MONITOR_USER: ["monitoring", "policymaker"],
        "admin": ["administrator"],
        "worker1": ["worker"],
    }
    assert rights == {
        (MONITOR_USER, "/fog"): ("^$", "^$", "^$"),
        ("admin", "/fog"): (".*", ".*", ".*"),
        ("worker1", "/fog"): ("^$", r"^(results|metrics)\.topic$", r"^tasks\."),
    }
    assert "canary" not in json.dumps(made)
    raw = b64decode(next(row["password_hash"] for row in made["users"] if row["name"] == "admin"))
    assert raw[4:] == hashlib.sha256(raw[:4] + b"canary-admin").digest()


def test_definitions_cannot_bring_guest_or_replace_our_accounts() -> None:
    """Users of the file come along, except guest and those that the environment defines."""
    given = {"vhosts": [{"name": "/"}], "users": [{"name": name} for name in ("guest", "admin", MONITOR_USER, "other")]}
    made: dict[str, Any] = document(SETTINGS, check(given))

    assert sorted(row["name"] for row in made["users"]) == sorted([MONITOR_USER, "admin", "worker1", "other"])


@pytest.mark.parametrize(
    "change",
    [
        lambda s: replace(s, accounts=(replace(ADMIN, password=Secret("new")), WORKER)),
        lambda s: replace(s, accounts=(ADMIN,)),
        lambda s: replace(s, accounts=(ADMIN, replace(WORKER, worker=False))),
        lambda s: replace(s, cookie=Secret("other")),
    ],
)
def test_any_change_changes_the_stamp(change: Callable[[Settings], Settings]) -> None:
    """Passwords, accounts and rights are in the stamp; the same input gives the same stamp on every member."""
    assert wanted_stamp(change(SETTINGS), DEFINITIONS) != wanted_stamp(SETTINGS, DEFINITIONS)
    assert wanted_stamp(replace(SETTINGS, node="rabbit@two"), DEFINITIONS) == wanted_stamp(SETTINGS, DEFINITIONS)
    assert wanted_stamp(SETTINGS, None) != wanted_stamp(SETTINGS, DEFINITIONS)


@dataclass
class Broker:
    """A broker that remembers what was done to it, in order."""

    users: list[str] = field(default_factory=lambda: ["guest"])
    ours: Mapping[str, str] | None = None
    names: set[tuple[str, str]] = field(default_factory=set)
    done: list[str] = field(default_factory=list)
    fails_at: str = ""

    def _do(self, what: str) -> None:
        self.done.append(what)
        if what == self.fails_at:
            raise CommandFailed(f"{what} failed", exit_status=1)

    def facts(self) -> dict[str, object]:
        return {"users": list(self.users), "ours": self.ours}

    def import_definitions(self, definitions: bytes) -> None:
        self._do("import")
        for row in json.loads(definitions)["queues"]:
            self.names.add((row["vhost"], row["name"]))

    def delete_user(self, name: str) -> None:
        self._do(f"delete {name}")
        self.users.remove(name)

    def set_global_parameter(self, name: str, value: Mapping[str, str]) -> None:
        self._do("stamp")
        self.ours = dict(value)

    def join(self, target: str) -> None:
        self._do(f"join {target}")

    @property
    def replicas(self) -> "Broker":
        return self

    @property
    def recovery(self) -> "Broker":
        return self

    @property
    def tables(self) -> "Broker":
        return self

    def load(self) -> str:
        self._do("load tables")
        return ""

    def prepare_boot(self) -> None:
        self._do("prepare_boot")

    def release(self) -> None:
        self._do("release")

    def settle(self, lost: frozenset[str]) -> tuple[str, ...]:
        self._do(f"settle {sorted(lost)}")
        return ()

    def quorum_queues(self) -> frozenset[tuple[str, str]]:
        return frozenset(self.names)

    def queues(self) -> QueueReport:
        return QueueReport()

    def grow(self) -> None:
        self._do("grow")

    def rebalance(self) -> None:
        self._do("rebalance")

    def forget(self, node: str) -> None:
        self._do(f"forget {node}")

    def prepare_stop(self, seconds: float) -> None:
        self._do(f"prepare_stop {seconds}")

    def drain(self) -> None:
        self._do("drain")

    def revive(self) -> None:
        self._do("revive")


def test_the_stamp_is_written_after_everything_it_vouches_for() -> None:
    """Import, guest away, then the stamp; a second run finds the stamp and does nothing."""
    broker = Broker()
    provisioner = Provisioner(SETTINGS, DEFINITIONS, broker, broker)
    provisioner.provision("c1")
    assert broker.done == ["import", "delete guest", "stamp"]

    broker.done.clear()
    provisioner.provision("c1")
    assert broker.done == []


@pytest.mark.parametrize("step", ["import", "delete guest", "stamp"])
def test_an_interrupted_run_is_done_again(step: str) -> None:
    """A run that failed at any step before the stamp starts over."""
    broker = Broker(fails_at=step)
    provisioner = Provisioner(SETTINGS, DEFINITIONS, broker, broker)
    with pytest.raises(CommandFailed):
        provisioner.provision("c1")
    broker.fails_at = ""
    provisioner.provision("c1")

    assert broker.done.count("import") == 2
    assert broker.ours == {"cluster_id": "c1", "stamp": wanted_stamp(SETTINGS, DEFINITIONS)}
    assert broker.users == []


def test_an_import_that_never_finishes_is_told_in_time() -> None:
    """Without its queues the import is not vouched for."""
    now = iter(range(0, 1000, 10))
    broker = Broker()
    broker.quorum_queues = lambda: frozenset()  # type: ignore[method-assign]
    provisioner = Provisioner(
        SETTINGS, DEFINITIONS, broker, broker, sleep=lambda _: None, monotonic=lambda: float(next(now))
    )
    with pytest.raises(CommandFailed, match="7 queues are not there"):
        provisioner.provision("c1")
    assert broker.ours is None


QUEUE = {"name": "q", "vhost": "/", "durable": True, "arguments": {}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "line 1 column 2"),
        ("[]", "must be a JSON object"),
        ('{"que": []}', "unknown section 'que'"),
        ('{"queues": {}}', "queues: must be a list"),
        ('{"vhosts": [{}]}', r"vhosts\[0\]: has no name"),
        ({"queues": [QUEUE]}, "vhost '/' is not among"),
        ({"vhosts": [{"name": "/"}], "queues": [{**QUEUE, "durable": False}]}, r"queues\[0\] \(q\): must be durable"),
        (
            {"vhosts": [{"name": "/"}], "queues": [{**QUEUE, "arguments": {"x-queue-mode": "lazy"}}]},
            r"refused by RabbitMQ 4\.3",
        ),
        (
            {"vhosts": [{"name": "/"}], "queues": [{**QUEUE, "arguments": {"x-max-length": "10"}}]},
            "x-max-length must be a whole number",
        ),
        (
            {"vhosts": [{"name": "/"}], "bindings": [{"vhost": "/", "destination": "q", "destination_type": "queue"}]},
            "no queue named 'q'",
        ),
        ("x" * (1024 * 1024 + 1), "larger than 1 MiB"),
    ],
)
def test_a_wrong_definitions_file_is_refused_with_its_place(tmp_path: Path, content: object, said: str) -> None:
    """What a broker would refuse half-way is refused before anything starts, naming file and place."""
    path = tmp_path / "definitions.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))

    with pytest.raises(ConfigurationError, match=said) as refused:
        load(path)
    assert str(path) in str(refused.value)


def test_a_missing_file_is_an_error_only_where_it_was_asked_for(tmp_path: Path) -> None:
    """No file at the default place: nothing to provision. A named file must be there."""
    with pytest.raises(ConfigurationError, match="does not exist"):
        load(tmp_path / "none.json")
    if not Paths().definitions.exists():
        assert load(Paths().definitions) is None
