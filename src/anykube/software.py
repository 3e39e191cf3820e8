"""The software of one cluster, apart from bringing it up: list it, have it here, prove it unchanged."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from anykube.artifacts.service import arch, fetch, verify
from anykube.errors import StateError
from anykube.events import Sink, StepProgress, nowhere
from anykube.facts.artifacts import ArtifactLock
from anykube.plan.artifacts import STEP, needed
from anykube.session import Folders, Session
from anykube.spec.catalog import component_of, release
from anykube.spec.model import Cluster
from anykube.state.lock import ClusterLock

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ArtifactRow:
    """An artifact for people. Unknown values are '-'."""

    name: str
    version: str
    source: str
    size: str
    sha256: str
    here: str

    def as_dict(self) -> dict[str, str]:
        """JSON form."""
        return asdict(self)


def listing(cluster: Cluster, *, folders: Folders | None = None) -> tuple[ArtifactRow, ...]:
    """Every artifact that the object needs, locked or not."""
    session = Session(cluster, folders)
    lock = session.lock_file.load()
    return tuple(_row(name, cluster, lock, session) for name in needed(cluster))


async def get_all(cluster: Cluster, *, emit: Sink = nowhere, folders: Folders | None = None) -> ArtifactLock:
    """Fetch or build what is missing and write the lock. ArtifactError if no source has it."""

    def report(item: str, message: str, done: float | None, total: float | None, unit: str) -> None:
        emit(StepProgress(STEP, item, message, done, total, unit))

    session = Session(cluster, folders)
    async with ClusterLock(session.folder, f"artifacts get {cluster.name}"):
        lock = await fetch(
            cluster.spec.kubernetes.version,
            needed(cluster),
            arch=arch(),
            source=cluster.spec.artifacts.source,
            mirror=cluster.spec.artifacts.mirror,
            store=session.store,
            lock=session.lock_file.load(),
            report=report,
        )
        session.lock_file.save(lock)
    return lock


def verify_all(cluster: Cluster, *, folders: Folders | None = None) -> tuple[int, tuple[str, ...]]:
    """How many artifacts are locked, and what is wrong with those that are not as locked."""
    session = Session(cluster, folders)
    lock = session.lock_file.load()
    if lock is None:
        raise StateError(f"{cluster.name} has no artifact lock yet.", remedy="anykube artifacts get")
    problems = verify(lock, session.store)
    return len(lock.artifacts), tuple(f"{problem.artifact}: {problem.message}" for problem in problems)


def _row(name: str, cluster: Cluster, lock: ArtifactLock | None, session: Session) -> ArtifactRow:
    locked = lock.artifacts.get(name) if lock else None
    if locked is None:
        version = release(cluster.spec.kubernetes.version).version_of(component_of(name))
        return ArtifactRow(name, version, "-", "-", "-", "no")
    size = f"{locked.size / MIB:.1f} MiB"
    here = "yes" if session.store.has(locked.sha256) else "no"
    return ArtifactRow(name, locked.version, locked.source, size, locked.sha256, here)
