"""A real cluster whose members, and Redis, live on machines of their own, with a network that can be cut."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import redis
from cluster import Cluster
from network import Network

from rmqcluster.demo import layout, node
from rmqcluster.demo.state import NodeState

REDIS = "redis"
# A broker that pauses in a minority may fail to resume when its peers are back: after a minute it is started again.
BACK_SECONDS = 150.0
TICK_SECONDS = 6  # after so long without a word, a broker gives another up
# Later than what the harness wrote, so this is what counts.
CONFIGURATION = f"""\
management.tcp.ip = 0.0.0.0
net_ticktime = {TICK_SECONDS}
"""


@dataclass(frozen=True, slots=True)
class Machine(NodeState):
    """A member that is named by the address of its machine, so that no names have to be resolved."""

    address: str = ""

    @property
    def name(self) -> str:
        return f"rmq{self.number}@{self.address}"


def machine(number: int) -> str:
    return f"n{number}"


class NetCluster(Cluster):
    """Like `Cluster`; whatever it does with a member it does on that member's machine."""

    def __init__(self, size: int = 3, settings: Mapping[str, str] | None = None) -> None:
        self.network = Network([machine(number + 1) for number in range(size)] + [REDIS])
        try:
            super().__init__(size, settings)
            self._move_in()
        except BaseException:
            self.network.close()
            raise

    def close(self) -> None:
        try:
            super().close()
        finally:
            self.network.close()

    def _move_in(self) -> None:
        for one in self.demo.nodes:
            place = {name: getattr(one, name) for name in NodeState.__dataclass_fields__}
            self.demo = self.demo.with_node(Machine(**place, address=self.network.address(machine(one.number))))
            node.prepare(self.demo, one, self.owner)
            layout.write(self.demo.node_directory(one.number) / "conf.d" / "60-net.conf", CONFIGURATION, self.owner)
        address = self.network.address(REDIS)
        self.demo = replace(self.demo, settings={**self.demo.settings, "REDIS_HOST": address})
        path = self.demo.directory / "redis" / "redis.conf"
        path.write_text(path.read_text().replace("bind 127.0.0.1", f"bind 127.0.0.1 {address}"))

    def address(self, number: int) -> str:
        return self.network.address(machine(number))

    # Faults

    def isolate(self, *numbers: int, redis: bool = True, peers: bool = True) -> None:
        """Cut these members (still together) off the other members, off Redis, or off both."""
        here = [machine(number) for number in numbers]
        there = [machine(number) for number in self.numbers if number not in numbers] if peers else []
        self.network.cut(here, there + ([REDIS] if redis else []))

    def heal(self) -> None:
        self.network.heal()
        super().heal()

    # What `Cluster` does, done on the right machine

    def start(self, *numbers: int, extra: Mapping[str, str] | None = None) -> None:
        for number in numbers or self.numbers:
            with self.network.inside(machine(number)):
                super().start(number, extra={**self._overrides(number), **(extra or {})})

    def environment(self, number: int) -> dict[str, str]:
        return super().environment(number) | self._overrides(number)

    def _run(self, number: int, argv: list[str], answer: str = "") -> subprocess.CompletedProcess[str]:
        with self.network.inside(machine(number)):
            return super()._run(number, argv, answer)

    def _overrides(self, number: int) -> dict[str, str]:
        return {
            "ERL_EPMD_ADDRESS": self.address(number),
            "RABBITMQ_NODE_IP_ADDRESS": "0.0.0.0",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "",
            "RABBITMQ_CTL_ERL_ARGS": "",
            "RMQCLUSTER_HTTP_BIND": "0.0.0.0",
        }

    def await_members(self, *numbers: int, seconds: float = BACK_SECONDS, provisioned: bool = True) -> None:
        for number in numbers or self.numbers:
            with self.network.inside(machine(number)):
                super().await_members(number, seconds=seconds, provisioned=provisioned)
        ids = {(self.status(number) or {}).get("cluster_id") for number in numbers or self.numbers}
        assert len(ids) == 1, f"the members name different clusters: {ids}"

    def status(self, number: int) -> dict[str, Any] | None:
        with self.network.inside(machine(number)):
            return super().status(number)

    def api(self, number: int, path: str, user: str = "admin", password: str | None = None) -> tuple[int, Any]:
        with self.network.inside(machine(number)):
            return super().api(number, path, user, password)

    def amqp_is_open(self, number: int) -> bool:
        with self.network.inside(machine(number)):
            return super().amqp_is_open(number)

    @contextmanager
    def channel(self, number: int, user: str = "admin", password: str | None = None) -> Iterator[Any]:
        opened = super().channel(number, user, password)
        with self.network.inside(machine(number)):
            channel = opened.__enter__()
        try:
            yield channel
        finally:
            opened.__exit__(None, None, None)

    def redis_start(self) -> None:
        with self.network.inside(REDIS):
            super().redis_start()

    def redis(self) -> "redis.Redis":
        return redis.Redis(
            host=self.network.address(REDIS),
            port=self.demo.redis.port,
            password=self.secret("redis"),
            decode_responses=True,
            socket_timeout=5,
        )
