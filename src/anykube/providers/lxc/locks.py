"""Advisory locks that outlive a killed anykube for as long as the tools that it started still work.

A tool inherits the open file that holds the lock. So the next run waits until an orphaned `lxc-start`,
`cp` or `mmdebstrap` has ended, instead of working beside it in the same folder.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from anykube.errors import ProviderError

POLL = 0.02
FOLDER_SECONDS = 60.0


@asynccontextmanager
async def holding(folder: Path, seconds: float = FOLDER_SECONDS) -> AsyncIterator[list[int]]:
    """Hold the lock of a folder itself: the descriptors to pass on, none if there is no such folder."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield []
        return
    try:
        await acquire(handle, folder.name, seconds)
        yield [handle]
    finally:
        os.close(handle)


async def acquire(handle: int, name: str, seconds: float) -> None:
    """Lock an open file, waiting for others at most this long."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise ProviderError(
                    f"Another process has been working on {name} for more than {seconds:g} s.",
                    remedy="wait for it, or end it",
                ) from None
            await asyncio.sleep(POLL)
        else:
            return
