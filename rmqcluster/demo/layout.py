"""Where the demo keeps its things, and who may read them.

    DIR/state.json   what runs: names, ports, process ids; no secret
    DIR/secrets/     cookie and passwords, one file each, for the owner alone
    DIR/redis/       configuration (with the password: 0600), log
    DIR/epmd.log
    DIR/rabbitmq.conf, DIR/definitions.json   copies of the shipped files
    DIR/nodeN/       mnesia/, conf.d/, log/, enabled_plugins; the home of that broker

Started as root, the brokers run as `rabbitmq` and so do Redis and epmd; DIR must then be reachable for that
user. Below a directory that is closed to it (root's home, say) DIR becomes a link to one that is not.
"""

import hashlib
import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from rmqcluster.demo.errors import DemoFailed, DemoRefused

DIRECTORY_VARIABLE = "DEMO_DIR"
DEFAULT_DIRECTORY = ".demo"
STATE_FILE = "state.json"
BROKER_USER = "rabbitmq"
OPEN_PARENT = Path("/var/lib")
LINKED_PREFIX = "rmqcluster-demo-"
PROJECT = Path(__file__).resolve().parents[2]


def default_directory() -> Path:
    """`.demo` here, unless DEMO_DIR says otherwise."""
    return Path(os.environ.get(DIRECTORY_VARIABLE) or DEFAULT_DIRECTORY)


@dataclass(frozen=True, slots=True)
class Owner:
    """The user that everything runs as; `name` is None when that is whoever we are."""

    name: str | None
    uid: int
    gid: int


def find_owner() -> Owner:
    """`rabbitmq` for root, else the present user. Raises DemoFailed when that user is missing."""
    if os.geteuid() != 0:
        return Owner(None, os.geteuid(), os.getegid())
    try:
        entry = pwd.getpwnam(BROKER_USER)
    except KeyError:
        raise DemoFailed(
            f"there is no user {BROKER_USER}: RabbitMQ is not installed. Type: make setup, or as root: "
            "apt-get install rabbitmq-server redis-server"
        ) from None
    return Owner(BROKER_USER, entry.pw_uid, entry.pw_gid)


def create(link: Path, owner: Owner) -> Path:
    """Make the empty directory that `link` names, somewhere that `owner` can reach; returns its real path."""
    link = link.absolute()
    if link.is_symlink() or link.exists():
        raise DemoRefused(f"{link} is there but holds no demo: look at it, remove it, then try again")
    link.parent.mkdir(parents=True, exist_ok=True)
    real = link
    if not _is_reachable(link.parent, owner):
        digest = hashlib.sha256(str(link).encode()).hexdigest()[:8]
        real = OPEN_PARENT / f"{LINKED_PREFIX}{digest}"
        if real.is_symlink() or real.exists():
            raise DemoRefused(f"{real} is left over from another demo of {link}: remove it, then try again")
        link.symlink_to(real)
    real.mkdir(mode=0o755)
    real.chmod(0o755)
    return real


def remove(link: Path) -> None:
    """Take the demo's directory away, and what the link points to only if we made it."""
    link = link.absolute()
    real = link.resolve()
    if link.is_symlink():
        link.unlink()
        if real.parent != OPEN_PARENT or not real.name.startswith(LINKED_PREFIX):
            return
    if real.exists():
        shutil.rmtree(real)


def make_directory(path: Path, owner: Owner, mode: int = 0o755) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    os.chown(path, owner.uid, owner.gid)
    return path


def write(path: Path, text: str, owner: Owner, mode: int = 0o644) -> Path:
    """Write a file that never exists with a wider mode than `mode`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, mode)
        os.fchown(descriptor, owner.uid, owner.gid)
        file.write(text)
    return path


def shipped(name: str) -> str:
    """Text of a file at the project's top. Raises DemoFailed when this is not a checkout."""
    try:
        return (PROJECT / name).read_text("utf-8")
    except FileNotFoundError:
        raise DemoFailed(f"{PROJECT / name} is missing: the demo runs from a checkout of the project") from None


def tail(path: Path, lines: int = 15, most_bytes: int = 64 * 1024) -> list[str]:
    """The last lines of a log; empty when there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - most_bytes))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-lines:]


def _is_reachable(directory: Path, owner: Owner) -> bool:
    """May `owner` pass through every directory on the way? Judged by owner, group and mode; ACLs are not read."""
    if owner.name is None:
        return True
    groups = set(os.getgrouplist(owner.name, owner.gid))
    for part in (directory.resolve(), *directory.resolve().parents):
        status = part.stat()
        bit = stat.S_IXOTH
        if status.st_uid == owner.uid:
            bit = stat.S_IXUSR
        elif status.st_gid in groups:
            bit = stat.S_IXGRP
        if not status.st_mode & bit:
            return False
    return True
