"""The only place where the parts of a supervisor meet.

Order matters: signals, configuration, root given up, the health check's port, data directory locked, files
written; only then Redis and the broker.
"""

import encodings.idna  # noqa: F401 - loaded late by name resolution, when root's directories may be closed
import os
import socket
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
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
from rmqcluster.agent.supervisor import StopBudget, Supervisor
from rmqcluster.agent.threads import LongActRunner, Stepper
from rmqcluster.agent.watcher import ExpiryWatcher, Watcher
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
from rmqcluster.errors import (
    BrokerUnavailable,
    CommandFailed,
    ConfigurationError,
    ExitCode,
    RmqclusterError,
    Stopped,
)
from rmqcluster.process.children import Children
from rmqcluster.process.lock import DirectoryLock
from rmqcluster.process.notify import NotifySocket
from rmqcluster.process.privileges import no_core_dumps, step_down
from rmqcluster.process.signals import Wakeup
from rmqcluster.store.redis_store import RedisStore

BROKER_USER = "rabbitmq"
JOURNAL_SECONDS = 0.4  # a part of `supervisor.RESERVE_SECONDS`


class MonotonicClock:
    def monotonic(self) -> float:
        return time.monotonic()


class LockingSpawner:
    """Starts the broker with the directory lock in its hands; it stays locked while either of us lives."""

    def __init__(self, children: Children, lock: DirectoryLock, journal: Journal) -> None:
        self._children, self._lock, self._journal = children, lock, journal

    def spawn(self, argv: Sequence[str], **options: Any) -> ChildHandle:
        is_broker = Path(argv[0]).name == "rabbitmq-server"
        held = (self._lock.fileno(),) if is_broker else ()
        child = self._children.spawn(argv, pass_fds=held, **options)
        if is_broker:
            self._record(child.pid)
        return child

    def _record(self, pid: int) -> None:
        """The record is for the next supervisor, should this one be killed; without it the lock still holds."""
        try:
            self._lock.record_broker(pid)
        except OSError as error:
            self._journal.say(f"the lock file does not name broker pid {pid}: {error}", kind="trouble")


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
    # Before anything else: the kernel drops a SIGTERM to a PID 1 that has no handler for it.
    with Wakeup() as wakeup:
        journal.start()
        try:
            settings = load(environment)
            no_core_dumps()
            step_down(BROKER_USER, [settings.paths.home, settings.paths.mnesia_base])
            heed_stop(wakeup, "before anything was started")
            return _supervise(settings, environment, journal, wakeup)
        except RmqclusterError as error:
            for line in str(error).splitlines():
                journal.say(line, kind="stopped" if error.exit_code == ExitCode.OK else "refused")
            return int(error.exit_code)
        finally:
            journal.stop(JOURNAL_SECONDS)


def heed_stop(wakeup: Wakeup, when: str) -> None:
    """Raises Stopped when a stop was requested and there is nothing to stop yet."""
    if {SIGTERM, SIGINT} & wakeup.drain():
        raise Stopped(f"stopped on request {when}")


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
    http: ApiServer


def _supervise(settings: Settings, environment: Mapping[str, str], journal: Journal, wakeup: Wakeup) -> int:
    for warning in settings.warnings:
        journal.say(warning, kind="warning")
    instance, volume = uuid.uuid4().hex, DataVolume(settings)
    volume.prepare()
    volume.read()  # a marker that cannot be understood is told before anything starts
    children = Children(adopt_orphans=True)
    lock, http = DirectoryLock(volume.state_dir, instance), ApiServer(settings)
    with ExitStack() as stack:
        stack.callback(lock.close)  # last: whoever waits for the directory wants the HTTP port, too
        stack.callback(http.stop)
        lock_directory(settings, journal, wakeup, lock, http)
        write_cookie(settings.paths.home, settings.cookie)
        notify = stack.enter_context(closing(NotifySocket()))
        return _run(Site(settings, environment, journal, instance, volume, children, wakeup, lock, notify, http))


def lock_directory(settings: Settings, journal: Journal, wakeup: Wakeup, lock: DirectoryLock, http: ApiServer) -> None:
    """Take the data directory, while the health check is answered and a stop request is heard."""
    words = "takes its data directory"

    def tell(text: str) -> None:
        nonlocal words
        words = text
        journal.say(text, kind="waiting")

    def pause(seconds: float) -> None:
        http.starting(words)
        wakeup.wait(seconds)
        heed_stop(wakeup, "while waiting for the data directory")

    try:
        http.start()
    except ConfigurationError:
        words = "the HTTP port may be the old instance's"  # then it is free as soon as the directory is
    lock.acquire(2 * settings.policy.ttl_seconds, tell, pause)
    http.starting("reads its configuration")
    if not http.is_running:
        http.start()


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
        LockingSpawner(site.children, site.lock, site.journal),
        scripts,
        inherited=site.environment,
        monotonic=clock.monotonic,
        conf_directory=site.volume.state_dir / "conf.d",
        forward=site.journal.broker_line,
        notify_socket=str(site.notify.path),
        on_membership_hint=lambda: prober.wake(),
    )
    parts = Parts(store, worker, prober, site.volume, broker, commands, long_acts, site.journal, clock)
    agent = Agent(_identity(site, wanted_stamp(settings, definitions)), policy, parts)
    steppers = _steppers(site, store, worker, prober)
    site.http.published = lambda: agent.published
    heed_stop(site.wakeup, "before its broker was started")
    budget = StopBudget(policy.stop_seconds, clock.monotonic)
    supervisor = Supervisor(
        agent, broker, site.children, site.wakeup, site.notify, worker, steppers, site.journal, budget
    )
    return supervisor.run()


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
    asking_peers = Stepper("prober of peers", prober.step_peers, site.journal)
    watching = Stepper("watcher", Watcher(store, site.settings.policy, speaking.wake).step, site.journal)
    expiring = Stepper("expiry", ExpiryWatcher(store, site.settings.policy, speaking.wake).step, site.journal)

    def ask_now() -> None:
        asking.wake()
        asking_peers.wake()

    worker.wake, prober.wake = speaking.wake, ask_now
    worker.on_reading = prober.on_answer = site.wakeup.wake
    return [speaking, asking, asking_peers, watching, expiring]
