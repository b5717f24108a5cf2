"""This member's own broker process: started, signalled, listened to; nothing here waits.

The loop feeds it: `on_notify` with what the broker says over sd_notify, `on_readable` when its output has
something, `on_exit` with the status of its end. Phases follow these edges alone, so reading them is free.
"""

import shutil
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from rmqcluster.agent.ports import Boot
from rmqcluster.broker import conf
from rmqcluster.broker.account import monitor_password
from rmqcluster.broker.env import broker_environment
from rmqcluster.broker.output import OutputPipe
from rmqcluster.broker.ports import ChildHandle, Spawner
from rmqcluster.broker.reason import explain, progress, tells_of_membership
from rmqcluster.broker.version import Scripts
from rmqcluster.config.settings import Settings
from rmqcluster.core.model import BrokerPhase, BrokerState, Exit
from rmqcluster.errors import CommandFailed, RmqclusterError

HELD_SECONDS = 60.0  # a boot that was ready for so long clears the record of failed ones
_EXITS_KEPT = 20
_EPMD_ANSWER_SECONDS = 0.2


class RabbitProcess:
    """Port `BrokerProcess`. `notify_socket` is the path of the datagram socket that the loop reads.

    `on_membership_hint` is called, on the loop, when the broker's output says that another node came or went; it must
    not block. A hint is no evidence: brokers are asked then.
    """

    def __init__(
        self,
        settings: Settings,
        spawner: Spawner,
        scripts: Scripts,
        *,
        inherited: Mapping[str, str],
        monotonic: Callable[[], float],
        conf_directory: Path,
        forward: Callable[[str], None],
        notify_socket: str | None = None,
        on_membership_hint: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._spawner = spawner
        self._scripts = scripts
        self._inherited = inherited
        self._monotonic = monotonic
        self._conf_directory = conf_directory
        self._notify_socket = notify_socket
        self._forward = forward
        self._on_membership_hint = on_membership_hint
        self.output = OutputPipe(self._heard)
        self._child: ChildHandle | None = None
        self._epmd: ChildHandle | None = None
        self._epmd_trouble = ""
        self._boot: Boot | None = None
        self._phase = BrokerPhase.DOWN
        self._since = monotonic()
        self._asked_to_end = False
        self._was_ready = False
        self._exits: tuple[Exit, ...] = ()

    @property
    def pid(self) -> int | None:
        """Process id while it runs: `on_exit` is for the end of this process."""
        return self._child.pid if self._child is not None else None

    def start(self, boot: Boot) -> None:
        """Write the generated configuration and start.

        A full disk or a failed fork is one more unexpected end: the rules back off and start it again.
        """
        assert self._child is None, "the broker is already running"
        secret = monitor_password(self._settings.cookie)
        content = conf.render(boot, self._scripts.version, self._settings, secret)
        self.output.tail.clear()
        self._boot = boot
        self._asked_to_end = self._was_ready = False
        try:
            conf.write(self._conf_directory, self._settings, content)
            environment = broker_environment(self._settings, self._inherited, self._conf_directory, self._notify_socket)
            self._start_epmd(environment)
            self._child = self._spawner.spawn(
                [self._scripts.path("rabbitmq-server")],
                env=environment,
                cwd=self._settings.paths.mnesia_base,
                stdout=self.output.write_end,
                stderr=self.output.write_end,
            )
        except (RmqclusterError, OSError) as error:
            self._record_exit(None, f"the broker could not be started: {error}", configuration=False)
            return
        self._enter(BrokerPhase.STARTING)

    def terminate(self) -> None:
        """SIGTERM: an orderly end, in any phase."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def on_notify(self, fields: Mapping[str, str]) -> None:
        """One sd_notify message. After `stop_app` the broker says "Standing by": running, but not serving."""
        if self._child is None or self._phase is BrokerPhase.DOWN or self._asked_to_end:
            return
        if fields.get("READY") == "1":
            self._was_ready = True
            self.output.tail.clear()  # what is written from here on is about serving, not about starting
            self._enter(BrokerPhase.READY)
        elif fields.get("STOPPING") == "1":
            self._enter(BrokerPhase.STOPPING)
        elif self._phase is BrokerPhase.READY and fields.get("STATUS", "").startswith("Standing by"):
            self._enter(BrokerPhase.STARTING)

    def output_fileno(self) -> int:
        """Readable when the broker has written something; the same for the life of this object."""
        return self.output.fileno()

    def on_readable(self) -> None:
        self.output.on_readable()

    def _heard(self, line: str) -> None:
        self._forward(line)
        if tells_of_membership(line):
            self._on_membership_hint()

    def on_exit(self, status: int | None) -> None:
        """The process has ended; an end that nobody asked for is recorded with its reason."""
        self.output.on_readable()
        self._forget_old_exits()
        if not self._asked_to_end:
            lines, ports = self.output.tail.lines(), self._port_names()
            reason, configuration = explain(lines, status, ports, was_ready=self._was_ready)
            self._record_exit(status, reason, configuration)
        self._child = None
        self._enter(BrokerPhase.DOWN)

    def state(self) -> BrokerState:
        self._forget_old_exits()
        boot = self._boot
        return BrokerState(
            phase=self._phase,
            since=self._since,
            purpose=boot.purpose if boot else None,
            target=boot.target if boot else None,
            cluster_id=boot.cluster_id if boot else None,
            exits=self._exits,
            version=self._scripts.version,
            was_ready=self._was_ready,
            waits_for=self.waits_for(),
        )

    def waits_for(self) -> str:
        """What a starting broker waits for, "" when it does not say; a mute epmd makes it wait without a word."""
        if self._phase is not BrokerPhase.STARTING:
            return ""
        return progress(self.output.tail.lines()) or self._epmd_trouble

    def close(self) -> None:
        """End what only we need: the epmd that we started. Call it when the broker is down."""
        if self._epmd is not None and self._epmd.exit_status is None:
            self._epmd.signal(signal.SIGTERM)
        self.output.close()

    def _end(self, number: signal.Signals) -> None:
        if self._child is None:
            return
        self._asked_to_end = True
        self._enter(BrokerPhase.STOPPING)
        self._child.signal(number)

    def _record_exit(self, status: int | None, reason: str, configuration: bool) -> None:
        ended = Exit(status=status, reason=reason, configuration=configuration, at=self._monotonic())
        self._exits = (*self._exits, ended)[-_EXITS_KEPT:]

    def _enter(self, phase: BrokerPhase) -> None:
        if phase is not self._phase:
            self._phase = phase
            self._since = self._monotonic()

    def _forget_old_exits(self) -> None:
        if self._phase is BrokerPhase.READY and self._monotonic() - self._since >= HELD_SECONDS:
            self._exits = ()

    def _port_names(self) -> dict[int, str]:
        return {self._settings.amqp_port: "AMQP", self._settings.management_port: "management"}

    def _start_epmd(self, environment: Mapping[str, str]) -> None:
        """epmd as our own child in the foreground: RabbitMQ's would be a daemon that outlives everything.

        One that cannot be started is only told: RabbitMQ tries to start its own.
        """
        self._epmd_trouble = ""
        if self._epmd is not None and self._epmd.exit_status is None:
            return
        port = int(environment.get("ERL_EPMD_PORT", "4369"))
        answers = _epmd_answers(port)
        if answers is False:
            self._epmd_trouble = f"port {port} (ERL_EPMD_PORT) is in use by something that does not answer like epmd"
        if answers is not None:
            return
        program = shutil.which("epmd", path=environment["PATH"])
        if program is None:
            return  # RabbitMQ looks in its own Erlang and starts one by itself
        names = ("PATH", "LANG", "ERL_EPMD_PORT", "ERL_EPMD_ADDRESS", "ERL_EPMD_RELAXED_COMMAND_CHECK")
        try:
            self._epmd = self._spawner.spawn(
                [program],
                env={name: environment[name] for name in names if name in environment},
                stdout=self.output.write_end,
                stderr=self.output.write_end,
            )
        except (CommandFailed, OSError) as error:
            self._epmd_trouble = f"epmd could not be started: {error}"
            self.output.tell(self._epmd_trouble)


def _epmd_answers(port: int) -> bool | None:
    """Does epmd answer its NAMES request? False: something else has the port; None: nobody has it."""
    try:
        connection = socket.create_connection(("127.0.0.1", port), timeout=_EPMD_ANSWER_SECONDS)
    except OSError:
        return None
    with connection:
        try:
            connection.sendall(b"\x00\x01n")
            return connection.recv(4) == port.to_bytes(4, "big")
        except OSError:
            return False
