"""Small files that are whole or absent: written beside, synced, renamed, the directory synced."""

import os
import threading
from contextlib import suppress
from pathlib import Path

_LOCK = threading.Lock()  # two threads never write beside the same file at a time


def write_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace `path` in one step; a crash or a full disk leaves the old content. Raises OSError."""
    with _LOCK:
        _write(path, path.with_name(f".{path.name}.{os.getpid()}.new"), content, mode)


def _write(path: Path, temporary: Path, content: bytes, mode: int) -> None:
    with suppress(FileNotFoundError):
        temporary.unlink()  # left by a crash; in a container the process id is the same every time
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
