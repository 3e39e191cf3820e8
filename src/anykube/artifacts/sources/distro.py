"""Source `distro`: packages of this machine's Debian or Ubuntu, verified by apt, unpacked without installing.

Also the source of the small things that our images need: catatonit, nft with its libraries, busybox, CA
certificates (see images.py).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anykube import paths
from anykube.artifacts import process
from anykube.artifacts.sources.base import Fetched, Report, Request
from anykube.errors import ArtifactError

QUERY_SECONDS = 20.0
DOWNLOAD_SECONDS = 600.0
NO_APT = "choose another artifacts.source, or run anykube on Debian or Ubuntu"
NO_LISTS = "run scripts/setup, which refreshes the package lists"


@dataclass(frozen=True, slots=True)
class Packages:
    """Where a component's files are. `minimum`: older ones do not work with the Kubernetes offered."""

    files: Mapping[str, tuple[str, tuple[str, ...]]]
    """artifact -> (package, places where its file may be)."""
    minimum: tuple[int, ...]


PACKAGES: Mapping[str, Packages] = {
    "runc": Packages({"runc": ("runc", ("usr/sbin/runc", "usr/bin/runc"))}, (1, 1)),
    "etcd": Packages(
        {
            "etcd": ("etcd-server", ("usr/bin/etcd",)),
            "etcdctl": ("etcd-client", ("usr/bin/etcdctl",)),
            "etcdutl": ("etcd-client", ("usr/bin/etcdutl",)),
        },
        (3, 6),
    ),
    "containerd": Packages(
        {
            name: ("containerd", (f"usr/bin/{name}",))
            for name in ("containerd", "containerd-shim-runc-v2", "ctr")
        },
        (2, 0),
    ),
    "cni-plugins": Packages(
        {
            f"cni-{name}": ("containernetworking-plugins", (f"usr/lib/cni/{name}",))
            for name in ("bridge", "host-local", "loopback", "portmap")
        },
        (1, 0),
    ),
}


