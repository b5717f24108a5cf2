"""The few switches of Linux's prctl(2) that Python has no call for."""

import ctypes
import os
from signal import SIGTERM

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38


def adopt_orphans() -> None:
    """Make this process the parent of its descendants' orphans, as PID 1 is by nature."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def forbid_new_privileges() -> None:
    """No set-user-id program that this process or a descendant runs gains anything; cannot be undone."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def hide_memory() -> None:
    """No core dump of this process, not even by a pipe, and no debugger of the same user; until the next exec."""
    _prctl(_PR_SET_DUMPABLE, 0)


def tie_to(parent: int) -> None:
    """SIGTERM for this process when the thread of `parent` that started it ends; for use between fork and exec."""
    _prctl(_PR_SET_PDEATHSIG, int(SIGTERM))
    if os.getppid() != parent:
        raise ProcessLookupError("the parent ended before its child began")


def _prctl(option: int, value: int) -> None:
    if _CALL(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


# Resolved once: nothing may be looked up between fork and exec.
_CALL = ctypes.CDLL(None, use_errno=True).prctl
_CALL.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
_CALL.restype = ctypes.c_int
