"""A restore that is under way: what it needs to be finished or taken back, in the folder of its cluster.

    <state>/<cluster>/restoring.json   the journal: while it is there, nothing but restore changes the cluster
                      restoring.db     the snapshot
                      restoring/       a folder of this cluster, with secrets and lock to be placed
                      before-restore/  what was in their place; never deleted, renamed when all is done

Killed at any line, `Placement.place` or `Placement.take_back` is called again, and ends at the same.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from anykube.errors import StateError
from anykube.facts.record import Record
from anykube.state import codec
from anykube.state.clusters import ARTIFACTS, RECORD, SECRETS
from anykube.state.documents import DocumentType
from anykube.state.files import Guard, make_folder, reported, sync_folder, unguarded
from anykube.state.record import RecordStore

JOURNAL = "restoring.json"
SNAPSHOT = "restoring.db"
NEW = "restoring"
OLD = "before-restore"
PLACED = (SECRETS, f"{SECRETS}.json", ARTIFACTS)
"""What an archive brings, beside the record."""

_DOCUMENT = DocumentType(
    kind="restore",
    schema=1,
    remedy=f"Move {JOURNAL} away only if you know that no restore is under way; else restore again.",
)


class Stage(StrEnum):
    """How far a restore is."""

    BEGUN = "begun"
    """Until the first API server starts on the new etcd; may be taken back."""
    SERVING = "serving"
    """API servers may have written to the new etcd: only forward."""
    RETURNING = "returning"
    """It is being taken back."""


@dataclass(frozen=True, slots=True)
class Restoring:
    """The journal of a restore.

    archive: where it was read from, for people.  token: names etcd's new cluster, and with it this restore.
    node: where etcd begins.  lost: machines that are gone for good.
    sha256, revision, keys, size, taken: of the snapshot.
    object, source: the cluster object to be true afterwards.  before: the object to return to, '' if there
    was no cluster here.  epoch: of the first run that touches nodes, 0 until then; what was moved aside there
    since is what the cluster had before.  file: where the snapshot lies on `node` if it is not here: that
    which an upgrade began with, and this is its rollback.
    """

    archive: str
    token: str
    node: str
    lost: tuple[str, ...]
    sha256: str
    revision: int
    keys: int
    size: int
    taken: str
    object: str
    source: str = ""
    before: str = ""
    epoch: int = 0
    stage: Stage = Stage.BEGUN
    file: str = ""

    def command(self, name: str) -> str:
        """What finishes it, for the cluster of this name."""
        return f"anykube {'rollback' if self.file else 'restore'} -c {name}"


def load(folder: Path) -> Restoring | None:
    """The restore that is under way for the cluster in this folder, or None."""
    content = _DOCUMENT.load(folder / JOURNAL)
    if content is None:
        return None
    try:
        return codec.decode(Restoring, content)
    except codec.CodecError as error:
        raise _DOCUMENT.damaged(folder / JOURNAL, str(error)) from error


def save(folder: Path, journal: Restoring, guard: Guard = unguarded) -> Restoring:
    """Write the journal, and return it."""
    make_folder(folder)
    _DOCUMENT.save(folder / JOURNAL, codec.encode(journal), guard)
    return journal


def refuse(folder: Path, what: str) -> None:
    """StateError if a restore of this cluster is under way, with both ways out."""
    found = load(folder)
    if found is None:
        return
    this = "rollback" if found.file else "restore"
    back = f"; back to what was: anykube restore --abort -c {folder.name}"
    raise StateError(
        f"A {this} of {folder.name} is under way: {what} would stand in its way.",
        evidence=[f"from {found.archive}, {found.stage}"],
        remedy=f"finish it: {found.command(folder.name)}{'' if found.stage is Stage.SERVING else back}",
    )


@dataclass(frozen=True, slots=True)
class Placement:
    """Puts what an archive brought into the folder of a cluster, and back. The caller holds its lock."""

    folder: Path
    guard: Guard = unguarded

    @property
    def new(self) -> Path:
        """What is to be placed: a folder that can be opened as that of a cluster of this name."""
        return self.folder / NEW / self.folder.name

    def place(self) -> None:
        """Put what is new into its place; what was there goes to OLD."""
        self._exchange(self.new, self.folder / OLD)

    def take_back(self) -> None:
        """Put what is in OLD back into its place; what the archive brought is dropped with `finish`."""
        self._exchange(self.folder / OLD, self.new)

    def keep_record(self, record: Record) -> None:
        """Keep the record as it was before, once."""
        if self.record_before() is None:
            RecordStore(self.folder / OLD, self.guard).save(record)

    def record_before(self) -> Record | None:
        """The record as it was before the restore; None if there was none."""
        return RecordStore(self.folder / OLD).load()

    def finish(self, name: str) -> None:
        """All is done: what was in OLD is kept under this name, the rest is removed."""
        self.guard()
        with reported("renamed", self.folder / OLD):
            if (self.folder / OLD).exists() and any((self.folder / OLD).iterdir()):
                (self.folder / OLD).rename(self.folder / name)
        self.discard()

    def discard(self) -> None:
        """Nothing is to be placed any more. What is in OLD stays there, but for the record."""
        self.guard()
        if (self.folder / OLD).exists():
            (self.folder / OLD / RECORD).unlink(missing_ok=True)
        with suppress(OSError):  # it is not there, or holds something
            (self.folder / OLD).rmdir()
        shutil.rmtree(self.folder / NEW, ignore_errors=True)
        for name in (SNAPSHOT, JOURNAL):
            with reported("removed", self.folder / name):
                (self.folder / name).unlink(missing_ok=True)
        sync_folder(self.folder)

    def _exchange(self, coming: Path, going: Path) -> None:
        make_folder(coming)
        make_folder(going)
        for name in PLACED:
            self.guard()
            new, place, old = coming / name, self.folder / name, going / name
            if not new.exists():
                continue  # never brought, or in its place already
            with reported("moved", place):
                if place.exists():
                    place.rename(old)
                new.rename(place)
        for folder in (self.folder, coming, going):
            sync_folder(folder)
