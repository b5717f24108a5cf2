"""The named exceptions of rmqcluster and the process exit codes.

Every error says what happened, to whom, and what to do next; `exit_code` is what the command line
answers with when nobody handles it. Exit codes follow sysexits where one fits.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What every `rmqcluster` command may exit with."""

    OK = 0
    DEGRADED = 1  # degraded, or something was refused
    UNAVAILABLE = 2  # unavailable or unknown
    USAGE = 64
    UNREACHABLE = 69  # Redis or the broker not reachable in time
    TRY_AGAIN = 75  # busy: who, since when
    IDENTITY = 76  # foreign volume, twin, held
    CONFIGURATION = 78


class RmqclusterError(Exception):
    """Base of all expected trouble; never raised itself."""

    exit_code: ExitCode = ExitCode.DEGRADED


class ConfigurationError(RmqclusterError):
    """A setting is wrong; nothing has been started."""

    exit_code = ExitCode.CONFIGURATION


class StoreUnavailable(RmqclusterError):
    """Redis did not give a timely, usable reply."""

    exit_code = ExitCode.UNREACHABLE


class StoreRefused(StoreUnavailable):
    """Redis answered, but will not have us: a wrong login or a missing permission. Only a person can mend it."""


class BrokerUnavailable(RmqclusterError):
    """A broker did not give a timely, usable reply; its state is unknown, not down."""

    exit_code = ExitCode.UNREACHABLE


class BrokerRefused(BrokerUnavailable):
    """The broker answered that our account is not valid (HTTP 401/403)."""


class CommandFailed(RmqclusterError):
    """A broker command ended with an error, or was still running at its deadline (then `timed_out`)."""

    def __init__(self, message: str, *, exit_status: int | None, timed_out: bool = False) -> None:
        super().__init__(message)
        self.exit_status = exit_status
        self.timed_out = timed_out


class OperationRefused(RmqclusterError):
    """An operation was not begun: its guard did not hold. Nothing was changed."""


class Stopped(RmqclusterError):
    """A stop was requested while there was nothing to stop yet."""

    exit_code = ExitCode.OK


class IdentityRefused(RmqclusterError):
    """This volume or name belongs to somebody else who is alive."""

    exit_code = ExitCode.IDENTITY
