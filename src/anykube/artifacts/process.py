"""Runs the tools of this machine (go, apt-get, dpkg-deb) for the sources: argument lists, bounded output."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from anykube.errors import ArtifactError

KEPT_LINES = 20
LINE_LIMIT = 1 << 20
CHUNK = 1 << 16


async def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    seconds: float,
    on_line: Callable[[str], None] | None = None,
    remedy: str | None = None,
) -> str:
    """Run a command to its end and return its standard output.

    `on_line` gets each line of its standard error as it comes; the last ones are the evidence when the
    command fails. If we are cancelled or out of time (`seconds`), the command and its children are ended.
    """
    process = await _start(argv, cwd, env)
    tail: deque[str] = deque(maxlen=KEPT_LINES)
    try:
        async with asyncio.timeout(seconds):
            output, _ = await asyncio.gather(_all(process.stdout), _lines(process.stderr, tail, on_line))
            status = await process.wait()
    except TimeoutError:
        raise ArtifactError(
            f"{argv[0]} did not end within {seconds:.0f} s.", evidence=[" ".join(argv)[:500], *tail]
        ) from None
    finally:
        await _end(process)
    if status:
        raise ArtifactError(
            f"{Path(argv[0]).name} {argv[1] if len(argv) > 1 else ''} failed with status {status}.",
            evidence=[" ".join(argv)[:500], *tail],
            remedy=remedy,
        )
    return output.decode(errors="replace")


async def _start(
    argv: Sequence[str], cwd: Path | None, env: Mapping[str, str] | None
) -> asyncio.subprocess.Process:
    """Start a command in a session of its own. A cancellation meanwhile ends all of it."""
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *argv,
            cwd=cwd,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
            start_new_session=True,
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await _end(await starting)
        raise


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _all(stream: asyncio.StreamReader | None) -> bytes:
    return await stream.read() if stream else b""


async def _lines(
    stream: asyncio.StreamReader | None, tail: deque[str], on_line: Callable[[str], None] | None
) -> None:
    rest = b""
    while stream and (chunk := await stream.read(CHUNK)):
        *lines, rest = (rest + chunk)[-LINE_LIMIT:].split(b"\n")
        for line in lines:
            _take(line, tail, on_line)
    if rest:
        _take(rest, tail, on_line)


def _take(line: bytes, tail: deque[str], on_line: Callable[[str], None] | None) -> None:
    text = line.decode(errors="replace").rstrip()
    tail.append(text[:500])
    if on_line:
        on_line(text)
