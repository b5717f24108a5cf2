"""Reading secrets from files: what may go wrong has a name, and the content never shows."""

import os
import stat
from pathlib import Path

SECRET_BYTES_MAX = 64 * 1024
# Swarm and Kubernetes mount secrets there, world-readable inside a container that has one user.
MOUNTED_SECRETS = Path("/run/secrets")


def read_secret_file(path: Path) -> tuple[str, str | None]:
    """The secret, exactly one trailing newline stripped, and a warning or None.

    Raises `ValueError` saying what is wrong with the file, never what is in it.
    """
    content, mode = _read_limited(path)
    if b"\0" in content:
        raise ValueError(f"{path} contains a NUL byte; give a text file with the secret alone")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text; give a text file with the secret alone") from None
    text = text.removesuffix("\n")
    if not text:
        raise ValueError(f"{path} is empty; write the secret into it")
    return text, _warning(path, mode, text)


def _read_limited(path: Path) -> tuple[bytes, int]:
    try:
        # Without O_NONBLOCK a FIFO in this place would block the start for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; create it or mount the secret there") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise ValueError(f"{path} cannot be read ({reason}); check its owner and mode") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise ValueError(f"{path} is not a regular file; give a text file with the secret alone")
        content = b""
        while len(content) <= SECRET_BYTES_MAX and (part := os.read(descriptor, SECRET_BYTES_MAX + 1)):
            content += part
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from None
    finally:
        os.close(descriptor)
    if len(content) > SECRET_BYTES_MAX:
        raise ValueError(f"{path} is larger than {SECRET_BYTES_MAX // 1024} KiB; is it the right file?")
    return content, mode


def _warning(path: Path, mode: int, text: str) -> str | None:
    if mode & 0o077 and not path.resolve().is_relative_to(MOUNTED_SECRETS):
        return f"{path} can be read by other users of this machine; chmod 600 {path}"
    if text != text.strip():
        return f"{path} begins or ends with a space or line end, which is taken as part of the secret"
    return None
