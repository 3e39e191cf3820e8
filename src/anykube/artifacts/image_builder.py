"""Builds images from binaries of the store and distribution packages, once for each set of parts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from anykube.artifacts import image as image_writer
from anykube.artifacts import images
from anykube.artifacts.pins import Pins, index_key
from anykube.artifacts.sources.base import Report
from anykube.artifacts.sources.distro import DistroSource
from anykube.artifacts.store import Store, Stored, hash_file
from anykube.facts.artifacts import LockedArtifact
from anykube.spec import catalog

SOURCE = "built"


class ImageBuilder:
    """Makes image artifacts. `binaries` are the artifacts that may go into them."""

    def __init__(
        self, pins: Pins, binaries: Mapping[str, LockedArtifact], store: Store, report: Report
    ) -> None:
        self._pins = pins
        self._binaries = binaries
        self._store = store
        self._report = report
        self._distro = DistroSource()

    async def build(self, names: tuple[str, ...]) -> dict[str, LockedArtifact]:
        """All images of `names`."""
        built = await asyncio.gather(*map(self._image, names))
        return {item.name: item for item in built}

    async def _image(self, name: str) -> LockedArtifact:
        recipe = images.RECIPES[name]
        reference = images.reference(name, self._pins.release)
        packages = await self._packages(recipe)
        key = index_key(SOURCE, await self._fingerprint(recipe, reference, packages), name)
        stored = self._store.recall(key)
        if stored is None:
            self._report(name, "writing the image", None, None, "")
            stored = await self._write(name, reference, packages)
            self._store.remember(key, stored)
        return self._pins.entry(name, SOURCE, stored, reference)

    async def _fingerprint(
        self, recipe: images.ImageRecipe, reference: str, packages: tuple[str, ...]
    ) -> str:
        parts = [images.RECIPE_VERSION, reference, self._pins.arch]
        parts += [self._binaries[part].sha256 for part in recipe.binaries]
        if packages:
            parts.append(await self._distro.digest(packages, self._pins.arch))
        return "\n".join(parts)

    async def _packages(self, recipe: images.ImageRecipe) -> tuple[str, ...]:
        closures = [await self._distro.closure(package) for package in recipe.with_dependencies]
        return tuple(dict.fromkeys([*recipe.packages, *(name for names in closures for name in names)]))

    async def _write(self, name: str, reference: str, packages: tuple[str, ...]) -> Stored:
        parts = {
            part: self._store.path(self._binaries[part].sha256) for part in images.RECIPES[name].binaries
        }
        with self._store.workdir() as workdir:
            root = await self._distro.unpack(packages, workdir) if packages else workdir
            image = images.assemble(name, reference, self._pins.arch, parts, root)
            archive = workdir / f"{name}.tar"
            await asyncio.to_thread(image_writer.write, image, archive)
            return await asyncio.to_thread(self._add, name, archive)

    def _add(self, name: str, archive: Path) -> Stored:
        self._pins.check(name, hash_file(archive).sha256)
        added = self._store.add(archive, kind="image", arch=self._pins.arch)
        version = self._pins.release.version_of(catalog.component_of(name))
        return Stored(added.sha256, added.size, version)
