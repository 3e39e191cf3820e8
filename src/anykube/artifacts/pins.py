"""The lock during one fetch: what it demands of a file, and the entry that a file becomes."""

from __future__ import annotations

import hashlib

from anykube.artifacts.store import Store, Stored
from anykube.errors import ArtifactError
from anykube.facts.artifacts import ArtifactLock, LockedArtifact
from anykube.spec import catalog


class Pins:
    """The entries of a lock that count: those made for the same Kubernetes version and architecture."""

    def __init__(self, release: catalog.Release, arch: str, lock: ArtifactLock | None) -> None:
        usable = lock is not None and (lock.kubernetes, lock.arch) == (release.kubernetes, arch)
        self.release = release
        self.arch = arch
        self.locked = dict(lock.artifacts) if lock and usable else {}

    def held(self, name: str, store: Store) -> LockedArtifact | None:
        """The entry of an artifact, if the store holds exactly that."""
        catalog.component_of(name)
        locked = self.locked.get(name)
        return locked if locked and store.has(locked.sha256, locked.size) else None

    def source_of(self, names: tuple[str, ...]) -> str | None:
        """Where locked artifacts came from: that source can bring the same bytes again."""
        return next((self.locked[name].source for name in names if name in self.locked), None)

    def check(self, name: str, sha256: str) -> None:
        """Raise ArtifactError if the lock names another content."""
        locked = self.locked.get(name)
        if locked is None or locked.sha256 == sha256:
            return
        raise ArtifactError(
            f"{name} differs from the lock file.",
            evidence=[
                f"locked sha256 {locked.sha256} (version {locked.version}, from {locked.source})",
                f"got    sha256 {sha256}",
            ],
            remedy=f"use the source and the tools that the lock was made with ({locked.source}), or remove "
            f"{name} from the lock file to accept the new content",
        )

    def entry(self, name: str, source: str, stored: Stored, reference: str | None = None) -> LockedArtifact:
        """A checked entry for the new lock."""
        self.check(name, stored.sha256)
        return LockedArtifact(
            name=name,
            version=stored.version,
            arch=self.arch,
            kind="image" if catalog.is_image(name) else "binary",
            source=source,
            sha256=stored.sha256,
            size=stored.size,
            reference=reference,
        )


def index_key(source: str, fingerprint: str, name: str) -> str:
    """Under which key the store's index remembers what a source brought."""
    return hashlib.sha256("\0".join((source, fingerprint, name)).encode()).hexdigest()
