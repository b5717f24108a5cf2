"""A way into the stack's network from outside: forwards one port to each `host:port` that it is given, from 20000 on.

Its text is what a one-shot container in that network runs; nothing of it is imported there.
"""

import asyncio
import contextlib
import sys

FIRST_PORT = 20000
CONNECT_SECONDS = 3.0
CHUNK = 65536


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


async def forward(target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Who cannot be reached is a connection that ends at once."""
    host, _, port = target.rpartition(":")
    try:
        there = await asyncio.wait_for(asyncio.open_connection(host, int(port)), CONNECT_SECONDS)
    except (TimeoutError, OSError):
        writer.close()
        return
    await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))


async def main(targets: list[str]) -> None:
    servers = [
        await asyncio.start_server(lambda r, w, to=target: forward(to, r, w), "0.0.0.0", FIRST_PORT + number)
        for number, target in enumerate(targets)
    ]
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
