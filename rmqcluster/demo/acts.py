"""What a person can do with the demo: up, start, kill, down. One at a time per directory."""

import fcntl
import os
import secrets
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rmqcluster.broker.version import find_scripts
from rmqcluster.demo import layout, node, proc, services, state, watch
from rmqcluster.demo.errors import DemoBusy, DemoFailed, DemoRefused, DemoUsage
from rmqcluster.demo.layout import Owner
from rmqcluster.demo.ports import free_ports
from rmqcluster.demo.state import DemoState, NodeState, ServiceState
from rmqcluster.demo.watch import Say

SIZES = (1, 3, 5)
READY_SECONDS = 180.0
STOP_SECONDS = 8.0
# A loss is seen after six seconds here, so that a person can watch it.
SETTINGS = {"RMQCLUSTER_HEARTBEAT_SECONDS": "2", "RMQCLUSTER_TTL_SECONDS": "6"}
LOSS_SECONDS = 20.0


@contextmanager
def exclusive(link: Path) -> Iterator[None]:
    """Held while the demo of this directory is changed. Raises DemoBusy when somebody else does."""
    parent = link.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise DemoBusy(f"another demo command is at work in {parent}: try again when it has ended") from None
    finally:
        os.close(descriptor)


def node_number(text: str) -> int:
    """`2`, `rmq2` and `rmq2@localhost` name node 2. Raises DemoUsage."""
    plain = text.strip().removesuffix("@localhost").removeprefix("rmq")
    if plain.isascii() and plain.isdigit() and len(plain) < 4:
        return int(plain)
    given = f'"{text}" is no node number' if text.strip() else "no node was named"
    raise DemoUsage(f"{given}: give 1, 2, … for instance  make demo-kill NODE=2")


def size_of(text: str) -> int:
    """Raises DemoUsage unless it is a number of nodes that is offered."""
    if text.strip() not in [str(size) for size in SIZES]:
        raise DemoUsage(f'a demo has 1, 3 or 5 nodes, not "{text}"')
    return int(text)


def is_there(link: Path) -> bool:
    return (link / layout.STATE_FILE).exists()


def up(link: Path, size: int | None, say: Say) -> DemoState:
    """Form the cluster, or start what is missing of one that is there; returns when all members are back.

    One that runs is left alone. `size` None means what is there, else 3. Raises DemoFailed naming what did not come up.
    """
    owner = layout.find_owner()
    if is_there(link):
        demo = state.load(link)
        if size is not None and size != demo.size:
            raise DemoRefused(f"a demo of {demo.size} nodes is there already. Type: make demo-down, then again")
        if is_whole(demo):
            say("the demo runs already")
            return demo
    else:
        demo = create(link, size or 3, owner, SETTINGS)
        say(f"a new demo of {demo.size} nodes in {demo.directory}")
    demo = start_missing(demo, owner, say)
    watch.await_members(demo, [one.number for one in demo.nodes], say, READY_SECONDS)
    return demo


def is_whole(demo: DemoState) -> bool:
    """Does everything run that belongs to it? Says nothing on how well."""
    return demo.redis.is_up and demo.epmd.is_up and all(one.is_up for one in demo.nodes)


def create(link: Path, size: int, owner: Owner, settings: Mapping[str, str]) -> DemoState:
    """Lay out the directory of a new demo: ports, secrets, copies of the shipped files. Nothing is started."""
    find_scripts(os.environ)
    services.find_program(services.REDIS, services.REDIS)
    shipped = {name: layout.shipped(name) for name in ("rabbitmq.conf", "definitions.json")}
    directory = layout.create(link, owner)
    ports = iter(free_ports(2 + 4 * size))
    demo = DemoState(
        id=secrets.token_hex(8),
        directory=directory,
        size=size,
        nodes=tuple(NodeState(i + 1, next(ports), next(ports), next(ports), next(ports)) for i in range(size)),
        redis=ServiceState(next(ports)),
        epmd=ServiceState(next(ports)),
        settings=settings,
    )
    state.save(demo)
    layout.make_directory(directory / "secrets", owner, 0o700)
    for name in state.SECRETS:
        layout.write(demo.secret_file(name), secrets.token_urlsafe(24) + "\n", owner, 0o600)
    for name, text in shipped.items():
        layout.write(directory / name, text, owner)
    services.write_redis_configuration(demo, demo.secret_file("redis").read_text().strip(), owner)
    return demo


