"""Power is lost by all members at the very same moment: no broker saw another's end, none outlived another (B5)."""

from collections.abc import Iterator

import pytest
from cluster import TTL_SECONDS, Cluster, never
from failover.ledger import Ledger
from scene import goes_on, identity, listed, under_load
from support import wait_until

RETURNED_SECONDS = 180.0  # the third is waited for a minute, then the tables are loaded


@pytest.fixture
def load(formed: Cluster) -> Iterator[Ledger]:
    formed.heal()
    before = identity(formed)
    with under_load(formed) as ledger:
        yield ledger
    formed.assert_one()
    assert identity(formed) == before


def lose_power_at_once(cluster: Cluster) -> None:
    for number in cluster.numbers:
        cluster.pause_process(cluster.broker_pid(number))
    cluster.kill()


def test_b5_power_is_lost_at_once_and_one_stays_away(formed: Cluster, load: Ledger) -> None:
    """Two return: they hold a majority of the disks, serve, and forget nobody; the third rejoins them later."""
    lose_power_at_once(formed)
    formed.start(2, 3)
    wait_until(lambda: all(map(formed.amqp_is_open, (2, 3))), RETURNED_SECONDS, "two of three serve")
    formed.await_members(2, 3)
    assert (formed.status(2) or {})["verdict"] == "degraded"
    goes_on(load)
    never(lambda: len(listed(formed, 2)) < 3, TTL_SECONDS, "the third was forgotten")
