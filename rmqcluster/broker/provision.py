"""Accounts, permissions and topology, brought into the committed cluster once per change.

What was provisioned is told by a stamp in the cluster itself (the global parameter `rmqcluster`): a hash under
the cookie over accounts, passwords and definitions. It is written last, so a run that was cut short is done
again; every step can be repeated.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from rmqcluster.broker.account import (
    HASHING_ALGORITHM,
    MONITOR_TAGS,
    MONITOR_USER,
    keyed_hash,
    monitor_password,
    password_hash,
)
from rmqcluster.broker.definitions import Definitions
from rmqcluster.broker.management import PARAMETER
from rmqcluster.config.settings import Account, Secret, Settings
from rmqcluster.core.queues import QueueReport
from rmqcluster.core.tables import Missed
from rmqcluster.errors import BrokerUnavailable, CommandFailed

SETTLE_SECONDS = 30.0  # an import of 3.10 goes on after its command has ended
_LOOK_SECONDS = 0.25
_DEFAULT_VHOST = "/fog"
_NOTHING = "^$"
_EVERYTHING = ".*"
_WORKER_WRITES = r"^(results|metrics)\.topic$"
_WORKER_READS = r"^tasks\."


class Upkeep(Protocol):
    """The acts on queues (`Replicas`)."""

    def queues(self) -> QueueReport: ...

    def grow(self) -> None: ...

    def rebalance(self, seen: QueueReport | None) -> None: ...

    def forget(self, node: str) -> None: ...

    def prepare_stop(self, seconds: float) -> None: ...

    def drain(self) -> None: ...

    def revive(self) -> None: ...


class GoingOnAlone(Protocol):
    """The last resort (`Recovery`)."""

    def prepare_boot(self) -> None: ...

    def release(self) -> None: ...

    def settle(self, lost: frozenset[str]) -> tuple[str, ...]: ...


class WaitingTables(Protocol):
    """The metadata that a majority waits for (`Tables`)."""

    def load(self, missed: Missed) -> str: ...


class Acts(Protocol):
    """The commands that provisioning needs (`Ctl`)."""

    @property
    def replicas(self) -> Upkeep: ...

    @property
    def recovery(self) -> GoingOnAlone: ...

    @property
    def tables(self) -> WaitingTables: ...

    def facts(self) -> dict[str, object]: ...

    def import_definitions(self, definitions: bytes) -> None: ...

    def delete_user(self, name: str) -> None: ...

    def set_global_parameter(self, name: str, value: Mapping[str, str]) -> None: ...

    def join(self, target: str) -> None: ...


class Reads(Protocol):
    """The question that provisioning needs answered (`ManagementApi`)."""

    def quorum_queues(self) -> frozenset[tuple[str, str]]: ...


def wanted_stamp(settings: Settings, definitions: Definitions | None) -> str:
    """Hash of what should be provisioned. It changes with any password, and tells nothing to who reads it."""
    accounts = [
        [account.name, account.worker, keyed_hash(settings.cookie, "account password", account.password.value.encode())]
        for account in settings.accounts
    ]
    content = {"format": 1, "accounts": accounts, "definitions": definitions, "size": settings.policy.size}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    return keyed_hash(settings.cookie, "provisioning stamp", hashlib.sha256(canonical).digest())[:32]


def document(settings: Settings, definitions: Definitions | None) -> dict[str, object]:
    """What is imported: the definitions file with our accounts and their permissions in it, passwords hashed."""
    given: Definitions = definitions or {}
    vhosts = [str(row["name"]) for row in given.get("vhosts", [])] or [_DEFAULT_VHOST]
    ours = {MONITOR_USER, "guest", *(account.name for account in settings.accounts)}
    users = [row for row in given.get("users", []) if row.get("name") not in ours]
    permissions = [row for row in given.get("permissions", []) if row.get("user") not in ours]
    users += [_user(MONITOR_USER, monitor_password(settings.cookie), MONITOR_TAGS)]
    users += [
        _user(one.name, one.password, ("worker" if one.worker else "administrator",)) for one in settings.accounts
    ]
    for vhost in vhosts:
        permissions.append(_permission(MONITOR_USER, vhost, (_NOTHING, _NOTHING, _NOTHING)))
        permissions += [_permission(account.name, vhost, _patterns(account)) for account in settings.accounts]
    filled: dict[str, object] = {name: rows for name, rows in given.items() if name != "global_parameters"}
    filled["global_parameters"] = [row for row in given.get("global_parameters", []) if row.get("name") != PARAMETER]
    filled |= {"vhosts": given.get("vhosts") or [{"name": _DEFAULT_VHOST}], "users": users, "permissions": permissions}
    return filled


class Provisioner:
    """Port `Commands`; slow, for a worker thread. The acts on queues are those of `Replicas`."""

    def __init__(
        self,
        settings: Settings,
        definitions: Definitions | None,
        acts: Acts,
        reads: Reads,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._definitions = definitions
        self._acts = acts
        self._reads = reads
        upkeep = acts.replicas
        self.queues, self.grow, self.rebalance = upkeep.queues, upkeep.grow, upkeep.rebalance
        self.forget, self.drain, self.revive = upkeep.forget, upkeep.drain, upkeep.revive
        self.prepare_stop = upkeep.prepare_stop
        alone = acts.recovery
        self.prepare_boot, self.release, self.settle = alone.prepare_boot, alone.release, alone.settle
        self.load_tables = acts.tables.load
        self._sleep = sleep
        self._monotonic = monotonic

    def join(self, target: str) -> None:
        """The part `join` of port `Commands`."""
        self._acts.join(target)

    def provision(self, cluster_id: str) -> None:
        """Bring accounts, permissions and topology in, unless the stamp says they are.

        Raises CommandFailed; run it again then.
        """
        stamp = wanted_stamp(self._settings, self._definitions)
        before = self._acts.facts()
        if before.get("ours") != {"cluster_id": cluster_id, "stamp": stamp}:
            content = json.dumps(document(self._settings, self._definitions)).encode()
            self._acts.import_definitions(content)
            users = before.get("users")
            if isinstance(users, list) and "guest" in users:
                self._acts.delete_user("guest")
            self._await_topology()
            self._acts.set_global_parameter(PARAMETER, {"cluster_id": cluster_id, "stamp": stamp})

    def _await_topology(self) -> None:
        """Until every quorum queue of the file is there: the import may go on behind the command's back."""
        wanted = {
            (str(row["vhost"]), str(row["name"]))
            for row in (self._definitions or {}).get("queues", [])
            if isinstance(arguments := row.get("arguments"), dict) and arguments.get("x-queue-type") == "quorum"
        }
        deadline = self._monotonic() + SETTLE_SECONDS
        while True:
            try:
                lacking = wanted - self._reads.quorum_queues()
                trouble = f"{len(lacking)} queues are not there, {sorted(lacking)[0][1]} among them" if lacking else ""
            except BrokerUnavailable as error:
                trouble = str(error)
            if not trouble:
                return
            if self._monotonic() >= deadline:
                raise CommandFailed(f"the import of definitions has not finished: {trouble}", exit_status=None)
            self._sleep(_LOOK_SECONDS)


def _user(name: str, password: Secret, tags: tuple[str, ...]) -> dict[str, object]:
    return {
        "name": name,
        "password_hash": password_hash(password),
        "hashing_algorithm": HASHING_ALGORITHM,
        "tags": list(tags),
        "limits": {},
    }


def _permission(user: str, vhost: str, patterns: tuple[str, str, str]) -> dict[str, object]:
    configure, write, read = patterns
    return {"user": user, "vhost": vhost, "configure": configure, "write": write, "read": read}


def _patterns(account: Account) -> tuple[str, str, str]:
    if account.worker:
        return _NOTHING, _WORKER_WRITES, _WORKER_READS
    return _EVERYTHING, _EVERYTHING, _EVERYTHING
