"""Power is lost by all members at the very same moment: no broker saw another's end, none outlived another (B5)."""

from collections.abc import Iterator

import pytest
from cluster import TTL_SECONDS, Cluster, never
from failover.ledger import Ledger
from scene import SERVE_SECONDS, goes_on, identity, is_in_metadata, listed, under_load
from support import wait_until

EXCHANGE = "declared.while.one.was.away"
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


def test_b5_who_was_away_before_does_not_decide_what_there_was(formed: Cluster, load: Ledger) -> None:
    """1 is away while the others go on, then they lose power at once and 2 stays away: 3 loads, 1 copies."""
    formed.kill(1)
    wait_until(lambda: (formed.marker(3) or {})["missed"] == [formed.name(1)], SERVE_SECONDS, "3 knows that 1 is away")
    with formed.channel(2) as channel:
        channel.exchange_declare(EXCHANGE, durable=True)
    directory = formed.mnesia(3) / formed.name(3)
    wait_until(lambda: is_in_metadata(directory, EXCHANGE), SERVE_SECONDS, "it is on the disk of 3")
    for number in (2, 3):
        formed.pause_process(formed.broker_pid(number))
    formed.kill(2, 3)
    formed.start(1, 3)
    wait_until(lambda: all(map(formed.amqp_is_open, (1, 3))), RETURNED_SECONDS, "two of three serve")
    formed.await_members(1, 3)
    for number in (1, 3):
        with formed.channel(number) as channel:
            channel.exchange_declare(EXCHANGE, passive=True)
    with formed.channel(3) as channel:
        channel.exchange_delete(EXCHANGE)
