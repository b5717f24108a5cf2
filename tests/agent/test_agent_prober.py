"""What a silent peer may not do to the answers of one's own broker."""

import threading
from collections.abc import Iterator

import pytest

from rmqcluster.agent.ports import BrokerFacts
from rmqcluster.agent.prober import Prober
from rmqcluster.core.model import Policy, View

ME, PEER = "rabbit@one", "rabbit@two"
MINE = BrokerFacts(View(frozenset({ME, PEER}), frozenset({ME})))
WAIT_SECONDS = 5.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Brokers:
    """Mine answers at once; the peer's host is gone, and who asks it waits."""

    def __init__(self) -> None:
        self.asked, self.end = threading.Event(), threading.Event()

    def facts(self) -> BrokerFacts:
        return MINE

    def peer_view(self, address: str) -> View:
        self.asked.set()
        self.end.wait(WAIT_SECONDS)
        return MINE.view


@pytest.fixture
def brokers() -> Iterator[Brokers]:
    found = Brokers()
    yield found
    found.end.set()


def test_a_silent_peer_does_not_make_my_own_broker_unknown(brokers: Brokers) -> None:
    """While a question to a peer hangs, my own broker is asked in its turn, and its answers stay fresh."""
    clock = Clock()
    prober = Prober(brokers, Policy(), clock)
    prober.active = prober.settled = True
    prober.want_peers({PEER: "two:15672"})
    asking = threading.Thread(target=prober.step_peers)
    asking.start()
    assert brokers.asked.wait(WAIT_SECONDS)

    for _ in range(10):
        clock.now += prober.step()
        assert prober.answers(0.0).facts == MINE

    assert asking.is_alive()
    brokers.end.set()
    asking.join(WAIT_SECONDS)
