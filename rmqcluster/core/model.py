"""What a member knows at one moment: immutable records, no behaviour beyond named questions.

Times are seconds. `now` is monotonic and local to one process; it is never compared between members.
`None` means unknown wherever a field may be unknown, and unknown is never read as `False`.

Words: *member* one supervisor with its broker; *node name* `rabbit@host`; *master* the proven member that
others join through; *founder* the member that created the cluster; *announcement* what a supervisor says of
itself in Redis, with a TTL; *view* whom a broker lists and whom it sees running; *marker* our own record on
the data volume; *epoch* the number that rises with every claim and lease.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rmqcluster.core.queues import QueueReport


class Stage(StrEnum):
    """How far the data on a volume has come; written to the marker before the step it names."""

    FOUNDING = "founding"  # claimed a founding that is not committed: disposable
    JOINING = "joining"  # told to join; a member only once proven
    MEMBER = "member"  # proven member of a committed cluster: data is sacred


class DiskKind(StrEnum):
    """What a volume is worth."""

    BLANK = "blank"  # nothing of value, or an aborted founding or join without broker data
    UNCOMMITTED = "uncommitted"  # broker data of a founding or join that was never proven
    DATA = "data"  # a member's data
    UNMARKED = "unmarked"  # broker data that we did not make: adopt, never reset
    AMNESIC = "amnesic"  # the marker says member, the broker data is gone


class BrokerPhase(StrEnum):
    DOWN = "down"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


class Purpose(StrEnum):
    """Why the broker is booted; decides what the generated configuration says."""

    FOUND = "found"
    JOIN = "join"
    DATA = "data"


class JoinMode(StrEnum):
    BOOT = "boot"
    RABBITMQCTL = "rabbitmqctl"


class OperationKind(StrEnum):
    """What the one operation record may be about; `operations.py` has the table of their deadlines and executors."""

    JOIN = "join"
    REPLACE = "replace"  # a member whose disk is gone: forget its old self, join the new one, grow its replicas
    REJOIN = "rejoin"  # a forgotten member puts its old data aside and joins as a new one
    FORGET = "forget"
    GROW = "grow"
    REBALANCE = "rebalance"
    STOP = "stop"
    DRAIN = "drain"
    REVIVE = "revive"
    FAILOVER = "failover"
    RECOVER = "recover"


@dataclass(frozen=True, slots=True)
class Policy:
    """The numbers that decisions depend on; filled from the settings."""

    size: int = 3
    heartbeat_seconds: float = 5.0
    ttl_seconds: float = 15.0
    redis_wait_seconds: float = 120.0
    master_wait_seconds: float = 180.0
    stop_seconds: float = 8.0
    settle_seconds: float = 10.0
    join: JoinMode = JoinMode.BOOT

    @property
    def majority(self) -> int:
        return self.size // 2 + 1

    @property
    def replicas(self) -> int:
        """How many replicas a queue gets that does not say otherwise."""
        return min(3, self.size)


@dataclass(frozen=True, slots=True)
class Marker:
    """Our record on the data volume (written atomically, before the step it names)."""

    cluster_id: str
    stage: Stage
    epoch: int
    host: str | None = None
    members: tuple[str, ...] = ()  # whom this node's broker last listed
    peers: tuple[tuple[str, str], ...] = ()  # (node name, management address) last known, for use without Redis
    hosts: tuple[tuple[str, str], ...] = ()  # (node name, host id) where each member's good disk was last seen
    missed: tuple[str, ...] | None = None  # members that did not run when its broker last ran with a majority


@dataclass(frozen=True, slots=True)
class Disk:
    """What is on this member's volume. `epoch_high` is the highest epoch this volume ever saw."""

    has_data: bool
    marker: Marker | None = None
    epoch_high: int = 0

    @property
    def kind(self) -> DiskKind:
        proven = self.marker is not None and self.marker.stage is Stage.MEMBER
        if self.has_data:
            if self.marker is None:
                return DiskKind.UNMARKED
            return DiskKind.DATA if proven else DiskKind.UNCOMMITTED
        return DiskKind.AMNESIC if proven else DiskKind.BLANK

    @property
    def cluster_id(self) -> str | None:
        return self.marker.cluster_id if self.marker else None


