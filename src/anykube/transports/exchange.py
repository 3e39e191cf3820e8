"""Moving bytes between us and a running command: the part that the transports share.

Input is sent while output is read, so that neither side waits for the other; output is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Protocol

from anykube.errors import AnswerError
from anykube.transports.base import OUTPUT_LIMIT

CHUNK = 256 * 1024

Input = AsyncIterator[bytes] | bytes | None


class Reader(Protocol):
    """The end of a pipe or channel that output comes from."""

    async def read(self, n: int = -1, /) -> bytes:
        """At most n bytes; none at the end."""
        ...


class Writer(Protocol):
    """The end of a pipe or channel that input goes to."""

    def write(self, data: bytes, /) -> None:
        """Queue bytes."""

    async def drain(self) -> None:
        """Wait until more can be queued."""

    def write_eof(self) -> None:
        """Say that no more comes."""


async def feed(writer: Writer, data: Input) -> None:
    """Send the input. A command that ends without reading all of it is judged by its status."""
    try:
        if isinstance(data, bytes):
            for start in range(0, len(data), CHUNK):
                writer.write(data[start : start + CHUNK])
                await writer.drain()
        elif data is not None:
            async for chunk in data:
                writer.write(chunk)
                await writer.drain()
        writer.write_eof()
    except (BrokenPipeError, ConnectionResetError):
        return


async def collect(reader: Reader, into: bytearray, name: str) -> None:
    """Read all output, refusing more than OUTPUT_LIMIT."""
    while chunk := await reader.read(CHUNK):
        into += chunk
        if len(into) > OUTPUT_LIMIT:
            raise AnswerError(
                f"{name}: a command answered more than {OUTPUT_LIMIT // 2**20} MiB.",
                evidence=[printable(bytes(into[:200]))],
                remedy="Look at the host: something there prints without end.",
            )


async def exchange(
    name: str, pipes: tuple[Writer, Reader, Reader], data: Input, output: tuple[bytearray, bytearray]
) -> None:
    """Feed the first pipe and collect the two others until the command closes them."""
    stdin, stdout, stderr = pipes
    feeder = asyncio.ensure_future(feed(stdin, data))
    readers = asyncio.gather(collect(stdout, output[0], name), collect(stderr, output[1], name))
    both: tuple[asyncio.Future[Any], ...] = (feeder, readers)
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if feeder.done():
            feeder.result()
        await readers
    finally:
        feeder.cancel()
        readers.cancel()
        await asyncio.gather(feeder, readers, return_exceptions=True)


def printable(data: bytes | str) -> str:
    """Text that can be shown to a person: no control characters, no broken UTF-8."""
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "·" for character in text)
