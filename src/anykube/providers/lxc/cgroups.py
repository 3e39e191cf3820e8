"""The control groups of a container, removed where LXC leaves them behind.

A monitor that was killed takes its container with it, but not their groups; the next start would then use
others beside them, and those would stay for good.
"""

from __future__ import annotations

import asyncio
import os
import time
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
    """Remove a container's groups. Only for one that is stopped; its last processes may still be ending."""
    deadline = time.monotonic() + SECONDS
    while (found := groups(node)) and time.monotonic() < deadline:
        for group in found:
            _remove(group)
        if groups(node):
            await asyncio.sleep(POLL)


def _remove(group: Path) -> None:
    for folder, _, _ in os.walk(group, topdown=False):
        with suppress(OSError):
            Path(folder).rmdir()
