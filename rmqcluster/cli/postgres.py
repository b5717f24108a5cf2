"""Is PostgreSQL there? A handshake of its wire protocol, without an account: eight bytes out, one byte back."""

import socket
import struct
from collections.abc import Mapping

SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # PostgreSQL's protocol, "SSLRequest"
DEADLINE_SECONDS = 2.0


def postgres_word(environ: Mapping[str, str]) -> str:
    """`healthy`, `not configured` (no POSTGRES_HOST in the environment), or what is wrong."""
    host, port = environ.get("POSTGRES_HOST", ""), environ.get("POSTGRES_PORT", "") or "5432"
    if not host:
        return "not configured"
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        return "unknown (POSTGRES_PORT is no port)"
    try:
        with socket.create_connection((host, int(port)), DEADLINE_SECONDS) as connection:
            connection.settimeout(DEADLINE_SECONDS)
            connection.sendall(SSL_REQUEST)
            answer = connection.recv(1)
    except (OSError, UnicodeError) as error:
        return f"unreachable ({error})"
    return "healthy" if answer in (b"S", b"N") else "unhealthy (it does not speak PostgreSQL's protocol)"
