"""Every key under the prefix, in one place: name, type, time to live, who writes it, what it means."""

from dataclasses import dataclass

OWNER_TTLS = 4  # an owner outlives its heartbeat by this factor
EVENTS_KEPT = 1000


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
    Key("monitor:lease", "STRING", "TTL", "the monitor", "JSON: who acts for the cluster, and its epoch"),
    Key("events", "STREAM", f"{EVENTS_KEPT} kept", "everybody", "what happened, by whom, by which rule"),
)


@dataclass(frozen=True, slots=True)
class Keys:
    """The same names with their prefix."""

    prefix: str

    def __getattr__(self, name: str) -> str:
        known = {"members", "master", "known", "record", "founding", "roll_call", "epoch", "paused"}
        if name not in known:
            raise AttributeError(name)
        return f"{self.prefix}:cluster:{name}"

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
