"""What the demo refuses or fails at; each message says what to type next."""

from rmqcluster.errors import ExitCode, RmqclusterError


class DemoRefused(RmqclusterError):
    """The demo is not in a state in which this can be done; nothing was changed."""


class DemoBusy(RmqclusterError):
    """Another demo command works on the same directory."""

    exit_code = ExitCode.TRY_AGAIN


class DemoUsage(RmqclusterError):
    """The command was given something that it cannot mean."""

    exit_code = ExitCode.USAGE


class DemoFailed(RmqclusterError):
    """A part of the demo did not come up in time; the message carries its last words."""

    exit_code = ExitCode.UNREACHABLE
