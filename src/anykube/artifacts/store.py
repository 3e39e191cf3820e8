"""The store: files by the sha256 of their content, shared by all clusters of this user.

    <root>/sha256/<hex>    read-only files        <root>/index/<key>   what an earlier fetch brought
    <root>/work/<random>   fetches in progress    <root>/locks/<name>  one fetch of a component at a time

A file appears under its name only when it is whole, verified and on the disk; nothing else is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from anykube import paths
from anykube.artifacts import inspection
from anykube.errors import ArtifactError
from anykube.facts.artifacts import Kind

STALE_SECONDS = 24 * 3600
INCOMING = ".incoming-"
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_MODES: dict[Kind, int] = {"binary": 0o555, "image": 0o444}


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of the store. `version` is that of the software in it."""

    sha256: str
    size: int
    version: str = ""


class Store:
    """A content-addressed store in a folder. Safe for several processes at once."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or paths.cache_dir() / "artifacts"

    def path(self, sha256: str) -> Path:
        """Where the file with this content is, or would be."""
        if not _SHA256.match(sha256):
            raise ArtifactError(f"{sha256[:80]!r} is not a sha256.")
        return self.root / "sha256" / sha256

    def has(self, sha256: str, size: int | None = None) -> bool:
        """Whether the store holds this content (by name and size; `verify` reads it)."""
        try:
            found = self.path(sha256).stat().st_size
        except FileNotFoundError:
            return False
        return size is None or size == found

    def contents(self) -> frozenset[str]:
        """The sha256 of everything in the store."""
        with suppress(FileNotFoundError):
            return frozenset(
                file.name for file in (self.root / "sha256").iterdir() if _SHA256.match(file.name)
            )
        return frozenset()

    def add(
        self, source: Path, *, kind: Kind, arch: str, sha256: str | None = None, size: int | None = None
    ) -> Stored:
        """Copy a file into the store after all checks. On refusal nothing is kept."""
        if size is not None and source.stat().st_size != size:
            raise ArtifactError(f"{source.name} has {source.stat().st_size} bytes, expected were {size}.")
        inspection.check(source, kind=kind, arch=arch)
        folder = self._folder("sha256")
        handle, name = tempfile.mkstemp(prefix=INCOMING, dir=folder)
        temporary = Path(name)
        try:
            stored = _copy(source, handle)
            if sha256 is not None and stored.sha256 != sha256:
                raise ArtifactError(
                    f"{source.name} does not have the expected content.",
                    evidence=[f"expected sha256 {sha256}", f"got      sha256 {stored.sha256}"],
                )
            temporary.chmod(_MODES[kind])
            temporary.replace(self.path(stored.sha256))
            _sync_folder(folder)
        finally:
            temporary.unlink(missing_ok=True)
        return stored

    def verify(self, sha256: str) -> None:
        """Read the whole file and raise ArtifactError unless its content is right."""
        try:
            found = hash_file(self.path(sha256)).sha256
        except OSError as error:
            raise ArtifactError(f"{sha256} cannot be read from the store: {error.strerror}.") from error
        if found != sha256:
            raise ArtifactError(
                f"The store's copy of {sha256} is damaged.",
                evidence=[f"its content has sha256 {found}"],
                remedy=f"remove {self.path(sha256)}; it is fetched again when it is needed",
            )

    def recall(self, key: str) -> Stored | None:
        """What an earlier fetch with this key brought, if the store still holds it."""
        try:
            known = json.loads((self.root / "index" / key).read_text())
            stored = Stored(str(known["sha256"]), int(known["size"]), str(known["version"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return stored if _SHA256.match(stored.sha256) and self.has(stored.sha256, stored.size) else None

    def remember(self, key: str, stored: Stored) -> None:
        """Note what a fetch brought, for `recall`."""
        target = self._folder("index") / key
        handle, name = tempfile.mkstemp(prefix=INCOMING, dir=target.parent)
        with os.fdopen(handle, "w") as stream:
            json.dump({"sha256": stored.sha256, "size": stored.size, "version": stored.version}, stream)
        Path(name).replace(target)

    @contextmanager
    def workdir(self) -> Iterator[Path]:
        """A private folder beside the store, removed at the end, with what earlier crashes left."""
        parent = self._folder("work")
        for left in (*parent.iterdir(), *self.root.glob(f"*/{INCOMING}*")):
            _remove_stale(left)
        with tempfile.TemporaryDirectory(dir=parent) as name:
            yield Path(name)

    def lock_path(self, name: str) -> Path:
        """The lock file for one kind of work."""
        return self._folder("locks") / name

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def hash_file(path: Path) -> Stored:
    """The sha256 and the size of a file."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(inspection.CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return Stored(digest.hexdigest(), size)


def _copy(source: Path, handle: int) -> Stored:
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as reader, os.fdopen(handle, "wb") as writer:
        while chunk := reader.read(inspection.CHUNK):
            digest.update(chunk)
            writer.write(chunk)
            size += len(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    return Stored(digest.hexdigest(), size)


def _remove_stale(path: Path) -> None:
    with suppress(FileNotFoundError):
        if time.time() - path.stat().st_mtime < STALE_SECONDS:
            return
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
