"""A user's own load balancer, as simple as can be: TCP from one address to whichever server accepts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

CONNECT_SECONDS = 0.5
CHUNK = 65536


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
    with suppress(asyncio.CancelledError):
        loop.run_until_complete(task)
    # Connections that end with the test are no news.
    loop.set_exception_handler(lambda *_: None)
    for left in asyncio.all_tasks(loop):
        left.cancel()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


async def _serve(
    host: str, port: int, servers: Sequence[tuple[str, int]], listening: threading.Event
) -> None:
    turn = 0

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turn
        turn += 1
        for index in range(len(servers)):
            address, server_port = servers[(turn + index) % len(servers)]
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(CONNECT_SECONDS):
                    theirs, back = await asyncio.open_connection(address, server_port)
                await asyncio.wait(
                    [
                        asyncio.ensure_future(_copy(reader, back)),
                        asyncio.ensure_future(_copy(theirs, writer)),
                    ],
                    return_when=asyncio.FIRST_COMPLETED,
                )
                back.close()
                break
        writer.close()

    server = await asyncio.start_server(pass_on, host, port)
    listening.set()
    await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