def start_missing(demo: DemoState, owner: Owner, say: Say) -> DemoState:
    """Start Redis, epmd and the supervisors that do not run, all supervisors at once."""
    if not demo.redis.is_up:
        demo = services.start_redis(demo, owner)
        state.save(demo)
        say(f"Redis on port {demo.redis.port}")
    if not demo.epmd.is_up:
        demo = services.start_epmd(demo, owner)
        state.save(demo)
    for one in demo.nodes:
        if not one.is_up:
            demo = start_supervisor(demo, one.number, owner)
            say(f"{one.name} started: AMQP {one.amqp_port}, management {one.management_port}")
    return demo


def start_supervisor(demo: DemoState, number: int, owner: Owner, extra: Mapping[str, str] | None = None) -> DemoState:
    demo = node.start(demo, number, owner, dict(extra or {}))
    state.save(demo)
    return demo


def start(link: Path, number: int, say: Say) -> DemoState:
    """Start a node that was killed and wait until it is back. Raises DemoRefused when it runs."""
    demo = state.load(link)
    one = demo.node(number)
    if one.is_up:
        raise DemoRefused(f"{one.name} runs already (supervisor pid {one.supervisor and one.supervisor.pid})")
    if not demo.redis.is_up or not demo.epmd.is_up:
        raise DemoRefused("the demo's Redis or epmd does not run. Type: make demo, which starts what is missing")
    demo = start_supervisor(demo, number, layout.find_owner())
    watch.await_members(demo, [number], say, READY_SECONDS)
    return demo


def kill(link: Path, number: int, say: Say) -> DemoState:
    """SIGKILL a node's supervisor and broker, and wait until a surviving member has noticed.

    Raises DemoRefused when nothing of it runs.
    """
    demo = state.load(link)
    one = demo.node(number)
    if not node.processes(demo, number):
        raise DemoRefused(f"{one.name} does not run: nothing to kill. Type: make demo-start NODE={number}")
    left = node.kill(demo, number)
    if left:
        raise DemoFailed(f"{one.name}: still there after SIGKILL: pids {', '.join(str(p.pid) for p in left)}")
    demo = demo.with_node(replace(one, supervisor=None))
    state.save(demo)
    say(f"{one.name}: supervisor and broker killed")
    others = [other for other in demo.nodes if other.is_up]
    if others:
        say("waiting until the others have noticed (its heartbeat must end first)")
        if not watch.await_loss(demo, number, LOSS_SECONDS):
            say(f"the others have not judged it lost within {LOSS_SECONDS:.0f} s; see: make demo-status")
    return demo


def down(link: Path, say: Say) -> None:
    """Stop everything in order, by force where needed, and remove the data. Raises DemoRefused without a demo."""
    demo = state.load(link)
    stop_everything(demo, say)
    layout.remove(link)


def stop_everything(demo: DemoState, say: Say) -> None:
    """Supervisors first (they stop their brokers in order), then what is left of them, epmd, Redis."""
    supervisors = [one.supervisor for one in demo.nodes if one.supervisor is not None and one.is_up]
    proc.send(supervisors, signal.SIGTERM)
    proc.send(supervisors, signal.SIGCONT)  # one that was paused must hear it
    late = proc.wait_gone(supervisors, STOP_SECONDS + 4)
    if late:
        say(f"{len(late)} supervisors did not stop in time and are killed")
    proc.end(late, term_seconds=0)
    proc.end(proc.marked(demo.marker() + "node"), term_seconds=1)
    proc.end(services.processes(demo), term_seconds=3)
    left = proc.marked(demo.marker()) + services.processes(demo)
    if left:
        raise DemoFailed(f"still there after SIGKILL: pids {', '.join(str(process.pid) for process in left)}")