@dataclass(frozen=True, slots=True)
class View:
    """Whom one broker lists as members, and whom of them it sees running."""

    members: frozenset[str]
    running: frozenset[str]
    alarms: tuple[str, ...] = ()  # "disk rabbit@a", "memory rabbit@b"

    def sees_majority(self) -> bool:
        """Does this broker see most of the members that it lists?"""
        return len(self.running & self.members) > len(self.members) // 2


@dataclass(frozen=True, slots=True)
class Announcement:
    """What one supervisor says of itself in Redis; gone when its TTL has passed."""

    node: str
    instance: str  # unique to one run of a supervisor
    disk: DiskKind
    broker: BrokerPhase
    cluster_id: str | None = None
    host: str | None = None
    version: str | None = None  # of RabbitMQ
    cookie: str | None = None  # fingerprint, never the cookie
    mutual: bool | None = None
    view: View | None = None  # what its broker lists now; None when unknown
    listed: frozenset[str] = frozenset()  # what its broker lists now or listed last (from the marker)
    epoch_high: int = 0
    management: str | None = None  # "host:port" of the broker's management API
    http: str | None = None  # "host:port" of the supervisor
    state: str = ""  # one word for people
    held: str | None = None
    missed: frozenset[str] | None = None  # of its marker: whom its data may have outlived; None unknown
    wanted: str | None = None  # stamp of what this member is configured to provision
    stamp: str | None = None  # stamp of what its broker carries; "" when there is none; None unknown
    drained: bool = False  # in maintenance: no client, no leader
    notes: tuple[str, ...] = ()  # of the lease holder: what its last look at the queues found
    findings: tuple[str, ...] = ()  # of the lease holder: "node words", why a wiped member is not replaced yet
    whole: frozenset[str] = frozenset()  # of the lease holder: the instances with which it last found all queues whole
    beat_sequence: int = 0  # rises with every beat: a number that does not move is a dead owner

    @property
    def has_identity(self) -> bool:
        """Is there data behind this announcement that a founding must not ignore?"""
        return self.disk in (DiskKind.DATA, DiskKind.UNMARKED, DiskKind.AMNESIC)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to found, for a limited time."""

    cluster_id: str
    node: str
    instance: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Record:
    """The committed cluster. Redis's copy may be lost or stale; a majority of the disks outranks it."""

    cluster_id: str
    epoch: int
    founder: str


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to act for the cluster, for a limited time."""

    node: str
    instance: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Operation:
    """The one disruptive act of the cluster: lock and request in one record, which outlives who wrote it (S5).

    It ends when it is done, or at its deadline, which is the worst case of the commands behind it.
    """

    id: str
    kind: OperationKind
    subject: str  # node name; "" for the whole cluster
    executor: str  # node whose supervisor carries it out; "" for whoever holds the monitor lease
    by: str  # who asked, for people
    epoch: int
    since: float  # Unix seconds, by the clock of Redis
    seconds: float  # from `since` to the deadline
    consent: bool = False  # a person gave up what may be lost
    target: str | None = None  # the node that a failover is to
    why: str = ""
    ready: bool = False  # of a join: nothing lists an old self of its subject, which may boot now


@dataclass(frozen=True, slots=True)
class Owner:
    """Who uses a node name: the instance, and the last beat sequence it wrote."""

    instance: str
    sequence: int


@dataclass(frozen=True, slots=True)
class StoreView:
    """One reading of everything that Redis holds under the prefix."""

    members: frozenset[str] = frozenset()
    master: str | None = None
    record: Record | None = None
    claim: Claim | None = None
    lease: Lease | None = None
    operation: Operation | None = None
    operation_left_seconds: float = 0.0  # until its deadline
    owner: Owner | None = None  # of my own node name
    announcements: Mapping[str, Announcement] = field(default_factory=dict)
    heartbeats: Mapping[str, float] = field(default_factory=dict)  # node -> seconds the heartbeat still lives
    epoch: int = 0
    roll_call_seconds: float = 0.0  # how long ago the oldest roll call of an empty store began
    paused: str | None = None
    next_expiry_seconds: float | None = None  # the soonest end of a heartbeat, claim or lease that was read
    at: float = 0.0  # monotonic time at which the reading was asked for
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Exit:
    """How the broker process last ended, in the broker's own words where it gave any."""

    status: int | None
    reason: str
    configuration: bool = False  # will fail the same way until a person changes a file
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class BrokerState:
    """This member's own broker process, as its supervisor sees it."""

    phase: BrokerPhase = BrokerPhase.DOWN
    since: float = 0.0
    purpose: Purpose | None = None
    target: str | None = None  # the member that a joiner boots against
    cluster_id: str | None = None  # the cluster or founding that this boot is meant for
    exits: tuple[Exit, ...] = ()  # unexpected ends, oldest first; emptied once a boot has held for a minute
    version: str | None = None
    stamp: str | None = None  # provisioning stamp found in the broker; "" when there is none; None unknown
    broker_cluster_id: str | None = None  # RabbitMQ's own id of the cluster
    was_ready: bool = False  # this boot was up before: what starts again now has stopped its application
    waits_for: str = ""  # what a starting broker says it waits for


