"""The only place where the parts of a supervisor meet.

Order matters: configuration, root given up, data directory locked, files written; only then the network.
"""

import encodings.idna  # noqa: F401 - loaded late by name resolution, when root's directories may be closed
import os
import socket
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Any

from rmqcluster.agent.agent import Agent, Parts
from rmqcluster.agent.journal import Journal
from rmqcluster.agent.memory import Identity
from rmqcluster.agent.ports import BrokerFacts
from rmqcluster.agent.prober import Prober
from rmqcluster.agent.store_worker import StoreWorker
from rmqcluster.agent.supervisor import Supervisor
from rmqcluster.agent.threads import LongActRunner, Stepper
from rmqcluster.agent.watcher import Watcher
from rmqcluster.api.server import ApiServer
from rmqcluster.broker.account import cookie_fingerprint
from rmqcluster.broker.boot import RabbitProcess
from rmqcluster.broker.ctl import Ctl
from rmqcluster.broker.definitions import load as load_definitions
from rmqcluster.broker.files import DataVolume, write_cookie
from rmqcluster.broker.management import ManagementApi
from rmqcluster.broker.ports import ChildHandle
from rmqcluster.broker.provision import Provisioner, wanted_stamp
from rmqcluster.broker.version import find_scripts
from rmqcluster.config.load import load
from rmqcluster.config.settings import Settings
from rmqcluster.errors import BrokerUnavailable, CommandFailed, ExitCode, RmqclusterError, Stopped
from rmqcluster.process.children import Children
from rmqcluster.process.lock import DirectoryLock
from rmqcluster.process.notify import NotifySocket
from rmqcluster.process.privileges import no_core_dumps, step_down
from rmqcluster.process.signals import Wakeup
from rmqcluster.store.redis_store import RedisStore

BROKER_USER = "rabbitmq"


class MonotonicClock:
    def monotonic(self) -> float:
        return time.monotonic()


class LockingSpawner:
    """Starts the broker with the directory lock in its hands; it stays locked while either of us lives."""

    def __init__(self, children: Children, lock: DirectoryLock) -> None:
        self._children, self._lock = children, lock

    def spawn(self, argv: Sequence[str], **options: Any) -> ChildHandle:
        is_broker = Path(argv[0]).name == "rabbitmq-server"
        held = (self._lock.fileno(),) if is_broker else ()
        child = self._children.spawn(argv, pass_fds=held, **options)
        if is_broker:
            self._lock.record_broker(child.pid)
        return child


def facts_by_command(ctl: Ctl) -> Callable[[], BrokerFacts]:
    """The broker's facts without an account, by a process: for a cluster that is not provisioned by us yet."""

    def ask() -> BrokerFacts:
        try:
            answer, view = ctl.facts(), ctl.view()
        except CommandFailed as error:
            raise BrokerUnavailable(str(error)) from error
        ours, broker_id = answer.get("ours"), answer.get("broker_cluster_id")
        stamp = ours.get("stamp") if isinstance(ours, Mapping) else None
        return BrokerFacts(view, stamp if isinstance(stamp, str) else "", str(broker_id) if broker_id else None)

    return ask


def run_entrypoint(environ: Mapping[str, str] | None = None) -> int:
    """Run one member until it is stopped. Returns the exit code; expected trouble is told in one message."""
    environment = dict(os.environ if environ is None else environ)
    journal = Journal(environment.get("RABBITMQ_NODENAME", socket.gethostname()), environment.get("RMQCLUSTER_LOG", ""))
    journal.start()
    try:
        settings = load(environment)
        no_core_dumps()
        step_down(BROKER_USER, [settings.paths.home, settings.paths.mnesia_base])
        return _supervise(settings, environment, journal)
    except RmqclusterError as error:
        for line in str(error).splitlines():
            journal.say(line, kind="stopped" if error.exit_code == ExitCode.OK else "refused")
        return int(error.exit_code)
    finally:
        journal.stop()


