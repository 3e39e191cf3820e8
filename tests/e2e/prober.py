"""Asks an address for /readyz ten times a second, from inside a node, and tells how long it did not serve.

As a program (`python prober.py HOST PORT CA`) it does the asking, and prints a line per attempt. It runs in
the network of a node, not in its file system: nodes have no Python.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

INTERVAL = 0.1
ATTEMPT_SECONDS = 1.0
"""An attempt that takes longer counts as one that failed."""
REQUEST = b"GET /readyz HTTP/1.1\r\nHost: api\r\n\r\n"
STEADY = "steady"
"""Attempts over one connection that is kept, beside those that each make their own."""


@dataclass
class Probes:
    """What was seen. `attempts` are (when it began, whether it was answered in time)."""

    attempts: list[tuple[float, bool]] = field(default_factory=list)
    broken: list[float] = field(default_factory=list)
    """When the connection that is kept broke."""

    def outage(self, since: float = 0.0) -> float:
        """The longest time without an answer, in seconds: from the first attempt that failed to the next one
        that did not."""
        longest, began = 0.0, 0.0
        for at, served in sorted(self.attempts):
            if at < since:
                continue
            if served:
                longest, began = max(longest, at - began if began else 0.0), 0.0
            elif not began:
                began = at
        last = max(at for at, _ in self.attempts)
        return max(longest, last - began if began else 0.0)

    def breaks(self, since: float = 0.0) -> int:
        """How often the connection that is kept broke."""
        return sum(at >= since for at in self.broken)


@contextmanager
def probing(process: int, host: str, port: int, ca: Path) -> Iterator[Probes]:
    """Ask while the body runs, in the network of that process; the result is filled in afterwards."""
    found = Probes()
    argv = ["nsenter", "--target", str(process), "--net", sys.executable, __file__, host, str(port), str(ca)]
    asking = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(1.0)
        yield found
        time.sleep(1.0)
    finally:
        asking.terminate()
        lines, _ = asking.communicate(timeout=10)
    for line in lines.splitlines():
        with suppress(ValueError):
            kind, at, served = json.loads(line)
            if kind != STEADY:
                found.attempts.append((at, served))
            elif not served:
                found.broken.append(at)
    assert any(served for _, served in found.attempts), f"{host}:{port} never answered"


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(REQUEST)
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.split(b":")[1]))
    return head.split(b" ", 2)[1] == b"200"


async def _once(host: str, port: int, context: ssl.SSLContext) -> None:
    at, served = time.time(), False
    with suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
        async with asyncio.timeout(ATTEMPT_SECONDS):
            reader, writer = await asyncio.open_connection(
                host, port, ssl=context, server_hostname="kubernetes", ssl_handshake_timeout=ATTEMPT_SECONDS
            )
            try:
                served = await _ask(reader, writer)
            finally:
                writer.transport.abort()
    print(json.dumps(["once", at, served]), flush=True)


async def _steadily(host: str, port: int, context: ssl.SSLContext) -> None:
    while True:
        asked = 0
        with suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
            reader, writer = await asyncio.open_connection(
                host, port, ssl=context, server_hostname="kubernetes"
            )
            while True:
                await _ask(reader, writer)
                asked += 1
                await asyncio.sleep(INTERVAL)
        if asked:
            print(json.dumps([STEADY, time.time(), False]), flush=True)
        await asyncio.sleep(INTERVAL)


async def _main(host: str, port: int, ca: str) -> None:
    context = ssl.create_default_context(cafile=ca)
    kept = asyncio.create_task(_steadily(host, port, context))
    asking: set[asyncio.Task[None]] = set()
    while not kept.done():
        task = asyncio.create_task(_once(host, port, context))
        asking.add(task)
        task.add_done_callback(asking.discard)
        await asyncio.sleep(INTERVAL)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
