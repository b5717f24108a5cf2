"""Asks brokers over their own ports, off the loop: mine every heartbeat, peers only while they are needed.

Peers are asked directly when Redis cannot say what they list. A broker that does not answer is unknown; its
last answer counts for two heartbeats.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from rmqcluster.agent.ports import BrokerApi, BrokerFacts, Clock
from rmqcluster.core.model import Policy, View
from rmqcluster.errors import BrokerUnavailable

UNSETTLED_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Answers:
    """What the brokers last said; `at` is monotonic seconds of the question."""

    facts: BrokerFacts | None = None
    at: float = 0.0
    trouble: str = ""
    peers: Mapping[str, View] = field(default_factory=dict)
    peers_at: float = 0.0


class Prober:
    def __init__(self, api: BrokerApi, policy: Policy, clock: Clock) -> None:
        self._api, self._policy, self._clock = api, policy, clock
        self._lock = threading.Lock()
        self._answers = Answers()
        self._wanted: Mapping[str, str] = {}
        self.active = False  # the broker is up: there is something to ask
        self.settled = False
        self.on_answer: Callable[[], None] = lambda: None
        self.wake: Callable[[], None] = lambda: None

    def want_peers(self, addresses: Mapping[str, str]) -> None:
        """Which peers to ask directly (node name -> host:port); empty while Redis says it."""
        self._wanted = addresses

    def answers(self, not_before: float) -> Answers:
        """The newest answers; the facts are None when they are older than `not_before` or two heartbeats."""
        with self._lock:
            answers = self._answers
        limit = self._clock.monotonic() - 2 * self._policy.heartbeat_seconds
        if answers.at < max(not_before, limit):
            answers = replace(answers, facts=None)
        return replace(answers, peers={}) if answers.peers_at < limit else answers

    def step(self) -> float:
        """One round of questions. Returns the seconds until the next one is due."""
        if not self.active:
            return self._policy.heartbeat_seconds
        asked_at = self._clock.monotonic()
        try:
            facts, trouble = self._api.facts(), ""
        except BrokerUnavailable as error:
            facts, trouble = None, str(error)
        peers = self._ask_peers()
        with self._lock:
            old = self._answers
            self._answers = Answers(
                facts if facts is not None else old.facts,
                asked_at if facts is not None else old.at,
                trouble,
                peers,
                asked_at,
            )
        self.on_answer()
        return self._policy.heartbeat_seconds if self.settled and not trouble else UNSETTLED_SECONDS

    def _ask_peers(self) -> dict[str, View]:
        found = {}
        for node, address in self._wanted.items():
            try:
                found[node] = self._api.peer_view(address)
            except BrokerUnavailable:
                continue  # unheard is unknown; who is missing shows in the sentence of the rule that waits
        return found
