"""Where a failover is tried: what the scenario needs of a cluster, and the demo as one."""

import base64
import http.client
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from rmqcluster.demo import acts, layout, node, state, watch

from .ledger import Account, Endpoint

HTTP_SECONDS = 3.0


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
    """The demo: the person's own when it runs, else one in a directory of its own that is removed at the end."""

    def __init__(self, say: Callable[[str], None]) -> None:
        own = layout.default_directory()
        self._made: Path | None = None
        if acts.is_there(own) and acts.is_whole(state.load(own)):
            self._link = own
            say(f"using the demo that runs in {own}")
        else:
            self._made = Path(tempfile.mkdtemp(prefix="rmqcluster-failover-"))
            self._made.chmod(0o755)
            self._link = self._made / "demo"
            try:
                acts.up(self._link, None, say)
            except BaseException:
                self.close()
                raise
        self._demo = state.load(self._link)
        watch.await_members(self._demo, [one.number for one in self._demo.nodes], say, acts.READY_SECONDS)
        self.ttl_seconds = float(self._demo.settings.get("RMQCLUSTER_TTL_SECONDS", "15"))
        self.settle_seconds = float(self._demo.settings.get("RMQCLUSTER_SETTLE_SECONDS", "10"))

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
        if self._made is None:
            return
        if acts.is_there(self._link):
            acts.down(self._link, lambda words: None)
        shutil.rmtree(self._made, ignore_errors=True)

    def _number(self, node_name: str) -> int:
        return next(one.number for one in self._demo.nodes if one.name == node_name)


TARGETS: dict[str, Callable[[Callable[[str], None]], Target]] = {"demo": DemoTarget}


def leaders(target: Target, asked: str, running: list[str]) -> dict[str, int]:
    """Running node -> how many quorum queues it leads, by the word of `asked`."""
    rows = [row for row in target.queues(asked) if row.get("type") == "quorum"]
    counts = Counter(str(row.get("leader")) for row in rows)
    return {name: counts[name] for name in running}
