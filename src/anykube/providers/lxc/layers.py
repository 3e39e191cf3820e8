"""How a shared read-only layer comes into being: once, by one process, complete or not at all."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from anykube.providers.lxc.layout import remove_tree
from anykube.providers.lxc.locks import acquire

UNFINISHED = ".new"


@asynccontextmanager
async def building(final: Path, seconds: float) -> AsyncIterator[tuple[Path, int] | None]:
    """The folder to build a layer in and its lock's file descriptor, or None if the layer exists.

    The folder is renamed to its final name at the end. A child that inherits the descriptor keeps the lock
    even when anykube is killed, so that nobody builds in a folder in which a child still writes.
    """
    if _made(final):
        yield None
        return
    final.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(final.parent / f".{final.name}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        await acquire(lock, final.name, seconds)
        if _made(final):
            yield None
            return
        await asyncio.to_thread(_sweep, final.parent)
        temporary = final.parent / f".{final.name}{UNFINISHED}"
        await asyncio.to_thread(remove_tree, temporary)
        temporary.mkdir()
        try:
            yield temporary, lock
        except BaseException:
            await asyncio.to_thread(remove_tree, temporary)
            raise
        temporary.rename(final)
    finally:
        os.close(lock)


def _sweep(parent: Path) -> None:
    """Remove layers that were never finished and that nobody works on: each holds up to a gigabyte."""
    for folder in parent.glob(f".*{UNFINISHED}"):
        lock = os.open(folder.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_tree(folder)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)


def _made(final: Path) -> bool:
    return final.is_dir()
