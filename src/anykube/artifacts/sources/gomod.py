"""Source `gomod`: builds components from their own pinned Go modules, reproducibly.

go.sum pins every module by hash. The same modules, toolchain and flags give the same bytes, so the
fingerprint of a build names its result, and service.py never repeats one.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from anykube.artifacts import process
from anykube.artifacts.sources import toolchain
from anykube.artifacts.sources.base import Fetched, Report, Request
from anykube.artifacts.sources.recipes import RECIPES, Recipe
from anykube.artifacts.sources.toolchain import Toolchain
from anykube.errors import ArtifactError

MODULES = Path(__file__).parent.parent / "gomod"
BUILD_TIMEOUT = 3600.0
REPORT_SECONDS = 0.5
MOST_PARALLEL_BUILDS = 4


class GoModSource:
    """Builds on this machine. Needs Go and, for modules that are not cached yet, a Go module proxy."""

    name = "gomod"

    def __init__(self, modules: Path = MODULES, recipes: Mapping[str, Recipe] = RECIPES) -> None:
        self._modules = modules
        self._recipes = recipes
        self._toolchain: Toolchain | None = None
        self._finding = asyncio.Lock()
        self._builds = asyncio.Semaphore(min(os.cpu_count() or 1, MOST_PARALLEL_BUILDS))

    async def available(self, request: Request) -> bool:
        """Whether the modules are pinned here and Go is there."""
        if not self._pinned(request):
            return False
        try:
            await self._go()
        except ArtifactError:
            return False
        return True

    async def fingerprint(self, request: Request) -> str | None:
        """Modules, toolchain and flags."""
        if not await self.available(request):
            return None
        go, recipe = await self._go(), self._recipes[request.component]
        digest = hashlib.sha256()
        parts = [go.text, recipe.linker_flags(request.version, request.arch), recipe.tags, request.arch]
        if request.arch in recipe.cgo:
            parts.append(await self._compiler_version())
        folder = self._folder(request)
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            parts += [str(file.relative_to(folder)), hashlib.sha256(file.read_bytes()).hexdigest()]
        digest.update("\0".join(parts).encode())
        return digest.hexdigest()

    async def fetch(self, request: Request, workdir: Path, report: Report) -> Mapping[str, Fetched]:
        """Build all binaries of the request with one `go build`, which shares their packages."""
        if not self._pinned(request):
            raise ArtifactError(
                f"There is no Go module for {request.title}.", remedy="choose another artifacts.source"
            )
        go, recipe = await self._go(), self._recipes[request.component]
        self._require_go(go, request)
        modules, output = workdir / "module", workdir / "bin"
        shutil.copytree(self._folder(request), modules)
        output.mkdir()
        packages = {name: recipe.packages[name] for name in request.names}
        async with self._builds:
            build = _Build(go, recipe, request, modules, output, report)
            await build.run(packages)
        return {
            name: Fetched(output / output_name(package), request.version)
            for name, package in packages.items()
        }

    async def _go(self) -> Toolchain:
        async with self._finding:
            if self._toolchain is None:
                self._toolchain = await toolchain.find()
            return self._toolchain

    def _folder(self, request: Request) -> Path:
        return self._modules / f"{request.component}-{request.version}"

    def _pinned(self, request: Request) -> bool:
        recipe = self._recipes.get(request.component)
        known = recipe is not None and set(request.names) <= set(recipe.packages)
        return known and (self._folder(request) / "go.sum").is_file()

    def _require_go(self, go: Toolchain, request: Request) -> None:
        lines = (self._folder(request) / "go.mod").read_text().splitlines()
        wanted = next((line.split()[1] for line in lines if line.startswith("go ")), "0.0")
        if go.version < toolchain.parse(wanted):
            raise ArtifactError(
                f"{request.title} needs Go {wanted} or newer; {go.path} is {go.text}.",
                remedy=toolchain.REMEDY,
            )

    async def _compiler_version(self) -> str:
        if shutil.which("gcc") is None:
            return "no gcc"
        return await process.run(["gcc", "--version"], seconds=10.0)


class _Build:
    """One run of `go build`, and what it says of itself meanwhile."""

    def __init__(
        self, go: Toolchain, recipe: Recipe, request: Request, modules: Path, output: Path, report: Report
    ) -> None:
        self._go = go
        self._recipe = recipe
        self._request = request
        self._modules = modules
        self._output = output
        self._report = report
        self._downloaded = 0
        self._compiled = 0
        self._total = 0
        self._began = 0.0

    async def run(self, packages: Mapping[str, str]) -> None:
        """Download the modules, compile, link."""
        self._began = time.monotonic()
        listed = await self._run(["list", "-deps", "-mod=readonly", *self._tags(), *packages.values()])
        self._total = len(listed.split())
        self._began = time.monotonic()
        flags = ["-trimpath", "-buildvcs=false", "-mod=readonly", "-v", *self._tags()]
        linker = f"-ldflags={self._recipe.linker_flags(self._request.version, self._request.arch)}"
        command = ["build", *flags, linker, "-o", f"{self._output}/", *packages.values()]
        work = asyncio.create_task(self._run(command))
        try:
            await self._watch(work, packages)
            await work
        finally:
            work.cancel()

    async def _run(self, arguments: list[str]) -> str:
        if self._request.arch in self._recipe.cgo and shutil.which("gcc") is None:
            raise ArtifactError(
                f"Building {self._request.title} needs gcc.", remedy="run scripts/setup, which installs it"
            )
        return await process.run(
            [str(self._go.path), *arguments],
            cwd=self._modules,
            env=self._environment(),
            seconds=BUILD_TIMEOUT,
            on_line=self._hear,
            remedy="the Go module proxy may be out of reach: see GOPROXY in `go env`, or choose another "
            "artifacts.source",
        )

    def _tags(self) -> list[str]:
        return [f"-tags={self._recipe.tags}"] if self._recipe.tags else []

    def _environment(self) -> dict[str, str]:
        arch = self._request.arch
        return {
            **os.environ,
            "CGO_ENABLED": "1" if arch in self._recipe.cgo else "0",
            "GOOS": "linux",
            "GOARCH": arch,
            "GOAMD64": "v1",
            "GOARM64": "v8.0",
            "GOFLAGS": "-mod=readonly",
            "GOWORK": "off",
            "GOTOOLCHAIN": "local",
            "GOEXPERIMENT": "",
        }

    def _hear(self, line: str) -> None:
        if line.startswith("go: downloading "):
            self._downloaded += 1
        elif line and " " not in line:
            self._compiled += 1
            return
        if self._downloaded and not self._total:
            self._report(self._request.title, "downloading Go modules", self._downloaded, None, "modules")

    async def _watch(self, work: asyncio.Task[str], packages: Mapping[str, str]) -> None:
        """Report until the work ends: each binary as it appears, and how much is left."""
        waiting = dict(packages)
        while not work.done():
            await asyncio.wait({work}, timeout=REPORT_SECONDS)
            elapsed = time.monotonic() - self._began
            for name, package in list(waiting.items()):
                if (self._output / output_name(package)).exists():
                    del waiting[name]
                    self._report(name, "built", elapsed, elapsed, "s")
            if not work.done():
                left = f"building, {describe(self._left(elapsed))} left"
                self._report(self._request.title, left, self._compiled, self._total, "packages")

    def _left(self, elapsed: float) -> float:
        """Expected seconds at first; once a tenth is compiled, what the pace so far says."""
        if self._compiled * 10 < self._total:
            return max(self._recipe.seconds - elapsed, 1.0)
        return elapsed * (self._total - self._compiled) / max(self._compiled, 1)


def output_name(package: str) -> str:
    """The file name that `go build` gives to a package: its last part that is not a major version."""
    last, *earlier = reversed(package.split("/"))
    is_major = last[:1] == "v" and last[1:].isdecimal()
    return earlier[0] if is_major and earlier else last


def describe(seconds: float) -> str:
    """A rough duration in words: '40 s', '3 min'."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
