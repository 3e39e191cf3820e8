"""The root file system of nodes: made by mmdebstrap from this machine's apt sources, then finished here."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from pathlib import Path

from anykube.errors import ProviderError
from anykube.providers.base import Report
from anykube.providers.lxc import recipe, sources
from anykube.providers.lxc.commands import attempt, lines
from anykube.providers.lxc.host import Host, apt_sources
from anykube.providers.lxc.layers import building
from anykube.providers.lxc.layout import Layout, remove_tree, write_text

BUILD_SECONDS = 1800.0
STAGES = (
    "running apt-get update",
    "downloading packages",
    "extracting archives",
    "installing essential packages",
    "installing remaining packages",
    "cleaning package lists",
)
"""What mmdebstrap says as it goes on: the steps of the progress report."""


async def ensure(layout: Layout, host: Host, identity: str, report: Report) -> None:
    """Have the root file system with this id in the cache."""
    final = layout.layer("rootfs", identity)
    async with building(final, BUILD_SECONDS) as work:
        if work is None:
            return
        folder, lock = work
        file = folder / "anykube.sources"
        file.write_text(sources.own(apt_sources(), host.distribution, host.codename, host.suite))
        tree = folder / "tree"
        try:
            await _mmdebstrap(host.suite, tree, file, lock, report)
        except ProviderError as error:
            raise ProviderError(
                "The root file system of the nodes could not be made.",
                evidence=error.evidence,
                remedy="check that apt-get update works on this machine, then run again",
            ) from error
        await asyncio.to_thread(finish, tree)
        report("rootfs", "ready", float(len(STAGES)), float(len(STAGES)), "steps")


async def _mmdebstrap(suite: str, tree: Path, file: Path, lock: int, report: Report) -> None:
    argv = [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        "--format=directory",
        f"--include={','.join(recipe.PACKAGES)}",
        "--dpkgopt=force-unsafe-io",
        *(f"--aptopt={option}" for option in await _apt_options()),
        suite,
        str(tree),
        str(file),
    ]
    env = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    async for line in lines(*argv, env=env, keep=[lock], seconds=BUILD_SECONDS):
        if not line.startswith("I: "):
            continue
        stage = next((number for number, text in enumerate(STAGES) if line[3:].startswith(text)), None)
        if stage is not None:
            report("rootfs", STAGES[stage], float(stage), float(len(STAGES)), "steps")


async def _apt_options() -> Sequence[str]:
    """Retries, and the proxy that this machine's own apt uses: mmdebstrap does not read apt's settings."""
    status, dump, _ = await attempt("apt-config", "dump")
    proxies = re.findall(r'^Acquire::https?::Proxy.* "[^"]+";$', dump, re.MULTILINE) if status == 0 else []
    return ['Acquire::Retries "3";', *proxies]


def finish(tree: Path) -> None:
    """Take away what nodes must not share, put in what all of them have, and turn units off."""
    for pattern in recipe.REMOVED:
        for path in tree.glob(pattern):
            remove_tree(path)
    for name in recipe.DIRECTORIES:
        (tree / name).mkdir(parents=True, exist_ok=True)
    for name, text in recipe.FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        write_text(tree / name, text)
    units = tree / "etc/systemd/system"
    for unit in recipe.MASKED:
        remove_tree(units / unit)
        (units / unit).symlink_to("/dev/null")
    remove_tree(units / "default.target")
    (units / "default.target").symlink_to("/usr/lib/systemd/system/multi-user.target")
