"""The calls behind `backup`: an archive made now, those that are there, proof of one, and what is kept.

Unlike the backups that nodes make by themselves (content/backup.py), all is done on this machine: etcd's own
programs run here and reach a member over the network, so that nothing is written on any node.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from anykube.artifacts.service import arch, fetch
from anykube.backup import age, names
from anykube.backup.archive import opened, write_archive
from anykube.backup.manifest import Manifest, Snapshot, State
from anykube.backup.names import Entry
from anykube.backup.places import Bucket, Folder, Place, place
from anykube.backup.proof import Holding, Programs, examine, holding, prove, revision_of, save
from anykube.backup.sealed import credentials
from anykube.backup.state import gather, seal
from anykube.content.backup import key_prefix
from anykube.content.certificates import BACKUP_KEY
from anykube.content.etcd import CLIENT_PORT, client_url
from anykube.errors import AnykubeError, BackupError, StateError, UsageError
from anykube.observe.networks import routes
from anykube.pki.authority import generate
from anykube.secret import Secret
from anykube.session import Folders, Session
from anykube.spec.catalog import ETCD_BINARIES, release
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes
from anykube.transports.forward import forwarded

TRIES = 3
"""A compaction while a snapshot is saved changes what hashes are made of; it comes every five minutes."""
OPEN_SECONDS = 1.0
CHUNK = 1024 * 1024


def place_of(cluster: Cluster, text: str) -> Place:
    """Where archives of a cluster go: `text`, else what its object says."""
    to = cluster.spec.backup.to if cluster.spec.backup else None
    if text:
        return place(text)
    if to and to.folder:
        return Folder(Path(to.folder))
    if to and to.s3:
        s3 = to.s3
        return Bucket(s3.bucket, key_prefix(s3), s3.endpoint, s3.region, credentials(Path(s3.credentials)))
    raise UsageError(
        f"Nothing says where archives of {cluster.name} go.",
        remedy="--to FOLDER or --to s3://BUCKET/PREFIX, or set spec.backup.to",
    )


async def create(
    cluster: Cluster, to: Place, *, say: Callable[[str], None], folders: Folders | None = None
) -> tuple[Entry, Manifest]:
    """Save etcd and the state of a cluster into an archive, verified before it gets its name."""
    async with Session(cluster, folders) as session, session.lock(f"backup {cluster.name}"):
        session.record = session.records.load() or session.record
        _require_known(session)
        if not session.recipients():
            generate(session.secrets, (BACKUP_KEY,))
        programs = await _programs(cluster.spec.kubernetes.version, session.folders)
        session.draw([route.network for route in routes()])
        with to.staging() as folder:
            for _ in range(TRIES):
                made, target, proven = await _made(session, programs, folder, say)
                if proven.compacted == made.snapshot.compacted:
                    break
            if (proven.hash, proven.compacted) != (made.snapshot.hash, made.snapshot.compacted):
                raise BackupError(
                    "What the snapshot restores is not what etcd holds.", evidence=[str(proven)]
                )
            found = names.entry(target.name, target.stat().st_size)
            await asyncio.to_thread(to.put, target)
    if found is None:
        raise BackupError(f"{target.name} is not a name for an archive.")
    return found, made


def entries(cluster: Cluster, where: Place, folders: Folders | None = None) -> Sequence[Entry]:
    """The archives of this cluster in a place, the oldest first."""
    session = Session(cluster, folders)
    _require_known(session)
    series = names.series(cluster.name, session.record.lineage)
    return [item for item in where.entries() if item.series == series]


def prune(cluster: Cluster, where: Place, keep: int, folders: Folders | None = None) -> Sequence[Entry]:
    """Remove all but the newest `keep` archives of this cluster; those that went. One always stays."""
    gone = names.surplus(entries(cluster, where, folders), keep)
    for item in gone:
        where.delete(item.name)
    return gone


async def verify(path: Path, keys: Sequence[Secret], folders: Folders | None = None) -> Manifest:
    """Restore what is in an archive into a scratch etcd and compare. BackupError unless all is right."""
    with opened(path, keys) as archive:
        programs = await _programs(archive.manifest.kubernetes, folders or Folders())
        await asyncio.to_thread(prove, programs, archive.snapshot, archive.manifest.snapshot)
        return archive.manifest


def own_key(cluster: Cluster, folders: Folders | None = None) -> Secret | None:
    """The identity with which archives can be read, if the cluster has one of its own."""
    session = Session(cluster, folders)
    there = BACKUP_KEY.secret in session.secrets.names()
    return session.secrets.part(BACKUP_KEY.secret, "key") if there else None


def recipient(key: Secret) -> str:
    """The public key of an identity."""
    return age.recipient_of(key)


def _require_known(session: Session) -> None:
    if not session.known:
        raise StateError(
            f"There is no record of {session.cluster.name} here.",
            remedy="use the machine and user that made it",
        )


async def _programs(kubernetes: str, folders: Folders) -> Programs:
    """etcd's programs as this version of Kubernetes is run with, from the store or from a source."""
    from anykube.artifacts.store import Store

    store = Store(folders.cache / "artifacts")
    lock = await fetch(kubernetes, ETCD_BINARIES, arch=arch(), store=store)
    paths = {name: store.path(lock.artifacts[name].sha256) for name in ETCD_BINARIES}
    return Programs(paths["etcd"], paths["etcdctl"], paths["etcdutl"])


