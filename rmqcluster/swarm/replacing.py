"""Which tasks a change of the stack replaces: Swarm starts nothing anew for what is not in the tasks' description."""

from collections.abc import Callable, Collection

from rmqcluster.swarm.engine import Engine
from rmqcluster.swarm.preflight import fulfils


def replaced(engine: Engine, stack: str, names: Collection[str], act: Callable[[], None]) -> dict[str, str]:
    """Do it; service -> its task that goes. Labels of a service and its update rules change without a new task.

    Nor does a placement that the task's host still fulfils.
    """
    before = {name: one for name, one in engine.services(stack).items() if name in names}
    tasks = {name: found[0] for name, one in before.items() if (found := engine.tasks(one.id))}
    act()
    after = engine.services(stack)
    hosts = {node.id: node for node in engine.nodes()}
    gone = {}
    for name, task in tasks.items():
        if name not in after:
            continue
        host = hosts.get(task.node_id)
        stays = host is not None and fulfils(host, after[name].constraints)
        if after[name].template != before[name].template or not stays:
            gone[name] = task.id
    return gone