@dataclass(frozen=True, slots=True)
class Site:
    """What is there before the parts are put together."""

    settings: Settings
    environment: Mapping[str, str]
    journal: Journal
    instance: str
    volume: DataVolume
    children: Children
    wakeup: Wakeup
    lock: DirectoryLock
    notify: NotifySocket


def _supervise(settings: Settings, environment: Mapping[str, str], journal: Journal) -> int:
    for warning in settings.warnings:
        journal.say(warning, kind="warning")
    instance, volume = uuid.uuid4().hex, DataVolume(settings)
    volume.prepare()
    volume.read()  # a marker that cannot be understood is told before anything starts
    children = Children(adopt_orphans=True)
    with Wakeup() as wakeup:
        lock = DirectoryLock(volume.state_dir, instance)
        lock.acquire(
            2 * settings.policy.ttl_seconds,
            lambda text: journal.say(text, kind="waiting"),
            pause=lambda seconds: _pause(wakeup, seconds),
        )
        write_cookie(settings.paths.home, settings.cookie)
        notify = NotifySocket()
        try:
            site = Site(settings, environment, journal, instance, volume, children, wakeup, lock, notify)
            return _run(site)
        finally:
            notify.close()
            lock.close()


def _pause(wakeup: Wakeup, seconds: float) -> None:
    """Between two looks at the lock; a stop request ends the waiting."""
    wakeup.wait(seconds)
    if {SIGTERM, SIGINT} & wakeup.drain():
        raise Stopped("stopped on request while waiting for the data directory")


def _run(site: Site) -> int:
    settings, clock, policy = site.settings, MonotonicClock(), site.settings.policy
    scripts = find_scripts(site.environment)
    ctl = Ctl(settings, site.children, scripts, site.environment)
    api = ManagementApi(settings, fallback=facts_by_command(ctl))
    definitions = load_definitions(settings.paths.definitions)
    commands = Provisioner(settings, definitions, ctl, api)
    store = RedisStore(settings, node=settings.node, instance=site.instance)
    worker = StoreWorker(store, policy, clock, site.instance)
    prober = Prober(api, policy, clock)
    long_acts = LongActRunner(site.wakeup.wake)
    broker = RabbitProcess(
        settings,
        LockingSpawner(site.children, site.lock),
        scripts,
        inherited=site.environment,
        monotonic=clock.monotonic,
        conf_directory=site.volume.state_dir / "conf.d",
        forward=site.journal.broker_line,
        notify_socket=str(site.notify.path),
    )
    parts = Parts(store, worker, prober, site.volume, broker, commands, long_acts, site.journal, clock)
    agent = Agent(_identity(site, wanted_stamp(settings, definitions)), policy, parts)
    steppers = _steppers(site, store, worker, prober)
    http = ApiServer(settings, lambda: agent.published)
    http.start()
    try:
        supervisor = Supervisor(agent, broker, site.children, site.wakeup, site.notify, worker, steppers, site.journal)
        return supervisor.run()
    finally:
        http.stop()


def _identity(site: Site, wanted_stamp: str | None) -> Identity:
    settings, before = site.settings, site.lock.predecessor
    return Identity(
        me=settings.node,
        instance=site.instance,
        host=settings.host_id,
        cookie=cookie_fingerprint(settings.cookie),
        management=f"{settings.host}:{settings.management_port}",
        http=f"{settings.host}:{settings.http_port}",
        predecessor=before.instance if before else None,
        wanted_stamp=wanted_stamp,
    )


def _steppers(site: Site, store: RedisStore, worker: StoreWorker, prober: Prober) -> list[Stepper]:
    """The worker threads, wired so that each wakes whom its news concern."""
    speaking = Stepper("store", worker.step, site.journal)
    asking = Stepper("prober", prober.step, site.journal)
    watching = Stepper("watcher", Watcher(store, site.settings.policy, speaking.wake).step, site.journal)
    worker.wake, prober.wake = speaking.wake, asking.wake
    worker.on_reading = prober.on_answer = site.wakeup.wake
    return [speaking, asking, watching]
