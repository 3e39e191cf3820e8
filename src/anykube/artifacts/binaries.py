"""Brings binaries: from the store, which remembers earlier fetches, or from the first source that answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from filelock import AsyncFileLock, Timeout

from anykube.artifacts.pins import Pins, index_key
from anykube.artifacts.sources.base import Fetched, Report, Request, Source, requests
from anykube.artifacts.store import Store, Stored, hash_file
from anykube.errors import ArtifactError
from anykube.facts.artifacts import LockedArtifact

LOCK_POLL_SECONDS = 0.2


class BinaryFetcher:
    """Fetches components at the same time; one process at a time fetches a given component."""

    def __init__(self, pins: Pins, sources: Sequence[Source], store: Store, report: Report) -> None:
        self._pins = pins
        self._sources = tuple(sources)
        self._store = store
        self._report = report

    async def fetch(self, names: tuple[str, ...]) -> dict[str, LockedArtifact]:
        """All of `names`. If some cannot be had, the others are still brought before the error is raised."""
        todo = requests(self._pins.release.kubernetes, self._pins.arch, names)
        results = await asyncio.gather(*map(self._component, todo), return_exceptions=True)
        brought: dict[str, LockedArtifact] = {}
        failures = []
        for result in results:
            if isinstance(result, BaseException):
                failures.append(result)
            else:
                brought |= result
        if failures:
            raise failures[0]
        return brought

    async def _component(self, request: Request) -> dict[str, LockedArtifact]:
        preferred = self._pins.source_of(request.names)
        order = sorted(self._sources, key=lambda source: source.name != preferred)
        known = await self._recall(request, order)
        if known is not None:
            return known
        async with self._turn(request):
            return await self._recall(request, order) or await self._bring(request, order)

    @asynccontextmanager
    async def _turn(self, request: Request) -> AsyncIterator[None]:
        """Wait until no other process fetches this component."""
        name = f"{request.component}-{request.version}-{request.arch}"
        guard = AsyncFileLock(self._store.lock_path(name))
        try:
            await guard.acquire(timeout=0)
        except Timeout:
            self._report(request.title, "another anykube is fetching it; waiting", None, None, "")
            await guard.acquire(poll_interval=LOCK_POLL_SECONDS)
        try:
            yield
        finally:
            await guard.release()

    async def _recall(self, request: Request, order: Sequence[Source]) -> dict[str, LockedArtifact] | None:
        """What an earlier fetch brought, from the first source that still vouches for it."""
        for source in order:
            fingerprint = await source.fingerprint(request)
            if fingerprint is None:
                continue
            keys = {name: index_key(source.name, fingerprint, name) for name in request.names}
            found = {name: stored for name, key in keys.items() if (stored := self._store.recall(key))}
            if len(found) == len(keys):
                return {name: self._pins.entry(name, source.name, item) for name, item in found.items()}
        return None

    async def _bring(self, request: Request, order: Sequence[Source]) -> dict[str, LockedArtifact]:
        refusals = []
        for source in order:
            if len(order) > 1 and not await source.available(request):
                refusals.append(f"{source.name}: does not answer, or does not have it")
                continue
            with self._store.workdir() as workdir:
                files = await source.fetch(request, workdir, self._report)
                return await self._keep(request, source, files)
        raise ArtifactError(
            f"No source has {request.title}.",
            evidence=refusals,
            remedy="check the network of this machine; scripts/setup brings what building from source needs",
        )

    async def _keep(
        self, request: Request, source: Source, files: Mapping[str, Fetched]
    ) -> dict[str, LockedArtifact]:
        fingerprint = await source.fingerprint(request)
        kept = {}
        for name, file in files.items():
            self._pins.check(name, (await asyncio.to_thread(hash_file, file.path)).sha256)
            added = await asyncio.to_thread(self._store.add, file.path, kind="binary", arch=self._pins.arch)
            stored = Stored(added.sha256, added.size, file.version)
            if fingerprint is not None:
                self._store.remember(index_key(source.name, fingerprint, name), stored)
            kept[name] = self._pins.entry(name, source.name, stored)
        return kept
