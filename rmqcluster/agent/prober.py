"""Asks brokers over their own ports, off the loop: mine every heartbeat, peers only while they are needed.

Peers are asked directly when Redis cannot say what they list. A broker that does not answer is unknown; its
last answer counts for two heartbeats, and for some seconds at least while Redis says nothing newer of it.
My broker and the peers are asked by a thread each: waiting for a lost peer must not make my own broker unknown.
"""

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from rmqcluster.agent.ports import BrokerApi, BrokerFacts, Clock
from rmqcluster.core.model import Policy, View
from rmqcluster.errors import BrokerUnavailable

UNSETTLED_SECONDS = 0.3
PEERS_SECONDS = 2.0
ANSWER_SECONDS_MIN = 8.0  # an answer counts for so long at least: with a paused peer the next one takes 5 s


@dataclass(frozen=True, slots=True)
class Answers:
    """What the brokers last said; `at` is monotonic seconds of the question."""

    facts: BrokerFacts | None = None
    at: float = 0.0
    trouble: str = ""
    peers: Mapping[str, tuple[View, float]] = field(default_factory=dict)  # with the time of the question

    def peer_views(self, announced: Collection[str] = (), not_before: float = 0.0) -> dict[str, View]:
        """Whom the peers list; of one that also announces itself only what it answered since `not_before`.

        Its announcements are as a rule younger by then; an older answer would go on naming a broker that died since.
        """
        return {node: view for node, (view, at) in self.peers.items() if node not in announced or at >= not_before}


class Prober:
    def __init__(self, api: BrokerApi, policy: Policy, clock: Clock) -> None:
        self._api, self._policy, self._clock = api, policy, clock
        self._lock = threading.Lock()
        self._answers = Answers()
        self._wanted: Mapping[str, str] = {}
        self._asked: dict[str, float] = {}
        self.active = False  # the broker is up: there is something to ask
        self.settled = False
        self.on_answer: Callable[[], None] = lambda: None
        self.wake: Callable[[], None] = lambda: None

    def want_peers(self, addresses: Mapping[str, str]) -> None:
        """Which peers to ask directly (node name -> host:port); empty while Redis says it."""
        self._wanted = addresses

    def answers(self, not_before: float) -> Answers:
        """The newest answers; the facts are None when they are older than `not_before` or than an answer counts."""
        with self._lock:
            answers = self._answers
        limit = self._clock.monotonic() - max(2 * self._policy.heartbeat_seconds, ANSWER_SECONDS_MIN)
        if answers.at < max(not_before, limit):
            answers = replace(answers, facts=None)
        heard = {node: (view, at) for node, (view, at) in answers.peers.items() if at >= limit}
        return replace(answers, peers=heard)

    def step(self) -> float:
        """Ask my own broker. Returns the seconds until the next question is due."""
        if not self.active:
            return self._policy.heartbeat_seconds
        asked_at = self._clock.monotonic()
        try:
            facts, trouble = self._api.facts(), ""
        except BrokerUnavailable as error:
            facts, trouble = None, str(error)
        with self._lock:
            fresh = facts is not None
            old = self._answers
            self._answers = replace(old, facts=facts or old.facts, at=asked_at if fresh else old.at, trouble=trouble)
        self.on_answer()
        return self._pause()

    def step_peers(self) -> float:
        """One round of questions to the peers that are wanted. Returns the seconds until the next one is due."""
        if not self.active:
            return self._policy.heartbeat_seconds
        if self._wanted:
            self._ask_peers()
            self.on_answer()
        return self._pause()

    def _pause(self) -> float:
        at_rest = self.settled and not self._answers.trouble
        return self._policy.heartbeat_seconds if at_rest else UNSETTLED_SECONDS

    def _ask_peers(self) -> None:
        """Ask those whose turn it is, for at most two seconds or one question: a silent peer delays only itself."""
        began, wanted = self._clock.monotonic(), dict(self._wanted)
        turn = sorted(wanted, key=lambda node: (self._asked.get(node, float("-inf")), node))
        for node in turn:
            asked_at = self._clock.monotonic()
            if asked_at - began > PEERS_SECONDS:
                return
            self._asked[node] = asked_at
            try:
                view = self._api.peer_view(wanted[node])
            except BrokerUnavailable:
                continue  # unheard is unknown; who is missing shows in the sentence of the rule that waits
            with self._lock:
                heard = {**self._answers.peers, node: (view, asked_at)}
                self._answers = replace(self._answers, peers=heard)
