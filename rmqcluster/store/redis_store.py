"""The store's contract on a real Redis: one member's hand on the keys under the prefix.

Every act is one script, every reading two round trips. Raises StoreUnavailable, or StoreRefused when Redis
answered but will not have us. Nothing in Redis is trusted: what cannot be read is left out and told as a warning.
"""

import random
import time
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from rmqcluster.agent.ports import Beat, Event
from rmqcluster.config.settings import Settings
from rmqcluster.core import actions as a
from rmqcluster.core.model import Announcement, Lease, Owner, StoreView
from rmqcluster.errors import StoreUnavailable
from rmqcluster.store import client, codec, scripts
from rmqcluster.store.facts import ServerFacts, read_facts
from rmqcluster.store.keys import EVENTS_KEPT, OWNER_TTLS, Keys

COMMIT_MARGIN_SECONDS = 1.0  # beyond one beat, how old the roll call must be before a commit
POLICY_CHECK_SECONDS = 300.0
EVENT_CHARACTERS_MAX = 1000
T = TypeVar("T")


class RedisStore:
    """Port `Store`, bound to one node name and one instance of its supervisor; and the operator's few acts."""

    def __init__(
        self, settings: Settings, *, node: str, instance: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._policy = settings, settings.policy
        self._node, self._instance, self._monotonic = node, instance, monotonic
        self._keys, self._address = Keys(settings.prefix), settings.redis.address
        seconds = client.reply_seconds(settings)
        self._redis: Any = client.connect(settings, name=f"rmqcluster-{node}", seconds=seconds)
        waiting = self._policy.heartbeat_seconds + seconds
        self._watching: Any = client.connect(settings, name=f"rmqcluster-watch-{node}", seconds=waiting)
        self._scripts: dict[str, Any] = {}
        self._policy_warning: str | None = None
        self._policy_checked_at: float | None = None

    def beat(self, beat: Beat) -> None:
        """One write: announcement, name, and what is to be kept alive with them; nothing if the name is another's."""
        owner = Owner(self._instance, beat.announcement.beat_sequence)
        flags = (beat.registered, beat.keep_lease, beat.keep_claim)
        announced = codec.encode_announcement(beat.announcement)
        self._run(scripts.BEAT, announced, codec.encode_owner(owner), self._owner_ms, *(int(f) for f in flags))

    def snapshot(self) -> StoreView:
        """Everything under the prefix. Two round trips, and rarely a third for the server's eviction policy."""
        with client.translated(self._address):
            self._check_policy()
            fixed = self._read_fixed()
            names = sorted(fixed["members"] | fixed["known"])[: codec.NAMES_MAX]
            values, lives = self._read_nodes(names)
        warnings = [self._policy_warning] if self._policy_warning else []
        announcements: dict[str, Announcement] = {}
        for name, raw in zip(names, values, strict=True):
            found = _usable(lambda raw=raw, name=name: codec.decode_announcement(raw, name), raw, name, warnings)
            if found is not None:
                announcements[name] = found
        heartbeats = {n: ms / 1000 for n, ms in zip(names, lives, strict=True) if ms > 0}
        lasting = [*heartbeats.values(), *(ms / 1000 for ms in fixed["lives"] if ms > 0)]
        return StoreView(
            members=fixed["members"],
            master=fixed["master"] if codec.is_node(fixed["master"]) else None,
            record=_usable(lambda: codec.decode_record(fixed["record"]), fixed["record"], "the record", warnings),
            claim=_usable(lambda: codec.decode_claim(fixed["founding"]), fixed["founding"], "the claim", warnings),
            lease=_usable(lambda: codec.decode_lease(fixed["lease"]), fixed["lease"], "the lease", warnings),
            owner=_usable(lambda: codec.decode_owner(fixed["owner"]), fixed["owner"], "the owner", warnings),
            announcements=announcements,
            heartbeats=heartbeats,
            epoch=_number(fixed["epoch"]),
            roll_call_seconds=fixed["roll_call_seconds"],
            paused=codec.printable(fixed["paused"]) if fixed["paused"] is not None else None,
            next_expiry_seconds=min(lasting, default=None),
            warnings=tuple(warnings),
        )

    def apply(self, action: a.StoreAction) -> bool:
        """Carry out one action in one step; False when its condition did not hold."""
        return bool(self._run(*self._script_for(action)))

    def read_lease(self) -> Lease | None:
        with client.translated(self._address):
            raw = self._redis.get(self._keys.lease)
        return _usable(lambda: codec.decode_lease(raw), raw, "the lease", [])

    def record_event(self, event: Event) -> None:
        fields = {
            "actor": event.actor,
            "kind": event.kind,
            "text": event.text[:EVENT_CHARACTERS_MAX],
            "rule": str(event.rule),
            "epoch": str(event.epoch),
        }
        with client.translated(self._address):
            self._redis.xadd(self._keys.events, fields, maxlen=EVENTS_KEPT, approximate=True)

    def recent_events(self, count: int) -> list[Event]:
        """The newest events, oldest first."""
        with client.translated(self._address):
            rows = self._redis.xrevrange(self._keys.events, count=count)
        return [_event(row_id, fields) for row_id, fields in reversed(rows)]

    def wait_for_event(self, last_id: str, seconds: float) -> list[Event]:
        """Events after `last_id` ("$": from now on), waiting at most `seconds` and one heartbeat for the first."""
        block = int(min(seconds, self._policy.heartbeat_seconds) * 1000)
        with client.translated(self._address):
            rows = self._watching.xread({self._keys.events: last_id}, count=100, block=max(1, block))
        return [_event(row_id, fields) for _, found in rows or [] for row_id, fields in found]

    def clear(self) -> None:
        """Delete members, master, heartbeats and the lease; identity, epoch and events stay."""
        self._run(scripts.CLEAR)

    def clear_identity(self, cluster_id: str) -> tuple[str, ...]:
        """Forget the cluster, in one step; or the names that stand in the way ("record": another id is stored)."""
        return tuple(sorted({codec.printable(name) for name in self._run(scripts.CLEAR_IDENTITY, cluster_id)}))

    def pause(self, why: str, seconds: float | None) -> None:
        with client.translated(self._address):
            self._redis.set(self._keys.paused, why, px=None if seconds is None else int(seconds * 1000))

    def ping_facts(self) -> ServerFacts:
        """What `doctor` wants to know of the server; two round trips."""
        with client.translated(self._address):
            return read_facts(self._redis, self._settings.redis)

    def close(self) -> None:
        self._redis.close()
        self._watching.close()

    @property
    def _owner_ms(self) -> int:
        return int(self._policy.ttl_seconds * OWNER_TTLS * 1000)

    def _run(self, body: str, *arguments: str | int) -> Any:
        script = self._scripts.get(body)
        if script is None:
            script = self._scripts[body] = self._redis.register_script(scripts.PRELUDE + body)
        ttl = int(self._policy.ttl_seconds * 1000)
        with client.translated(self._address):
            return script(args=[self._settings.prefix, self._node, self._instance, ttl, *arguments])

    def _script_for(self, action: a.StoreAction) -> tuple[Any, ...]:
        match action:
            case a.ClaimFounding(seed):
                drawn = f"{random.Random(seed).getrandbits(128):032x}" if seed else uuid.uuid4().hex
                return scripts.CLAIM_FOUNDING, drawn, self._policy.majority
            case a.AbandonClaim():
                return (scripts.ABANDON_CLAIM,)
            case a.CommitFounding(cluster_id):
                return scripts.COMMIT_FOUNDING, cluster_id, self._policy.heartbeat_seconds + COMMIT_MARGIN_SECONDS
            case a.RestoreRecord(cluster_id, epoch, replaces):
                return scripts.RESTORE_RECORD, cluster_id, epoch, replaces or ""
            case a.TakeOwnership(replaces):
                mine = codec.encode_owner(Owner(self._instance, 0))
                return scripts.TAKE_OWNERSHIP, replaces or "", mine, self._owner_ms
            case a.TakeLease(floor):
                return scripts.TAKE_LEASE, floor
            case a.ReleaseLease():
                return (scripts.RELEASE_LEASE,)
            case a.RemoveMember(node, epoch):
                return scripts.REMOVE_MEMBER, node, epoch
            case a.SetMaster(node, replaces, epoch):
                return scripts.SET_MASTER, node, epoch, replaces or ""
            case a.OfferFounder(node):
                return scripts.OFFER_FOUNDER, node
            case a.Leave(final):
                return scripts.LEAVE, int(final)

    def _read_fixed(self) -> dict[str, Any]:
        k = self._keys
        names = ("master", "record", "founding", "epoch", "roll_call", "paused")
        pipe = self._redis.pipeline(transaction=False)
        pipe.smembers(k.members)
        pipe.smembers(k.known)
        for name in names:
            pipe.get(getattr(k, name))
        pipe.get(k.lease)
        pipe.get(k.owner(self._node))
        pipe.pttl(k.founding)
        pipe.pttl(k.lease)
        pipe.time()
        found = pipe.execute(raise_on_error=False)
        for value in found:
            if isinstance(value, Exception) and "WRONGTYPE" not in str(value):
                raise value
        clean = [None if isinstance(value, Exception) else value for value in found]
        fixed: dict[str, Any] = dict(zip(names, clean[2:8], strict=True))
        fixed["members"], fixed["known"] = (frozenset(filter(codec.is_node, s or ())) for s in clean[:2])
        fixed["lease"], fixed["owner"], *fixed["lives"] = clean[8:12]
        seconds, micros = clean[12]
        began = _decimal(fixed["roll_call"])
        fixed["roll_call_seconds"] = 0.0 if began is None else max(0.0, seconds + micros / 1e6 - began)
        return fixed

    def _read_nodes(self, names: list[str]) -> tuple[list[str | None], list[int]]:
        if not names:
            return [], []
        pipe = self._redis.pipeline(transaction=False)
        pipe.mget([self._keys.announcement(name) for name in names])
        for name in names:
            pipe.pttl(self._keys.heartbeat(name))
        values, *lives = pipe.execute()
        return values, lives

    def _check_policy(self) -> None:
        now = self._monotonic()
        if self._policy_checked_at is not None and now - self._policy_checked_at < POLICY_CHECK_SECONDS:
            return
        memory = self._redis.info("memory")
        policy = str(memory.get("maxmemory_policy", "noeviction"))
        evicts = policy != "noeviction"
        self._policy_warning = (
            f"Redis at {self._address} may evict the coordination keys (maxmemory-policy {codec.printable(policy)}); "
            "set it to noeviction"
            if evicts
            else None
        )
        self._policy_checked_at = now


def _usable(decode: Callable[[], T], raw: object, what: str, warnings: list[str]) -> T | None:
    if raw is None:
        return None
    try:
        return decode()
    except codec.Unusable as error:
        warnings.append(f"{what} in Redis is unusable ({error}); it is ignored")
        return None


def _number(raw: object) -> int:
    return int(raw) if isinstance(raw, str) and raw.isascii() and raw.isdigit() and len(raw) < 16 else 0


def _decimal(raw: object) -> float | None:
    try:
        return float(raw) if isinstance(raw, str) else None
    except ValueError:
        return None


def _event(row_id: str, fields: dict[str, str]) -> Event:
    milliseconds = row_id.split("-", 1)[0]
    if not milliseconds.isdigit():
        raise StoreUnavailable("the event stream holds something that is no event")
    text = {name: codec.printable(fields.get(name, "")) for name in ("actor", "kind", "text")}
    rule, epoch = _number(fields.get("rule")), _number(fields.get("epoch"))
    return Event(**text, rule=rule, epoch=epoch, at=int(milliseconds) / 1000, id=row_id)
