"""Run a tool on this machine: argument lists, bounded time, an error that shows what the tool said.

Each tool has a session of its own: Ctrl-C at the terminal is for anykube, which lets the tool finish.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress

from anykube.errors import ProviderError

TOOLS = {
    "lxc-start": "lxc",
    "lxc-stop": "lxc",
    "lxc-ls": "lxc",
    "lxc-cgroup": "lxc",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "ip": "iproute2",
}
"""Every tool that this provider runs, and the Debian package that has it."""
EVIDENCE_LINES = 12
STOP_SECONDS = 5.0


def require_root_and_tools() -> None:
    """Say at once, and completely, what is missing on this machine."""
    if os.geteuid() != 0:
        raise ProviderError("LXC nodes need root on this machine.", remedy="run the same command with sudo")
    missing = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
    if missing:
        raise ProviderError(
            f"This machine lacks {', '.join(missing)}.", remedy=f"apt-get install {' '.join(missing)}"
        )


async def run(*argv: str, stdin: str | None = None, keep: Sequence[int] = (), seconds: float = 30) -> str:
    """The standard output of a tool; ProviderError unless it ends with status 0 in time."""
    status, stdout, stderr = await attempt(*argv, stdin=stdin, keep=keep, seconds=seconds)
    if status != 0:
        raise failure(argv, status, stderr or stdout)
    return stdout


async def attempt(
    *argv: str, stdin: str | None = None, keep: Sequence[int] = (), seconds: float = 30
) -> tuple[int, str, str]:
    """Status, standard output and standard error of a tool; status 127 if there is no such tool.

    `keep` are open files that the tool inherits: a lock among them is held until the tool itself ends.
    """
    if shutil.which(argv[0]) is None:
        return 127, "", f"{argv[0]}: not found"
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        pass_fds=keep,
    )
    try:
        async with asyncio.timeout(seconds):
            stdout, stderr = await process.communicate(None if stdin is None else stdin.encode())
    except TimeoutError:
        raise _late(argv, seconds, [" ".join(argv)]) from None
    finally:
        await _end(process)
    return process.returncode or 0, stdout.decode(errors="replace"), stderr.decode(errors="replace")


async def lines(
    *argv: str, env: Mapping[str, str], keep: Sequence[int], seconds: float
) -> AsyncIterator[str]:
    """The output lines of a long-running tool as they come; ProviderError at the end if it failed."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        env=env,
        pass_fds=keep,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    tail: list[str] = []
    assert process.stdout is not None  # noqa: S101 - PIPE was asked for
    try:
        async with asyncio.timeout(seconds):
            async for raw in process.stdout:
                line = raw.decode(errors="replace").rstrip()
                tail = [*tail[1 - EVIDENCE_LINES :], line]
                yield line
            status = await process.wait()
    except TimeoutError:
        raise _late(argv, seconds, tail) from None
    finally:
        await _end(process)
    if status != 0:
        raise failure(argv, status, "\n".join(tail))


def failure(argv: Sequence[str], status: int, output: str) -> ProviderError:
    """What to say about a tool that failed."""
    evidence = [" ".join(argv), *output.strip().splitlines()[-EVIDENCE_LINES:]]
    return ProviderError(f"{argv[0]} failed with status {status}.", evidence=evidence)


def _late(argv: Sequence[str], seconds: float, evidence: Sequence[str]) -> ProviderError:
    return ProviderError(f"{argv[0]} did not end within {seconds:g} s.", evidence=evidence)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Leave no child behind when the caller is cancelled or the time is over: first asked, then made to."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
