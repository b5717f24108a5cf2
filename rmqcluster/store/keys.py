"""Every key that rmqcluster uses in Redis, in one place: name, type, time to live, who writes it, what it means.

The keys of nodes are made inside the scripts from the names in `members` and `known`, so that nothing ever scans;
Redis Cluster, which wants every key of a script declared, is therefore not supported. JSON values carry a format
version `v`. A Redis account of rmqcluster needs the keys `{prefix}:*`, the channels `CHANNELS` and `COMMANDS`,
nothing else.
"""

from dataclasses import dataclass

EVENTS_KEPT = 1000  # about: XADD trims whole nodes of the stream
COMMIT_MARGIN_SECONDS = 1.0  # beyond one beat, how old the roll call must be before a commit
EMPTIED_TTLS = 2  # how long after Redis was emptied an operation under way may be written down again
OWNER_TTLS = 4  # an owner outlives its heartbeat by this factor: a name is not free for all after one lost beat

COMMANDS = (
    "client|setname",
    "ping",
    "info",
    "time",
    "eval",
    "evalsha",
    "getrange",
    "set",
    "del",
    "exists",
    "pttl",
    "pexpire",
    "sadd",
    "srem",
    "sismember",
    "smembers",
    "xadd",
    "xrevrange",
    "xread",
    "subscribe",
)
"""What a Redis account of rmqcluster must be allowed (`+name` each), besides AUTH, which everybody is.

Without `subscribe` or the channel everything works too: expired keys are then noticed at the next reading.
"""

CHANNELS = ("__keyevent@*__:expired",)
"""What it may listen to (`&name` each, after `resetchannels`; Redis before 6.2 does not know channels in its lists)."""


@dataclass(frozen=True, slots=True)
class Key:
    """One row of the key table."""

    name: str  # without the prefix; `{n}` stands for a node name
    type: str
    ttl: str
    writer: str
    meaning: str


KEYS = (
    Key("cluster:members", "SET", "-", "each member; the monitor removes", "registered node names"),
    Key("cluster:master", "STRING", "-", "the monitor", "node name of the master, whom others join through"),
    Key("node:{n}:heartbeat", "STRING", "TTL", "that member", "Unix time of the last beat, by the clock of Redis"),
    Key("node:{n}:announcement", "STRING", "TTL", "that supervisor", "JSON: roll call, disk, broker, whom it lists"),
    Key("node:{n}:owner", "STRING", "4 TTL", "that supervisor", "JSON: the one instance that uses the name"),
    Key("cluster:known", "SET", "-", "each supervisor", "names that have announced themselves"),
    Key("cluster:record", "STRING", "-", "the founder", "JSON: id, epoch and founder of the committed cluster"),
    Key("cluster:founding", "STRING", "TTL", "one blank node", "JSON: the claim to found"),
    Key("cluster:roll_call", "STRING", "-", "the first to announce", "Unix time at which the roll call began"),
    Key("cluster:epoch", "STRING", "-", "claims and leases", "the highest epoch given; it only rises"),
    Key("cluster:paused", "STRING", "as asked", "a person", "why no automatic act is done"),
    Key(
        "cluster:operation", "STRING", "its deadline", "who asks", "JSON: the one disruptive act that may be under way"
    ),
    Key("monitor:lease", "STRING", "TTL", "the monitor", "JSON: who acts for the cluster, and its epoch"),
    Key("events", "STREAM", f"{EVENTS_KEPT} kept", "everybody", "what happened, by whom, by which rule"),
)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys under one prefix."""

    prefix: str

    @property
    def members(self) -> str:
        return f"{self.prefix}:cluster:members"

    @property
    def master(self) -> str:
        return f"{self.prefix}:cluster:master"

    @property
    def known(self) -> str:
        return f"{self.prefix}:cluster:known"

    @property
    def record(self) -> str:
        return f"{self.prefix}:cluster:record"

    @property
    def founding(self) -> str:
        return f"{self.prefix}:cluster:founding"

    @property
    def epoch(self) -> str:
        return f"{self.prefix}:cluster:epoch"

    @property
    def roll_call(self) -> str:
        return f"{self.prefix}:cluster:roll_call"

    @property
    def paused(self) -> str:
        return f"{self.prefix}:cluster:paused"

    @property
    def operation(self) -> str:
        return f"{self.prefix}:cluster:operation"

    @property
    def lease(self) -> str:
        return f"{self.prefix}:monitor:lease"

    @property
    def events(self) -> str:
        return f"{self.prefix}:events"

    def heartbeat(self, node: str) -> str:
        return f"{self.prefix}:node:{node}:heartbeat"

    def announcement(self, node: str) -> str:
        return f"{self.prefix}:node:{node}:announcement"

    def owner(self, node: str) -> str:
        return f"{self.prefix}:node:{node}:owner"


SHARED = (
    "members",
    "master",
    "known",
    "record",
    "founding",
    "epoch",
    "roll_call",
    "paused",
    "operation",
    "lease",
    "events",
)
"""The keys that are not of one node, by their names in `Keys`."""

OF_NODE = ("heartbeat", "announcement", "owner")
"""The keys of one node, by their names in `Keys`."""
