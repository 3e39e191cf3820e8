"""The second layer of nodes: the locked software at its final place, images already imported.

A node made on it starts with nothing left to copy. The layer's settings are the artifacts and their sha256,
so that its id changes with any of them.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from anykube.content.paths import BINARIES, STAMP_THRESHOLD, STAMPS, install_path
from anykube.errors import ProviderError
from anykube.facts.artifacts import ArtifactLock
from anykube.plan.blueprint import settings_digest
from anykube.providers.base import Report
from anykube.providers.lxc import images
from anykube.providers.lxc.layers import building
from anykube.providers.lxc.layout import Layout

FORMAT = "2"
"""Raise it when the layer is built differently from the same artifacts."""
BUILD_SECONDS = 600.0
CHUNK = 4 * 1024 * 1024
SECOND = 1_000_000_000

ArtifactPath = Callable[[str], Path]
"""Where the store keeps the file with a sha256."""


@dataclass(frozen=True, slots=True)
class SoftwareLayer:
    """A finished layer: `files` lies over the root file system, `containerd` seeds a node's image store."""

    folder: Path

    @property
    def files(self) -> Path:
        """The overlay's lower folder."""
        return self.folder / "files"

    @property
    def containerd(self) -> Path:
        """A copy of this becomes /var/lib/containerd of a new node."""
        return self.folder / "containerd"


def settings(lock: ArtifactLock | None) -> dict[str, str]:
    """What the site part `software` is made with; before there is a lock that is not known."""
    if lock is None:
        return {"lock": "pending"}
    return {"format": FORMAT, **{name: item.sha256 for name, item in sorted(lock.artifacts.items())}}


def layer(layout: Layout, chosen: Mapping[str, str]) -> SoftwareLayer:
    """The layer for these settings, made or not."""
    return SoftwareLayer(layout.layer("software", settings_digest(chosen)))


async def ensure(layout: Layout, chosen: Mapping[str, str], stored: ArtifactPath, report: Report) -> None:
    """Have the layer for these settings in the cache."""
    artifacts = {name: digest for name, digest in chosen.items() if name != "format"}
    final = layer(layout, chosen).folder
    async with building(final, BUILD_SECONDS) as work:
        if work is None:
            return
        made = SoftwareLayer(work[0])
        made.files.mkdir()
        made.containerd.mkdir(mode=0o711)
        total = float(len(artifacts))
        for done, (name, digest) in enumerate(artifacts.items()):
            report("software", name, float(done), total, "files")
            await asyncio.to_thread(_place, made.files, name, digest, stored(digest))
        await _import(made, artifacts, report)
        report("software", "ready", total, total, "files")


async def _import(made: SoftwareLayer, artifacts: Mapping[str, str], report: Report) -> None:
    """Import the images, if the software to do so is among the artifacts."""
    tars = {
        made.files / install_path(name)[1:]: digest
        for name, digest in artifacts.items()
        if name.startswith("image-")
    }
    tools = made.files / BINARIES[1:]
    if tars and {"containerd", "ctr"} <= artifacts.keys():
        await images.seed(tools, tars, made.containerd, report)


def _place(root: Path, name: str, digest: str, source: Path) -> None:
    """Copy an artifact to its place, verify it on the way, and leave the stamp that says its hash.

    A hard link would not do: any further link to the store's file changes its ctime, and with it the stamp.
    """
    path = install_path(name)
    target = root / path[1:]
    target.parent.mkdir(parents=True, exist_ok=True)
    if (found := _copy(source, target)) != digest:
        raise ProviderError(
            f"The stored file of {name} is damaged.",
            evidence=[f"{source}: sha256 {found}, locked {digest}"],
            remedy="anykube artifacts verify",
        )
    target.chmod(0o644 if name.startswith("image-") else 0o755)
    if target.stat().st_size >= STAMP_THRESHOLD:
        stamps = root / STAMPS[1:]
        stamps.mkdir(parents=True, exist_ok=True)
        (stamps / path.replace("/", "%")).write_text(f"{_identity(target)} {digest}\n")


def _identity(file: Path) -> str:
    """Size and times of a file as the probe prints them (facts/probe_script.py); a node sees the same."""
    status = file.stat()
    times = (
        f"{datetime.fromtimestamp(nanoseconds // SECOND, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds % SECOND:09}"
        for nanoseconds in (status.st_mtime_ns, status.st_ctime_ns)
    )
    return ":".join((str(status.st_size), *times))


def _copy(source: Path, target: Path) -> str:
    digest = hashlib.sha256()
    try:
        with source.open("rb") as incoming, target.open("wb") as outgoing:
            while chunk := incoming.read(CHUNK):
                digest.update(chunk)
                outgoing.write(chunk)
    except FileNotFoundError as error:
        raise ProviderError(
            "An artifact is locked but not in the store.",
            evidence=[str(error)],
            remedy="anykube artifacts get",
        ) from error
    return digest.hexdigest()