async def _made(
    session: Session, programs: Programs, folder: Path, say: Callable[[str], None]
) -> tuple[Manifest, Path, Holding]:
    """An archive in a folder, and what its snapshot holds once restored: both at once, as each takes time."""
    taken, path = int(time.time()), folder / "snapshot.db"
    node, snapshot = await _save(session, programs, path, say)
    recipients = session.recipients()
    sealed = seal(gather(session.folder, session.record), recipients)
    made = _manifest(session, node, taken, snapshot, sealed)
    series = names.series(session.cluster.name, session.record.lineage)
    target = folder / names.archive_name(series, made.when, node)
    proven, _ = await asyncio.gather(
        asyncio.to_thread(examine, programs, path, snapshot.revision),
        asyncio.to_thread(write_archive, target, made, path, sealed, recipients),
    )
    return made, target, proven


async def _save(
    session: Session, programs: Programs, target: Path, say: Callable[[str], None]
) -> tuple[str, Snapshot]:
    """A snapshot from the first member that gives one."""
    members = [node.name for node in nodes(session.cluster) if node.etcd]
    failure: AnykubeError = BackupError(f"{session.cluster.name} has no etcd.")
    for node in members:
        try:
            async with _reached(session, node) as client:
                return node, await asyncio.to_thread(_taken, programs, client, target)
        except AnykubeError as error:
            say(f"{node}: {error.brief}")
            failure = error
    raise failure


@asynccontextmanager
async def _reached(session: Session, node: str) -> AsyncIterator[list[str]]:
    """Arguments of etcdctl that reach the member of a node, with the node's own certificate: directly where
    its port is open to us, which is faster, else through SSH."""
    with tempfile.TemporaryDirectory(prefix="anykube-client-") as name:
        folder = Path(name)
        files = {
            "cacert": ("ca/etcd", "bundle"),
            "cert": (f"nodes/{node}/etcd-server", "certificate"),
            "key": (f"nodes/{node}/etcd-server", "key"),
        }
        for file, (secret, part) in files.items():
            path = folder / file
            path.touch(mode=0o600)
            path.write_bytes(session.secrets.part(secret, part).reveal())
        flags = [f"--{file}={folder / file}" for file in files]
        address = session.addresses().get(node, "")
        if await _open_to_us(address):
            yield [f"--endpoints={client_url(address)}", *flags]
            return
        async with forwarded(session.transport(node), CLIENT_PORT) as port:
            yield [f"--endpoints={client_url('127.0.0.1', port)}", *flags]


async def _open_to_us(address: str) -> bool:
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            _, writer = await asyncio.open_connection(address, CLIENT_PORT)
    except OSError:  # TimeoutError is one
        return False
    writer.close()
    return True


def _taken(programs: Programs, client: Sequence[str], target: Path) -> Snapshot:
    target.unlink(missing_ok=True)
    save(programs, client, target)
    revision = revision_of(programs, target)
    return _described(target, revision, holding(programs, client, revision, target.parent))


def _described(snapshot: Path, revision: int, live: Holding) -> Snapshot:
    digest = hashlib.sha256()
    with snapshot.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return Snapshot(
        sha256=digest.hexdigest(),
        size=snapshot.stat().st_size,
        revision=revision,
        compacted=live.compacted,
        keys=live.keys,
        hash=live.hash,
    )


def _manifest(session: Session, node: str, taken: int, snapshot: Snapshot, sealed: bytes) -> Manifest:
    kubernetes = session.cluster.spec.kubernetes.version
    return Manifest(
        format=1,
        cluster=session.cluster.name,
        lineage=session.record.lineage,
        anykube=version("anykube"),
        kubernetes=kubernetes,
        etcd=release(kubernetes).etcd,
        node=node,
        taken=taken,
        snapshot=snapshot,
        state=State(sha256=hashlib.sha256(sealed).hexdigest(), size=len(sealed)),
    )


def since(taken: datetime) -> float:
    """Seconds since an archive was taken."""
    return max(0.0, (datetime.now(UTC) - taken).total_seconds())
