"""Output as lines while it comes, for logs and exec."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from anykube.errors import STDERR_LIMIT, AnswerError
from anykube.transports.exchange import CHUNK, Reader

LINE_LIMIT = 1024 * 1024


async def lines(name: str, stdout: Reader, stderr: Reader, tail: bytearray) -> AsyncGenerator[str]:
    """Yield the lines of stdout; keep the end of stderr in `tail` to explain a failure."""
    keeper = asyncio.ensure_future(_keep_tail(stderr, tail))
    buffer = bytearray()
    try:
        while chunk := await stdout.read(CHUNK):
            buffer += chunk
            *complete, rest = bytes(buffer).split(b"\n")
            buffer = bytearray(rest)
            for line in complete:
                yield line.decode("utf-8", "replace")
            if len(buffer) > LINE_LIMIT:
                raise AnswerError(f"{name}: a command prints a line of more than {LINE_LIMIT // 2**20} MiB.")
        if buffer:
            yield buffer.decode("utf-8", "replace")
        await keeper
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)


async def _keep_tail(reader: Reader, tail: bytearray) -> None:
    while chunk := await reader.read(CHUNK):
        tail += chunk
        del tail[:-STDERR_LIMIT]
