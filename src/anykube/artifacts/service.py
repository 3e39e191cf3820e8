"""The door of this room: `fetch` has artifacts in the store and in the lock, `verify` reads them again.

What the store holds is never fetched again. What the lock names must come out with the same sha256, from
whichever source. Components are fetched at the same time; images wait for their binaries.
"""

from __future__ import annotations

import asyncio
import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import AsyncFileLock

from anykube.artifacts import image as image_writer
from anykube.artifacts import images
from anykube.artifacts.sources.base import Fetched, Report, Request, Source, requests
from anykube.artifacts.sources.choice import choose
from anykube.artifacts.sources.distro import DistroSource
from anykube.artifacts.store import Store, Stored, hash_file
from anykube.errors import ArtifactError
from anykube.facts.artifacts import ArtifactLock, Kind, LockedArtifact
from anykube.spec import catalog

_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
IMAGE_SOURCE = "built"


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
    """Have these artifacts in the store; returns the lock with them in it, other entries kept."""
    job = _Job(catalog.release(kubernetes), arch, choose(source, mirror), store or Store(), lock, report)
    return await job.run(tuple(dict.fromkeys(names)))


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


class _Job:
    """One call of `fetch`."""

    def __init__(
        self,
        release: catalog.Release,
        arch: str,
        sources: tuple[Source, ...],
        store: Store,
        lock: ArtifactLock | None,
        report: Report,
    ) -> None:
        usable = lock is not None and (lock.kubernetes, lock.arch) == (release.kubernetes, arch)
        self._release = release
        self._arch = arch
        self._sources = sources
        self._store = store
        self._locked = dict(lock.artifacts) if lock and usable else {}
        self._report = report
        self._distro = DistroSource()

    async def run(self, names: tuple[str, ...]) -> ArtifactLock:
        missing = tuple(name for name in names if not self._stored_as_locked(name))
        wanted_images = [name for name in missing if catalog.is_image(name)]
        parts = {part for name in wanted_images for part in images.RECIPES[name].binaries}
        binaries = tuple({*parts, *missing} - set(wanted_images))
        fetched = await self._all_binaries(binaries)
        pinned = {**self._locked, **{name: item for name, item in fetched.items() if name in names}}
        for name in wanted_images:
            pinned[name] = await self._image(name, fetched)
        return ArtifactLock(self._release.kubernetes, self._arch, pinned)

    def _stored_as_locked(self, name: str) -> bool:
        catalog.component_of(name)
        locked = self._locked.get(name)
        return locked is not None and self._store.has(locked.sha256, locked.size)

    async def _all_binaries(self, names: tuple[str, ...]) -> dict[str, LockedArtifact]:
        todo = requests(self._release.kubernetes, self._arch, names)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._component(request)) for request in todo]
        except* ArtifactError as failures:
            raise failures.exceptions[0] from None
        return {name: item for task in tasks for name, item in task.result().items()}

    async def _component(self, request: Request) -> dict[str, LockedArtifact]:
        known = await self._recall(request)
        if known is None:
            guard = f"{request.component}-{request.version}-{request.arch}"
            async with AsyncFileLock(self._store.lock_path(guard)):
                known = await self._recall(request) or await self._bring(request)
        for name, item in known.items():
            self._check_lock(name, item)
        return known

    async def _recall(self, request: Request) -> dict[str, LockedArtifact] | None:
        """What an earlier fetch brought, from the first source that still vouches for it."""
        for source in self._sources:
            fingerprint = await source.fingerprint(request)
            if fingerprint is None:
                continue
            keys = {name: _key(source.name, fingerprint, name) for name in request.names}
            found = {name: self._store.recall(key) for name, key in keys.items()}
            if all(found.values()):
                return {name: self._entry(name, source.name, item) for name, item in found.items() if item}
        return None

    async def _bring(self, request: Request) -> dict[str, LockedArtifact]:
        refusals = []
        for source in self._sources:
            if len(self._sources) > 1 and not await source.available(request):
                refusals.append(f"{source.name}: does not answer, or does not have it")
                continue
            with self._store.workdir() as workdir:
                files = await source.fetch(request, workdir, self._report)
                return await self._keep(request, source, files)
        raise ArtifactError(
            f"No source has {request.title}.",
            evidence=refusals,
            remedy="check the network of this machine, or set artifacts.source; scripts/setup brings what "
            "building needs",
        )

    async def _keep(
        self, request: Request, source: Source, files: Mapping[str, Fetched]
    ) -> dict[str, LockedArtifact]:
        fingerprint = await source.fingerprint(request)
        kept = {}
        for name, file in files.items():
            stored = await self._add(name, file.path, file.version)
            if fingerprint is not None:
                self._store.remember(_key(source.name, fingerprint, name), stored)
            kept[name] = self._entry(name, source.name, stored)
        return kept

    async def _image(self, name: str, binaries: Mapping[str, LockedArtifact]) -> LockedArtifact:
        recipe = images.RECIPES[name]
        reference = images.reference(name, self._release)
        packages = await self._packages(recipe)
        parts = [images.RECIPE_VERSION, reference, self._arch, *sorted(packages)]
        parts += [binaries[part].sha256 for part in recipe.binaries]
        if packages:
            parts.append(await self._distro.digest(packages, self._arch))
        key = _key(IMAGE_SOURCE, "\n".join(parts), name)
        stored = self._store.recall(key)
        if stored is None:
            self._report(name, "writing the image", None, None, "")
            stored = await self._write_image(name, reference, binaries, packages)
            self._store.remember(key, stored)
        item = self._entry(name, IMAGE_SOURCE, stored, reference)
        self._check_lock(name, item)
        return item

    async def _packages(self, recipe: images.ImageRecipe) -> tuple[str, ...]:
        closures = [await self._distro.closure(package) for package in recipe.with_dependencies]
        return tuple(dict.fromkeys([*recipe.packages, *(name for names in closures for name in names)]))

    async def _write_image(
        self, name: str, reference: str, binaries: Mapping[str, LockedArtifact], packages: tuple[str, ...]
    ) -> Stored:
        parts = {part: self._store.path(binaries[part].sha256) for part in images.RECIPES[name].binaries}
        with self._store.workdir() as workdir:
            root = await self._distro.unpack(packages, workdir) if packages else workdir
            image = images.assemble(name, reference, self._arch, parts, root)
            archive = workdir / f"{name}.tar"
            await asyncio.to_thread(image_writer.write, image, archive)
            version = self._release.version_of(catalog.component_of(name))
            return await self._add(name, archive, version)

    async def _add(self, name: str, path: Path, version: str) -> Stored:
        kind: Kind = "image" if catalog.is_image(name) else "binary"
        self._check_lock(name, await asyncio.to_thread(hash_file, path))
        stored = await asyncio.to_thread(self._store.add, path, kind=kind, arch=self._arch)
        return Stored(stored.sha256, stored.size, version)

    def _check_lock(self, name: str, found: Stored | LockedArtifact) -> None:
        """What the lock names must come out the same, wherever it came from."""
        locked = self._locked.get(name)
        if locked is not None and locked.sha256 != found.sha256:
            raise ArtifactError(
                f"{name} differs from the lock file.",
                evidence=[
                    f"locked sha256 {locked.sha256} (version {locked.version}, from {locked.source})",
                    f"got    sha256 {found.sha256}",
                ],
                remedy=f"use the source that the lock was made with ({locked.source}) or its mirror; to "
                f"accept the new content, remove {name} from the lock file",
            )

    def _entry(self, name: str, source: str, stored: Stored, reference: str | None = None) -> LockedArtifact:
        return LockedArtifact(
            name=name,
            version=stored.version,
            arch=self._arch,
            kind="image" if catalog.is_image(name) else "binary",
            source=source,
            sha256=stored.sha256,
            size=stored.size,
            reference=reference,
        )


def _key(source: str, fingerprint: str, name: str) -> str:
    return hashlib.sha256("\0".join((source, fingerprint, name)).encode()).hexdigest()
