"""This machine as a host: the same contract as over SSH, by subprocesses."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Sequence

from anykube.errors import CommandError, TransportError
from anykube.transports.base import OUTPUT_LIMIT, Reader, Result, Writer
from anykube.transports.exchange import Input, exchange
from anykube.transports.lines import lines

CONNECT_SECONDS = 10.0
GRACE = 1.0
"""Seconds between asking a command to end and making it end."""


class LocalTransport:
    """Runs commands on this machine, each in a process group of its own so that all of it can be ended."""

    def __init__(self, name: str = "local") -> None:
        self.name = name
        self.round_trips = 0

    async def run(self, argv: Sequence[str], *, stdin: Input = None, seconds: float = 60) -> Result:
        """Run an argument list and wait for it, at most `seconds`."""
        output = (bytearray(), bytearray())
        try:
            async with asyncio.timeout(seconds):
                status = await self._run(argv, stdin, output)
        except TimeoutError as error:
            raise TransportError(
                f"{self.name}: {argv[0]} did not end within {seconds:g} s; it was stopped."
            ) from error
        return Result(status, output[0].decode("utf-8", "replace"), output[1].decode("utf-8", "replace"))

    async def _run(self, argv: Sequence[str], stdin: Input, output: tuple[bytearray, bytearray]) -> int:
        try:
            process = await self._start(argv)
        except FileNotFoundError as error:
            output[1].extend(f"{error}\n".encode())
            return 127
        try:
            assert process.stdin and process.stdout and process.stderr  # noqa: S101  all three are pipes
            await exchange(self.name, (process.stdin, process.stdout, process.stderr), stdin, output)
            return _shell_status(await process.wait())
        except BaseException:
            await _end(process)
            raise
        finally:
            _close(process)

    async def stream(self, argv: Sequence[str]) -> AsyncGenerator[str]:
        """Run an argument list and yield its output lines as they come."""
        process = await self._start(argv)
        assert process.stdin and process.stdout and process.stderr  # noqa: S101  all three are pipes
        process.stdin.close()
        tail = bytearray()
        try:
            async for line in lines(self.name, process.stdout, process.stderr, tail):
                yield line
            status = _shell_status(await process.wait())
        finally:
            await _end(process)
            _close(process)
        if status:
            raise CommandError(self.name, argv[0], status, tail.decode("utf-8", "replace"))

    async def _start(self, argv: Sequence[str]) -> Process:
        self.round_trips += 1
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *argv, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True, limit=OUTPUT_LIMIT
            )
        )
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Cancelled while it starts: asyncio alone would end the command but not its children.
            process = await starting
            await _end(process)
            _close(process)
            raise

    async def open(self, address: str, port: int) -> tuple[Reader, Writer]:
        """A TCP connection to a port."""
        self.round_trips += 1
        try:
            return await asyncio.wait_for(asyncio.open_connection(address, port), CONNECT_SECONDS)
        except TimeoutError as error:
            raise TransportError(f"{self.name}: no answer from {address}:{port}.") from error
        except OSError as error:
            raise TransportError(
                f"{self.name}: no connection to {address}:{port}.", evidence=[str(error)]
            ) from error

    async def close(self) -> None:
        """Nothing is kept open."""


def _shell_status(code: int) -> int:
    return 128 - code if code < 0 else code


async def _end(process: Process) -> None:
    """End a command and all its children: asked first, so that it can clean up after itself."""
    for number, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), patience)


def _close(process: Process) -> None:
    """Close the pipes now: left to the garbage collector they raise ResourceWarning."""
    transport = getattr(process, "_transport", None)
    if transport is not None:
        transport.close()
