"""Where a failover is tried: what the scenario needs of a cluster, and the demo as one."""

import base64
import http.client
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from rmqcluster.demo import acts, layout, node, proc, services, state, watch

from .ledger import Account, Endpoint

SIZE = 3
WELL_SECONDS = 60.0
HTTP_SECONDS = 3.0
DEMO = "demo"


class Target(Protocol):
    """A cluster under test. Nodes are named as RabbitMQ names them."""

    ttl_seconds: float
    settle_seconds: float

    def nodes(self) -> list[str]: ...

    def endpoints(self) -> list[Endpoint]: ...

    def account(self) -> Account: ...

    def kill(self, node_name: str) -> None:
        """SIGKILL of the supervisor and its broker; returns when both are gone."""
        ...

    def start(self, node_name: str) -> None:
        """Start it again with its disk; returns at once."""
        ...

    def renew_redis(self) -> None:
        """SIGKILL of Redis; it is started again, with what it had on disk."""
        ...

    def status(self, asked: str) -> Mapping[str, Any] | None:
        """`status --json` as this member gives it; None while it does not answer."""
        ...

    def queues(self, asked: str) -> list[Mapping[str, Any]]:
        """The queues of /fog as this member's management API lists them. Raises OSError while it does not answer."""
        ...

    def close(self) -> None:
        """End what was started for the test, and nothing else."""
        ...


class DemoTarget:
    """The demo: the person's own when all of its three nodes run, else one that is made here and removed at the end.

    Raises DemoBusy when a demo command is at work on the person's own, DemoFailed when its members are not well.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._ends = ExitStack()
        with ExitStack() as unfinished:
            unfinished.callback(self.close)
            self._link = self._find(say) or self._make(say)
            self._demo = state.load(self._link)
            watch.await_members(self._demo, [one.number for one in self._demo.nodes], say, WELL_SECONDS)
            unfinished.pop_all()
        self.ttl_seconds = float(self._demo.settings.get("RMQCLUSTER_TTL_SECONDS", "15"))
        self.settle_seconds = float(self._demo.settings.get("RMQCLUSTER_SETTLE_SECONDS", "10"))

    def _find(self, say: Callable[[str], None]) -> Path | None:
        """The person's demo, held against other demo commands until the end; None when there is none to use."""
        own = layout.default_directory()
        if not acts.is_there(own):
            return None
        demo = state.load(own)
        if demo.size != SIZE or not acts.is_whole(demo):
            return None
        self._ends.enter_context(acts.exclusive(own))
        say(f"using the demo that runs in {own}")
        return own

    def _make(self, say: Callable[[str], None]) -> Path:
        top = Path(tempfile.mkdtemp(prefix="rmqcluster-failover-"))
        self._ends.callback(_remove, top)
        top.chmod(0o755)
        acts.up(top / DEMO, SIZE, say)
        return top / DEMO

    def nodes(self) -> list[str]:
        return [one.name for one in self._demo.nodes]

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("127.0.0.1", one.amqp_port) for one in self._demo.nodes]

    def account(self) -> Account:
        return Account("admin", self._demo.secret_file("admin").read_text().strip())

    def kill(self, node_name: str) -> None:
        number = self._number(node_name)
        left = node.kill(self._demo, number)
        assert not left, f"still there after SIGKILL: {left}"
        self._demo = self._demo.with_node(replace(self._demo.node(number), supervisor=None))
        state.save(self._demo)

    def start(self, node_name: str) -> None:
        self._demo = acts.start_supervisor(self._demo, self._number(node_name), layout.find_owner())

    def renew_redis(self) -> None:
        """It keeps nothing on disk, so it comes back empty."""
        redis = self._demo.redis.process
        assert redis is not None, "the demo does not know its Redis"
        proc.end([redis], term_seconds=0)
        self._demo = services.start_redis(self._demo, layout.find_owner())
        state.save(self._demo)

    def status(self, asked: str) -> Mapping[str, Any] | None:
        report = watch.read_report(self._demo.node(self._number(asked)))
        return report.whole if report is not None else None

    def queues(self, asked: str) -> list[Mapping[str, Any]]:
        account, one = self.account(), self._demo.node(self._number(asked))
        connection = http.client.HTTPConnection("127.0.0.1", one.management_port, timeout=HTTP_SECONDS)
        try:
            token = base64.b64encode(f"{account.user}:{account.password}".encode()).decode()
            path = "/api/queues/%2Ffog?disable_stats=true&enable_queue_totals=true"
            connection.request("GET", path, headers={"Authorization": f"Basic {token}"})
            rows = json.loads(connection.getresponse().read())
        except (http.client.HTTPException, ValueError) as error:
            raise OSError(f"{asked} gave no usable answer: {error}") from error
        finally:
            connection.close()
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    def close(self) -> None:
        self._ends.close()

    def _number(self, node_name: str) -> int:
        return next(one.number for one in self._demo.nodes if one.name == node_name)


def _remove(top: Path) -> None:
    if acts.is_there(top / DEMO):
        acts.down(top / DEMO, lambda words: None)
    shutil.rmtree(top, ignore_errors=True)


def replicated(target: Target, asked: str) -> list[Mapping[str, Any]]:
    """The quorum queues whose leader can move, by the word of `asked`."""
    return [row for row in target.queues(asked) if row.get("type") == "quorum" and len(row.get("members") or ()) > 1]


def leaders(target: Target, asked: str, running: list[str]) -> dict[str, int]:
    """Running node -> how many of them it leads, by the word of `asked`."""
    counts = Counter(str(row.get("leader")) for row in replicated(target, asked))
    return {name: counts[name] for name in running}