@dataclass(frozen=True, slots=True)
class Looked:
    """Why the tables of a starting broker are not loaded, and since when every look says the same."""

    why_not: str
    since: float


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that one decision may depend on."""

    now: float
    policy: Policy
    me: str
    instance: str
    started_at: float
    disk: Disk
    broker: BrokerState
    store: StoreView | None  # None: not one timely reading so far, or the last is older than allowed
    store_since: float = 0.0  # since when the store has been continuously in its state (readable, or None)
    steady_since: float | None = None  # start of the present run of timely replies without a gap
    store_trouble: str = ""
    store_refused: bool = False  # Redis answers, but not to us: a wrong password or missing permission
    view: View | None = None  # whom my own broker lists; None unknown
    peer_views: Mapping[str, View] = field(default_factory=dict)  # asked of peers directly, when Redis is silent
    host: str | None = None
    cookie: str | None = None
    seen_cluster_id: str | None = None  # a committed id this process has met; it never founds beside one
    claim_safe_until: float = 0.0  # until when my claim can be trusted without asking Redis again
    owner_moved_at: float = 0.0  # when the owner of my name was last seen to beat, or first seen
    owner_moves: int = 0  # how often it has moved while I watched
    stop_asked_at: float | None = None
    stop_signalled: bool = False
    stop_killed: bool = False
    busy: str | None = None  # the long act under way, if any
    wanted_stamp: str | None = None  # hash of what should be provisioned; None when nothing is configured
    act_failed_at: float | None = None  # when the last long act failed; None after one that did not
    tables_asked_at: float | None = None  # when it was last looked whether the tables of my booting broker wait
    looked: Looked | None = None  # what the looks into my starting broker find
    failures: int = 0  # how many failed in a row
    provision_failed_at: float | None = None
    hopeless_since: float = 0.0  # since when nobody founds, nobody can be joined, and my broker is down
    predecessor: str | None = None  # the instance that held the data directory's lock before; proven dead
    was_registered: bool = False  # my last beat carried a heartbeat
    strayed: bool = False  # this disk's broker was seen up where it was not to join (evidence.strayed)
    lease_since: float | None = None  # since when my lease has been mine
    marked: frozenset[str] = frozenset()  # members already reported as running without a heartbeat
    handled: frozenset[str] = frozenset()  # operations that this process has begun to carry out
    queues: QueueReport | None = None  # what the last look at all queues found; None: not looked, or out of date
    queues_at: float = 0.0
    members_changed_at: float = 0.0  # when the registered, beating, serving members were last seen to change
    rebalanced_at: float = 0.0
    missed_since: Mapping[str, float] = field(default_factory=dict)  # members that my broker misses, since when
    drained: bool = False
    stop_prepared: bool = False  # leaders were moved away, or that was tried
    standalone: bool = False  # a monitor without a broker: `view` is that of the member it asks


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, by which rule, and why; `actions` are carried out in order."""

    rule: int
    reason: str
    actions: tuple[object, ...] = ()
    state: str = ""  # one word for status
    held: str | None = None  # words and one command, when a person must decide
