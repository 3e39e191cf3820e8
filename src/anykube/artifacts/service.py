"""The door of this room: `fetch` has artifacts in the store and in the lock, `verify` reads them again.

What the store holds is never fetched again. What the lock names must come out with the same sha256, from
whichever source. Components are fetched at the same time; images follow when their binaries are there.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass

from anykube.artifacts import images
from anykube.artifacts.binaries import BinaryFetcher
from anykube.artifacts.image_builder import ImageBuilder
from anykube.artifacts.pins import Pins
from anykube.artifacts.sources.base import Report, Source
from anykube.artifacts.sources.choice import choose
from anykube.artifacts.store import Store
from anykube.errors import ArtifactError
from anykube.facts.artifacts import ArtifactLock, LockedArtifact
from anykube.spec import catalog

_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def arch() -> str:
    """The architecture of this machine, in Kubernetes' words."""
    machine = platform.machine().lower()
    if machine not in _MACHINES:
        raise ArtifactError(f"anykube has no software for {machine}.", remedy="use an amd64 or arm64 machine")
    return _MACHINES[machine]


def ignore(_item: str, _message: str, _done: float | None, _total: float | None, _unit: str) -> None:
    """A report for callers who do not listen."""


async def fetch(
    kubernetes: str,
    names: Sequence[str],
    *,
    arch: str,
    source: str = "auto",
    mirror: str | None = None,
    store: Store | None = None,
    lock: ArtifactLock | None = None,
    report: Report = ignore,
) -> ArtifactLock:
    """Have these artifacts in the store; returns the lock with them in it, other entries kept.

    Entries of a lock that was made for another Kubernetes version or architecture do not count.
    """
    store = store or Store()
    pins = Pins(catalog.release(kubernetes), arch, lock)
    missing = tuple(name for name in dict.fromkeys(names) if pins.held(name, store) is None)
    if not missing:
        return ArtifactLock(kubernetes, arch, pins.locked)
    try:
        brought = await _bring(pins, missing, choose(source, mirror), store, report)
    except OSError as error:
        raise ArtifactError(
            f"The artifact store cannot be used: {error.strerror or error}.",
            evidence=[str(error)],
            remedy=f"see that {store.root} can be written and has space, or set ANYKUBE_CACHE_DIR",
        ) from error
    return ArtifactLock(kubernetes, arch, pins.locked | brought)


async def _bring(
    pins: Pins, missing: tuple[str, ...], sources: Sequence[Source], store: Store, report: Report
) -> dict[str, LockedArtifact]:
    wanted_images = tuple(name for name in missing if catalog.is_image(name))
    parts = {part for name in wanted_images for part in images.RECIPES[name].binaries}
    held = {part: item for part in parts if (item := pins.held(part, store))}
    binaries = tuple((parts | set(missing)) - set(wanted_images) - set(held))
    fetched = await BinaryFetcher(pins, sources, store, report).fetch(binaries)
    built = await ImageBuilder(pins, held | fetched, store, report).build(wanted_images)
    return {name: item for name, item in fetched.items() if name in missing} | built


@dataclass(frozen=True, slots=True)
class Problem:
    """A locked artifact that the store cannot give."""

    artifact: str
    message: str


def verify(lock: ArtifactLock, store: Store) -> list[Problem]:
    """Read every locked artifact in the store. Empty when all is well."""
    problems = []
    for name, locked in sorted(lock.artifacts.items()):
        try:
            store.verify(locked.sha256)
        except ArtifactError as error:
            problems.append(Problem(name, str(error)))
    return problems
