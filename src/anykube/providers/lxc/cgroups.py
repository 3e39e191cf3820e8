"""The control groups of a container: ended and removed where LXC leaves them behind.

LXC 5 leaves the monitor's group on cgroup v1, and after a killed monitor also the container's own group with
its processes; the next start would then fail, or use another group.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from anykube.providers.lxc.addressing import cgroup_names

ROOT = Path("/sys/fs/cgroup")
SECONDS = 10.0
POLL = 0.02


def groups(folder: Path) -> list[Path]:
    """The top groups of the container in this folder, in every hierarchy."""
    hierarchies = (ROOT, *ROOT.glob("*/"))
    names = cgroup_names(folder)
    return [path for hierarchy in hierarchies for name in names if (path := hierarchy / name).is_dir()]


async def clear(node: Path) -> None:
    """End what still runs in a container's groups and remove them. Only for a container that is stopped."""
    deadline = time.monotonic() + SECONDS
    while (found := groups(node)) and time.monotonic() < deadline:
        for group in found:
            for folder in _deepest_first(group):
                _kill(folder)
                with suppress(OSError):
                    folder.rmdir()
        if groups(node):
            await asyncio.sleep(POLL)


def _deepest_first(group: Path) -> Iterator[Path]:
    for folder, _, _ in os.walk(group, topdown=False):
        yield Path(folder)


def _kill(folder: Path) -> None:
    with suppress(OSError, ValueError):
        for line in (folder / "cgroup.procs").read_text().split():
            if int(line) > 0:
                os.kill(int(line), signal.SIGKILL)
