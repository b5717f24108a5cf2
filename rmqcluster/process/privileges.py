"""Giving up root, and keeping memory out of core dumps."""

import grp
import os
import pwd
import resource
from collections.abc import Sequence
from pathlib import Path

from rmqcluster.errors import ConfigurationError
from rmqcluster.process import prctl


def step_down(user: str = "rabbitmq", owned: Sequence[Path] = ()) -> bool:
    """When root, become `user` for good and hand it the `owned` paths; False (and nothing done) otherwise.

    The user is looked up by name: its number differs between images. A path that belongs to somebody else is
    given to the user with everything below it; links are never followed; a path that is not there is left to
    be made later. HOME, USER and LOGNAME become the user's. Raises `ConfigurationError`.
    """
    if os.geteuid() != 0:
        return False
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ConfigurationError(
            f"started as root, but there is no user {user} to step down to; use an image that has RabbitMQ in it"
        ) from None
    for path in owned:
        _hand_over(path, entry)
    try:
        os.initgroups(user, entry.pw_gid)
        os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
        os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    except PermissionError as error:
        raise ConfigurationError(
            f"started as root, but not allowed to step down to {user} ({error.strerror}); "
            f"start as {user}, or allow the capabilities SETUID and SETGID"
        ) from error
    assert os.getresuid() == (entry.pw_uid,) * 3, "still root"
    prctl.forbid_new_privileges()
    os.environ.update(HOME=entry.pw_dir, USER=user, LOGNAME=user)
    return True


def no_core_dumps() -> None:
    """No core file of this process or its children, and no dump of this process at all: memory holds secrets."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The limit does not bind a core pattern that is a pipe to a program; this does.
    prctl.hide_memory()


def _hand_over(top: Path, entry: pwd.struct_passwd) -> None:
    try:
        status = top.stat(follow_symlinks=False)
        if status.st_uid == entry.pw_uid:
            return
        if top.is_symlink():
            raise ConfigurationError(f"{top} is a symbolic link and is not followed as root; give the real path")
        # From the bottom up: the top changes last, so an interrupted run is seen and repeated.
        for _, _, files, descriptor in os.fwalk(top, topdown=False, onerror=_raise, follow_symlinks=False):
            for name in files:
                os.chown(name, entry.pw_uid, entry.pw_gid, dir_fd=descriptor, follow_symlinks=False)
            os.chown(descriptor, entry.pw_uid, entry.pw_gid)
        if not top.is_dir():
            os.chown(top, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
    except FileNotFoundError:
        return
    except OSError as error:
        group = grp.getgrgid(entry.pw_gid).gr_name
        raise ConfigurationError(
            f"{top} cannot be given to {entry.pw_name} ({error.strerror}: {error.filename}); "
            f"chown -R {entry.pw_name}:{group} {top} where it is mounted"
        ) from error


def _raise(error: OSError) -> None:
    raise error
