"""What can go wrong, as data drawn from the seed: what a schedule contains is printed, not guessed."""

import random
from dataclasses import dataclass

KINDS = {
    "kill": 6,  # SIGKILL of supervisor and broker; the disk stays
    "kill_wiped": 2,  # the same, and the volume comes back empty
    "kill_emptied": 1,  # the same, and only the broker's directory is empty
    "kill_at_call": 6,  # SIGKILL at one of the next port calls
    "kill_broker": 4,
    "stop": 3,  # SIGTERM
    "pause": 3,  # SIGSTOP from outside
    "pause_at_call": 5,  # SIGSTOP in the middle of one of the next port calls
    "pause_at_act": 4,  # SIGSTOP of whoever next writes what only a claim or a lease allows
    "kill_at_act": 2,
    "redis_down": 3,
    "redis_emptied": 2,  # down, and empty when it returns
    "redis_flushed": 3,
    "redis_slow": 2,
    "redis_loses_replies": 3,
    "cut_from_redis": 2,  # one supervisor alone
    "partition": 2,  # one broker does not see the others
    "api_trouble": 1,  # brokers often do not answer questions
    "all_down": 2,
    "twin": 1,  # another supervisor with the same name and a volume of its own
    "kill_moved": 1,  # the volume comes back empty, and on another host
    "kill_and_forget": 1,  # a person takes it out while it is down
    "pause_and_forget": 1,  # the same while its broker stands still
    "kill_at_command": 3,  # SIGKILL of whoever carries out the next operation, within its command
    "pause_at_command": 3,
    "op_drain": 2,
    "op_rebalance": 1,
    "op_failover": 1,
    "op_pause": 1,
}


@dataclass(frozen=True, slots=True)
class Fault:
    at: float
    kind: str
    node: int
    seconds: float
    calls: int
    broker_too: bool

    def __str__(self) -> str:
        return f"{self.at:.1f} s {self.kind} node {self.node} for {self.seconds:.1f} s (call +{self.calls})"


@dataclass(frozen=True, slots=True)
class Options:
    """One schedule."""

    size: int = 3
    start_at: tuple[float, ...] = (0.0, 0.0, 0.0)
    redis_from: float = 0.0
    boot_seconds: float = 3.0
    by_command: bool = False
    locks: bool = True
    version: str = "3.10.8"
    safety_seconds: float = 40.0
    solo_queue: bool = False
    classic_queue: bool = False
    commands_fail: bool = True  # now and then, or without a word
    faults: tuple[Fault, ...] = ()

    def describe(self) -> str:
        start = ", ".join(f"{s:.1f}" for s in self.start_at)
        how = "rabbitmqctl" if self.by_command else "boot"
        head = (
            f"size {self.size}, starts at {start}, Redis from {self.redis_from:.1f} s, boots up to "
            f"{self.boot_seconds:.1f} s, RabbitMQ {self.version}, join by {how}"
        )
        return "\n  ".join([head, *map(str, self.faults)])


def draw(seed: int) -> Options:
    """The schedule of this seed."""
    r = random.Random(f"options {seed}")
    size = r.choices((3, 1, 5), (84, 8, 8))[0]
    spread = r.choice((0.0, 3.0, 25.0))
    safety = r.uniform(15.0, 60.0)
    count = r.randrange(1, 9)
    times = sorted(r.uniform(0.2, safety) for _ in range(count))
    kinds = r.choices(list(KINDS), list(KINDS.values()), k=count)
    return Options(
        size=size,
        start_at=tuple(r.uniform(0.0, spread) for _ in range(size)),
        redis_from=r.choice((0.0, 0.0, 0.0, r.uniform(0.0, 15.0))),
        boot_seconds=r.uniform(1.5, 6.0),
        by_command=r.random() < 0.15,
        locks=r.random() < 0.8,
        version=r.choice(("3.10.8", "4.3.6")),
        safety_seconds=safety,
        solo_queue=r.random() < 0.25,
        classic_queue=r.random() < 0.15,
        faults=tuple(
            Fault(
                at=at,
                kind=kind,
                node=r.randrange(size),
                seconds=r.choice((r.uniform(0.3, 4.0), r.uniform(4.0, 14.0), r.uniform(14.0, 30.0))),
                calls=r.choice((r.randrange(1, 12), r.randrange(1, 60))),
                broker_too=r.random() < 0.5,
            )
            for at, kind in zip(times, kinds, strict=True)
        ),
    )
