"""What a supervisor concludes from readings that lie seconds apart."""

from rmqcluster.agent.memory import Identity, Memory
from rmqcluster.core.model import Announcement, BrokerPhase, DiskKind, StoreView

A, B = "rabbit@a", "rabbit@b"


def reading(instance_of_b: str) -> StoreView:
    """Both registered and beating; B is this run of its supervisor."""
    said = Announcement(B, instance_of_b, DiskKind.DATA, BrokerPhase.READY, mutual=True)
    return StoreView(members=frozenset({A, B}), heartbeats={A: 9.0, B: 9.0}, announcements={B: said})


def test_a_restart_between_two_readings_is_a_change() -> None:
    """A member that was away and back before the next reading has lost its leaders: members count as changed."""
    memory, me = Memory(started_at=0.0), Identity(A, "a1")
    memory.learn(me, 10.0, reading("b1"))
    memory.learn(me, 15.0, reading("b1"))
    assert memory.members_changed_at == 10.0

    memory.learn(me, 20.0, reading("b2"))

    assert memory.members_changed_at == 20.0
