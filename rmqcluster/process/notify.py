"""The receiving end of sd_notify: the broker tells its state as datagrams, no command is started to ask it.

Protocol: sd_notify(3), lines of NAME=value in one datagram. RabbitMQ sends READY=1, STOPPING=1 and STATUS=….
"""

import re
import shutil
import socket
import tempfile
from pathlib import Path

DATAGRAM_BYTES_MAX = 4096
DATAGRAMS_PER_READ_MAX = 64
_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


class NotifySocket:
    """A datagram socket in a private directory, which only this user (and root) can reach.

    Made after stepping down, so that the broker's user is this one. `directory` is where the private one is
    made (the system's place for temporary files by default).
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="rmqcluster-", dir=directory))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.bind(str(self.path))
        except OSError:
            self.close()
            raise

    @property
    def path(self) -> Path:
        """The value of NOTIFY_SOCKET."""
        return self._directory / "notify"

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> list[dict[str, str]]:
        """What has come since the last call, one dict per datagram; never blocks.

        Oversize datagrams and lines of another form are dropped; values are one line and printable.
        """
        messages: list[dict[str, str]] = []
        for _ in range(DATAGRAMS_PER_READ_MAX):
            try:
                data = self._socket.recv(DATAGRAM_BYTES_MAX + 1)
            except BlockingIOError:
                break
            if len(data) <= DATAGRAM_BYTES_MAX and (message := _parse(data)):
                messages.append(message)
        return messages

    def close(self) -> None:
        self._socket.close()
        shutil.rmtree(self._directory, ignore_errors=True)


def _parse(data: bytes) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in data.decode("utf-8", "replace").split("\n") if "=" in line)
    return {
        name: "".join(c if c.isprintable() else "?" for c in value) for name, value in pairs if _NAME.fullmatch(name)
    }
