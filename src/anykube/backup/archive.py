"""Archives: one file that age encrypts, a tar of three members, in this order.

    manifest.json   what the rest is, with sizes and checksums (manifest.py)
    snapshot.db     what `etcdctl snapshot save` gave
    state.age       what this machine keeps of the cluster, encrypted a second time (state.py): nodes, which
                    make archives by themselves, carry it without being able to read it

A reader gets nothing before all of it is decrypted, whole, and as its manifest says.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from anykube.backup import age, manifest
from anykube.backup.manifest import Manifest
from anykube.backup.state import STATE_LIMIT, SavedState, unseal
from anykube.errors import BackupError
from anykube.secret import Secret
from anykube.state.files import reported, sync_folder

MANIFEST, SNAPSHOT, STATE = "manifest.json", "snapshot.db", "state.age"
MANIFEST_LIMIT = 64 * 1024
SIZE_LIMIT = 32 * 1024**3
"""Of a snapshot: several times the largest database that etcd is run with."""
CHUNK = 1024 * 1024
PARTIAL = ".part"
"""The end of the name of an archive that is being written."""


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that was read and verified. `snapshot` is a file that is gone with the block of `opened`."""

    manifest: Manifest
    snapshot: Path
    state: SavedState


def write_archive(
    target: Path, made: Manifest, snapshot: Path, state: bytes, recipients: Sequence[str]
) -> None:
    """Write an archive under a temporary name, then rename it: a name without `.part` is a whole archive."""
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        with reported("written", target):
            with partial.open("xb") as stream:
                os.fchmod(stream.fileno(), 0o600)
                with _piped(lambda sink: _pack(sink, made, snapshot, state)) as source:
                    age.encrypt(source, stream, recipients)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(target)
            sync_folder(target.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def opened(path: Path, keys: Sequence[Secret], *, cluster: str = "", lineage: str = "") -> Iterator[Archive]:
    """A verified archive, unpacked in a private temporary folder. Every doubt is a BackupError.

    `cluster` and `lineage`, where given, are those that it must be of.
    """
    what = f"The archive {path}"
    with tempfile.TemporaryDirectory(prefix="anykube-archive-") as name:
        folder = Path(name)
        try:
            with (
                path.open("rb") as source,
                _piped(lambda sink: age.decrypt(source, sink, keys, what)) as plain,
            ):
                found = _unpack(plain, folder, what, cluster, lineage)
        except OSError as error:
            raise BackupError(f"{what} cannot be read.", evidence=[str(error)]) from error
        state = unseal((folder / STATE).read_bytes(), keys, f"The state in {path}")
        if state.record.lineage != found.lineage or state.record.name != found.cluster:
            raise BackupError(f"{what} holds the state of another cluster than its manifest says.")
        yield Archive(found, folder / SNAPSHOT, state)


@contextmanager
def _piped(produce: Callable[[IO[bytes]], None]) -> Iterator[IO[bytes]]:
    """What another thread produces, to be read while it comes. Its error goes before the reader's."""
    failure: list[BaseException] = []
    reading, writing = os.pipe()

    def work() -> None:
        try:
            with os.fdopen(writing, "wb", buffering=CHUNK) as sink:
                produce(sink)
        except BrokenPipeError:
            pass  # the reader has given up, and says why
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=work, daemon=True)
    source = os.fdopen(reading, "rb", buffering=CHUNK)
    thread.start()
    try:
        yield source
    finally:
        source.close()
        thread.join()
        if failure:
            raise failure[0]


def _pack(sink: IO[bytes], made: Manifest, snapshot: Path, state: bytes) -> None:
    head = manifest.write(made)
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.GNU_FORMAT, bufsize=CHUNK) as tar:
        for name, content in ((MANIFEST, head), (SNAPSHOT, snapshot), (STATE, state)):
            member = tarfile.TarInfo(name)
            member.mode = 0o600
            if isinstance(content, Path):
                with content.open("rb") as stream:
                    member.size = made.snapshot.size
                    tar.addfile(member, stream)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def _unpack(plain: IO[bytes], folder: Path, what: str, cluster: str, lineage: str) -> Manifest:
    try:
        with tarfile.open(fileobj=plain, mode="r|", bufsize=CHUNK) as tar:
            found = manifest.read(_member(tar, MANIFEST, MANIFEST_LIMIT).read())
            _refuse_foreign(found, what, cluster, lineage)
            for name, part, limit in (
                (SNAPSHOT, found.snapshot, SIZE_LIMIT),
                (STATE, found.state, STATE_LIMIT),
            ):
                stream = _member(tar, name, limit)
                if _copy(stream, folder / name) != (part.size, part.sha256):
                    raise BackupError(f"{what}: {name} is not what the manifest says.")
            if tar.next() is not None:
                raise BackupError(f"{what} holds more than it should.")
        while plain.read(CHUNK):
            pass  # to the end, so that age has seen and authenticated all of it
    except tarfile.TarError as error:
        raise BackupError(f"{what} is not a tar inside.", evidence=[str(error)]) from None
    return found


def _member(tar: tarfile.TarFile, name: str, limit: int) -> IO[bytes]:
    member = tar.next()
    if member is None or member.name != name or not member.isreg() or member.size > limit:
        seen = "nothing" if member is None else f"{member.name[:80]!r}, {member.size} bytes"
        raise BackupError("The archive does not hold what it should.", evidence=[f"{seen}, expected {name}"])
    stream = tar.extractfile(member)
    if stream is None:
        raise BackupError("The archive does not hold what it should.", evidence=[f"{name} has no content"])
    return stream


def _refuse_foreign(found: Manifest, what: str, cluster: str, lineage: str) -> None:
    if (cluster and found.cluster != cluster) or (lineage and found.lineage != lineage):
        raise BackupError(
            f"{what} is of another cluster.",
            evidence=[
                f"it is of {found.cluster}, lineage {found.lineage}",
                f"asked for: {cluster} {lineage}",
            ],
            remedy="give an archive of this cluster; a new cluster with the same name is another one",
        )


def _copy(stream: IO[bytes], target: Path) -> tuple[int, str]:
    """Write a member into a private file; its size and sha256."""
    digest, size = hashlib.sha256(), 0
    with target.open("xb") as writer:
        os.fchmod(writer.fileno(), 0o600)
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            writer.write(chunk)
    return size, digest.hexdigest()
