"""Sources `upstream` and `mirror`: the projects' own release files over HTTPS.

Every file is verified against the checksum that its project publishes beside it. A component whose project
publishes none (flannel, metrics-server) is not offered here. A mirror has the same files under
<base>/<host>/<path>.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from anykube.artifacts.sources.archive import extract
from anykube.artifacts.sources.base import Fetched, Report, Request
from anykube.artifacts.sources.http import Downloader
from anykube.errors import ArtifactError, UsageError

_GITHUB = "https://github.com/"
_KUBERNETES = "https://dl.k8s.io/release/v{version}/bin/linux/{arch}/{name}"
REDIRECTS: Mapping[str, frozenset[str]] = {
    "dl.k8s.io": frozenset({"cdn.dl.k8s.io"}),
    "github.com": frozenset({"objects.githubusercontent.com", "release-assets.githubusercontent.com"}),
}
"""Where a host may send us: https only, and to these hosts only."""

MEBIBYTE = 1 << 20
CHECKSUM_LIMIT = MEBIBYTE


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """A file of a release. {version}, {arch} and {name} are filled in.

    `members` maps artifacts to the exact names of archive members; empty when the file is the binary.
    """

    url: str
    checksum_url: str
    members: Mapping[str, str]
    limit: int = 300 * MEBIBYTE


def _etcd(name: str) -> str:
    return f"etcd-v{{version}}-linux-{{arch}}/{name}"


_CNI_URL = _GITHUB + (
    "containernetworking/plugins/releases/download/v{version}/cni-plugins-linux-{arch}-v{version}.tgz"
)
_COREDNS_URL = _GITHUB + "coredns/coredns/releases/download/v{version}/coredns_{version}_linux_{arch}.tgz"
_CONTAINERD_URL = _GITHUB + (
    "containerd/containerd/releases/download/v{version}/containerd-static-{version}-linux-{arch}.tar.gz"
)

RELEASES: Mapping[str, ReleaseFile] = {
    "kubernetes": ReleaseFile(_KUBERNETES, _KUBERNETES + ".sha256", {}),
    "etcd": ReleaseFile(
        _GITHUB + "etcd-io/etcd/releases/download/v{version}/etcd-v{version}-linux-{arch}.tar.gz",
        _GITHUB + "etcd-io/etcd/releases/download/v{version}/SHA256SUMS",
        {name: _etcd(name) for name in ("etcd", "etcdctl", "etcdutl")},
    ),
    "containerd": ReleaseFile(
        _CONTAINERD_URL,
        _CONTAINERD_URL + ".sha256sum",
        {name: f"bin/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
    ),
    "runc": ReleaseFile(
        _GITHUB + "opencontainers/runc/releases/download/v{version}/runc.{arch}",
        _GITHUB + "opencontainers/runc/releases/download/v{version}/runc.sha256sum",
        {},
    ),
    "cni-plugins": ReleaseFile(
        _CNI_URL,
        _CNI_URL + ".sha256",
        {f"cni-{name}": f"./{name}" for name in ("bridge", "host-local", "loopback", "portmap")},
    ),
    "cni-flannel": ReleaseFile(_CNI_URL, _CNI_URL + ".sha256", {"cni-flannel": "./flannel"}),
    "coredns": ReleaseFile(_COREDNS_URL, _COREDNS_URL + ".sha256", {"coredns": "coredns"}),
}


class UpstreamSource:
    """Release downloads from the projects' own hosts."""

    name = "upstream"

    def __init__(
        self, downloader: Downloader | None = None, releases: Mapping[str, ReleaseFile] = RELEASES
    ) -> None:
        self._downloader = downloader or Downloader(redirects=REDIRECTS)
        self._releases = releases

    async def available(self, request: Request) -> bool:
        """Whether the host answers the question for the component's checksum file."""
        release = self._releases.get(request.component)
        if release is None:
            return False
        url = self._locate(_fill(release.checksum_url, request, request.names[0]))
        return await self._downloader.answers(url)

    async def fingerprint(self, request: Request) -> str | None:
        """The URL: a release is never changed."""
        release = self._releases.get(request.component)
        if release is None:
            return None
        url = self._locate(_fill(release.url, request, "{name}"))
        return hashlib.sha256(url.encode()).hexdigest()

    async def fetch(self, request: Request, workdir: Path, report: Report) -> Mapping[str, Fetched]:
        """Download, verify, extract."""
        release = self._releases.get(request.component)
        if release is None:
            raise ArtifactError(
                f"{request.component} publishes no checksums with its releases; it is not downloaded.",
                remedy="set artifacts.source to gomod or auto",
            )
        if release.members:
            archive = await self._download(release, request, request.component, workdir, report)
            wanted = {name: _fill(release.members[name], request, name) for name in request.names}
            files = extract(archive, wanted, workdir, limit=release.limit)
        else:
            files = {
                name: await self._download(release, request, name, workdir, report) for name in request.names
            }
        return {name: Fetched(path, request.version) for name, path in files.items()}

    async def _download(
        self, release: ReleaseFile, request: Request, name: str, workdir: Path, report: Report
    ) -> Path:
        url = _fill(release.url, request, name)
        checksums = await self._downloader.text(
            self._locate(_fill(release.checksum_url, request, name)), limit=CHECKSUM_LIMIT
        )
        expected = find_checksum(checksums, url.rpartition("/")[2])
        target = workdir / f"{name}.download"
        await self._downloader.file(
            self._locate(url), target, sha256=expected, limit=release.limit, item=name, report=report
        )
        return target

    def _locate(self, url: str) -> str:
        return url


class MirrorSource(UpstreamSource):
    """The same files under a base URL of the user's own."""

    name = "mirror"

    def __init__(
        self,
        base: str,
        downloader: Downloader | None = None,
        releases: Mapping[str, ReleaseFile] = RELEASES,
    ) -> None:
        if not base.startswith("https://"):
            raise UsageError(f"artifacts.mirror must be an https URL, not {base[:80]!r}.")
        super().__init__(downloader or Downloader(redirects={}), releases)
        self._base = base.rstrip("/")

    def _locate(self, url: str) -> str:
        return f"{self._base}/{url.removeprefix('https://')}"


def find_checksum(text: str, file_name: str) -> str:
    """The sha256 of a file in a published list: 'hash', or lines of 'hash  name'."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    for fields in lines:
        named = fields[1].lstrip("*").rpartition("/")[2] if len(fields) == 2 else None
        if _is_sha256(fields[0]) and (named == file_name or (len(fields) == 1 and len(lines) == 1)):
            return fields[0].lower()
    raise ArtifactError(
        f"The published checksums do not list {file_name}.", evidence=[f"they begin with {text[:80]!r}"]
    )


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and all(character in "0123456789abcdefABCDEF" for character in text)


def _fill(template: str, request: Request, name: str) -> str:
    return template.format(version=request.version, arch=request.arch, name=name)
