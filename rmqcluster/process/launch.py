"""Starting one program: resolved, in a session of its own, as another user, ended when its parent ends."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rmqcluster.errors import CommandFailed
from rmqcluster.process import prctl


@dataclass(frozen=True, slots=True)
class Program:
    """What to start. `env` is the whole environment: nothing is inherited, so no secret slips through."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path | None = None
    user: str | None = None  # step down to this user; ignored unless we are root
    pass_fds: Sequence[int] = ()
    tied: bool = True  # SIGTERM when the *thread* that starts it ends (the kernel's rule), kill -9 included


def launch(program: Program, stdin: int, stdout: int | None, stderr: int | None) -> int:
    """Start it as leader of a new session and return its pid; waiting for it is up to the caller.

    A session of its own keeps a terminal's ^C away from it. Raises `CommandFailed` when it cannot start.
    """
    path = _resolve(program)
    argv = [path, *program.argv[1:]]
    uid, gid, groups = _identity(program.user)
    try:
        process = subprocess.Popen(
            argv,
            env=dict(program.env),
            cwd=program.cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            user=uid,
            group=gid,
            extra_groups=groups,
            pass_fds=program.pass_fds,
            start_new_session=True,
            # The one thing done between fork and exec: after the change of user, which would undo it. It is a
            # single system call through a function that is resolved already, so no lock of another thread counts.
            preexec_fn=partial(prctl.tie_to, os.getpid()) if program.tied else None,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise CommandFailed(f"{program.argv[0]} cannot be started: {error}", exit_status=None) from error
    # Popen would wait for it in places of its own choice and take the status away from the reaper.
    process.returncode = 0
    return process.pid


def _resolve(program: Program) -> str:
    path = shutil.which(program.argv[0], path=program.env.get("PATH", os.defpath))
    if path is None:
        raise CommandFailed(
            f"{program.argv[0]} is not there or not executable; is RabbitMQ installed, and is it in PATH?",
            exit_status=None,
        )
    return str(Path(path).absolute())


def _identity(user: str | None) -> tuple[int | None, int | None, list[int] | None]:
    if user is None or os.geteuid() != 0:
        return None, None, None
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise CommandFailed(f"there is no user {user} on this machine; create it", exit_status=None) from None
    return entry.pw_uid, entry.pw_gid, os.getgrouplist(user, entry.pw_gid)