class DistroSource:
    """Debian packages by apt-get download."""

    name = "distro"

    def __init__(self) -> None:
        self._versions: dict[str, str] = {}
        self._closures: dict[str, tuple[str, ...]] = {}
        self._arch: str | None = None
        self._lock = asyncio.Lock()

    async def available(self, request: Request) -> bool:
        """Whether apt knows packages for the request that are new enough."""
        try:
            await self._check(request)
        except ArtifactError:
            return False
        return True

    async def fingerprint(self, request: Request) -> str | None:
        """The candidate versions of the packages."""
        return await self.digest(_packages(request), request.arch) if await self.available(request) else None

    async def fetch(self, request: Request, workdir: Path, report: Report) -> Mapping[str, Fetched]:
        """Download the packages, take the files."""
        versions = await self._check(request)
        report(request.title, "taking it from the distribution's packages", None, None, "")
        root = await self.unpack(_packages(request), workdir)
        known = PACKAGES[request.component].files
        return {
            name: Fetched(_find(root, *known[name]), _plain(versions[known[name][0]]))
            for name in request.names
        }

    async def digest(self, packages: Sequence[str], arch: str) -> str:
        """A digest of the versions that `unpack` would bring. ArtifactError if they are for another arch."""
        versions = await self.candidates(packages)
        self._require_arch(arch)
        text = "\n".join(f"{name}={version}" for name, version in sorted(versions.items()))
        return hashlib.sha256(f"{self._arch}\n{text}".encode()).hexdigest()

    async def candidates(self, packages: Sequence[str]) -> dict[str, str]:
        """The version that apt would install now, for each package. ArtifactError names those it lacks."""
        async with self._lock:
            await self._detect()
            unknown = [name for name in packages if name not in self._versions]
            if unknown:
                self._versions |= await _candidates(unknown)
        missing = [name for name in packages if name not in self._versions]
        if missing:
            raise ArtifactError(f"apt does not know {', '.join(missing)}.", remedy=NO_LISTS)
        return {name: self._versions[name] for name in packages}

    async def closure(self, package: str) -> tuple[str, ...]:
        """The package and everything that it depends on."""
        if package in self._closures:
            return self._closures[package]
        no = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
        answer = await _apt_cache("depends", "--recurse", *(f"--no-{kind}" for kind in no), package)
        names = (line for line in answer.splitlines() if line and not line.startswith((" ", "<", "|")))
        self._closures[package] = tuple(sorted(names))
        return self._closures[package]

    async def unpack(self, packages: Sequence[str], workdir: Path) -> Path:
        """Download packages and unpack them into one tree; returns its root."""
        versions = await self.candidates(packages)
        debs, root = workdir / "debs", workdir / "root"
        debs.mkdir()
        root.mkdir()
        options = ["-o", "Acquire::Retries=3"]
        if os.geteuid() == 0:
            options += ["-o", "APT::Sandbox::User=root"]
        wanted = [f"{name}={version}" for name, version in versions.items()]
        await process.run(
            ["apt-get", "download", "-q", *options, *wanted],
            cwd=debs,
            env=_environment(),
            seconds=DOWNLOAD_SECONDS,
            remedy=NO_LISTS,
        )
        for deb in sorted(debs.glob("*.deb")):
            await process.run(["dpkg-deb", "--extract", str(deb), str(root)], seconds=QUERY_SECONDS * 3)
        return root

    async def _detect(self) -> None:
        if self._arch is None:
            if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
                raise ArtifactError("This machine has no apt-get.", remedy=NO_APT)
            self._arch = (await _apt("dpkg", "--print-architecture")).strip()

    def _require_arch(self, arch: str) -> None:
        if self._arch != arch:
            raise ArtifactError(f"The packages here are for {self._arch}, wanted is {arch}.", remedy=NO_APT)

    async def _check(self, request: Request) -> dict[str, str]:
        known = PACKAGES.get(request.component)
        if known is None or not set(request.names) <= known.files.keys():
            raise ArtifactError(f"Distributions have no package of {request.title}.", remedy=NO_APT)
        versions = await self.candidates(_packages(request))
        self._require_arch(request.arch)
        for package, version in versions.items():
            if _numbers(version) < known.minimum:
                wanted = ".".join(map(str, known.minimum))
                raise ArtifactError(
                    f"{package} {version} of this distribution is too old; {wanted} is needed.",
                    remedy="choose another artifacts.source",
                )
        return versions


async def _candidates(packages: Sequence[str]) -> dict[str, str]:
    try:
        text = await _apt_cache("show", "--no-all-versions", *packages)
    except ArtifactError:
        return {}
    names = re.findall(r"^Package: (\S+)$", text, re.MULTILINE)
    versions = re.findall(r"^Version: (\S+)$", text, re.MULTILINE)
    return dict(zip(names, versions, strict=True))


async def _apt_cache(*argv: str) -> str:
    """Ask apt-cache, with an index of our own: container images keep none, and making it takes a second."""
    folder = paths.cache_dir() / "apt"
    folder.mkdir(parents=True, exist_ok=True)
    indexes = [f"Dir::Cache::{name}={folder / name}.bin" for name in ("pkgcache", "srcpkgcache")]
    options = [word for index in indexes for word in ("-o", index)]
    return await _apt("apt-cache", *options, *argv)


async def _apt(*argv: str) -> str:
    return await process.run(argv, env=_environment(), seconds=QUERY_SECONDS, remedy=NO_LISTS)


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}


def _packages(request: Request) -> tuple[str, ...]:
    files = PACKAGES[request.component].files
    return tuple(sorted({files[name][0] for name in request.names}))


def _find(root: Path, package: str, places: Sequence[str]) -> Path:
    for place in places:
        if (root / place).is_file():
            return root / place
    raise ArtifactError(f"The package {package} has none of {', '.join(places)}.", remedy=NO_APT)


def _plain(version: str) -> str:
    """A package version without its epoch: '1:2.3-4' -> '2.3-4'."""
    return version.rpartition(":")[2]


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", _plain(version))
    return tuple(map(int, match[0].split("."))) if match else ()
