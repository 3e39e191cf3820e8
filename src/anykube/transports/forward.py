"""A port of a host as a port of this machine's loopback address, through the host's transport.

For programs that speak a protocol of their own, such as etcdctl; whom they trust is settled end to end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from anykube.errors import TransportError
from anykube.transports.base import Reader, Transport, Writer

CHUNK = 256 * 1024
LOOPBACK = "127.0.0.1"


@asynccontextmanager
async def forwarded(transport: Transport, port: int) -> AsyncIterator[int]:
    """The local port that leads to `port` on the host's own loopback address, while the block lasts."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        current = asyncio.current_task()
        if current is not None:
            tasks.add(current)
            current.add_done_callback(tasks.discard)
        with suppress(TransportError, OSError):
            there, back = await transport.open(LOOPBACK, port)
            await asyncio.gather(_pump(reader, back), _pump(there, writer))

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(source: Reader | asyncio.StreamReader, sink: Writer | asyncio.StreamWriter) -> None:
    """Bytes until the end; a slow reader slows the sender down."""
    try:
        while data := await source.read(CHUNK):
            sink.write(data)
            await sink.drain()
    finally:
        with suppress(OSError):
            sink.close()
