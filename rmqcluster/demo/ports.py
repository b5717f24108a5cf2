"""Free ports on loopback for everything that the demo starts."""

import random
import socket
from pathlib import Path

FIRST_PORT = 20000
LAST_PORT = 32000  # below the range from which the kernel takes ports for outgoing connections
TRIES = 2000


def free_ports(count: int) -> list[int]:
    """`count` different ports that nobody listens on now, on any address. Raises OSError when there are too few."""
    last = min(LAST_PORT, _first_ephemeral_port() - 1)
    found: list[int] = []
    held: list[socket.socket] = []
    chooser = random.SystemRandom()
    try:
        for _ in range(TRIES):
            if len(found) == count:
                return found
            listener = socket.socket()
            held.append(listener)  # kept until the end, so that no port is given twice
            port = chooser.randint(min(FIRST_PORT, last - count), last)
            try:
                listener.bind(("", port))
            except OSError:
                continue  # taken
            found.append(port)
    finally:
        for listener in held:
            listener.close()
    raise OSError(f"found {len(found)} of {count} free ports between {FIRST_PORT} and {last}")


def _first_ephemeral_port() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return LAST_PORT + 1
    return first if first > FIRST_PORT + 1000 else LAST_PORT + 1
