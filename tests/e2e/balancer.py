"""A user's own load balancer, as simple as can be: TCP from one address to whichever server accepts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress

CONNECT_SECONDS = 0.5
CHUNK = 65536
CLOSE_SECONDS = 0.2
"""For the loop to close its sockets after the last connection was told to."""


@contextmanager
def balancing(host: str, port: int, servers: Sequence[tuple[str, int]]) -> Iterator[None]:
    """Balance while the body runs."""
    loop = asyncio.new_event_loop()
    listening = threading.Event()
    task = loop.create_task(_serve(host, port, servers, listening))
    thread = threading.Thread(target=lambda: _until_cancelled(loop, task), daemon=True)
    thread.start()
    assert listening.wait(5), f"nothing can listen at {host}:{port}"
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(5)


def _until_cancelled(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    """Run until told to end; then every connection is closed before the loop is."""
    with suppress(asyncio.CancelledError):
        loop.run_until_complete(task)
    left = asyncio.all_tasks(loop)
    for one in left:
        one.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(asyncio.sleep(CLOSE_SECONDS))
    loop.close()


async def _serve(
    host: str, port: int, servers: Sequence[tuple[str, int]], listening: threading.Event
) -> None:
    turn = 0

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turn
        turn += 1
        order = [servers[(turn + index) % len(servers)] for index in range(len(servers))]
        with closing(writer):
            for address, server_port in order:
                try:
                    async with asyncio.timeout(CONNECT_SECONDS):
                        theirs, back = await asyncio.open_connection(address, server_port)
                except (OSError, TimeoutError):
                    continue
                with closing(back):
                    await _both_ways((reader, back), (theirs, writer))
                break

    server = await asyncio.start_server(pass_on, host, port)
    async with server:
        listening.set()
        await server.serve_forever()


async def _both_ways(*ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    """Until one side ends."""
    copies = [asyncio.ensure_future(_copy(reader, writer)) for reader, writer in ways]
    try:
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for copy in copies:
            copy.cancel()
        await asyncio.gather(*copies, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
