"""Keeps the record of a cluster: the few things that cannot be observed again.

Each save raises the serial and keeps the record before it as `record.json.previous`. Writers hold the
cluster's lock, which the guard proves; the serial catches those that do not.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path

from anykube.errors import StateError
from anykube.facts.record import Record
from anykube.state import codec
from anykube.state.clusters import RECORD
from anykube.state.documents import DocumentType
from anykube.state.files import Guard, make_folder, read_file, remove_leftovers, unguarded, write_file

_DOCUMENT = DocumentType(
    kind="record",
    schema=1,
    remedy=f"Copy {RECORD}.previous over it (in the same folder), or restore it from a backup.",
)


def new_record(name: str) -> Record:
    """The first record of a cluster, with a lineage that no other cluster has."""
    return Record(name=name, lineage=str(uuid.uuid4()))


class RecordStore:
    """The record in the folder of a cluster."""

    def __init__(self, folder: Path, guard: Guard = unguarded) -> None:
        self.folder = folder
        self.path = folder / RECORD
        self._guard = guard

    def load(self) -> Record | None:
        """The record, or None if the cluster is not known here. One from before 0.2 has no `departing`."""
        content = _DOCUMENT.load(self.path)
        if content is None:
            return None
        try:
            record = codec.decode(
                Record, {"departing": {}, **content} if isinstance(content, dict) else content
            )
        except codec.CodecError as error:
            raise _DOCUMENT.damaged(self.path, str(error)) from error
        if not record.lineage or record.serial < 0 or record.epoch < 0:
            raise _DOCUMENT.damaged(self.path, "lineage, serial or epoch cannot be right")
        return record

    def save(self, record: Record) -> Record:
        """Write the record and return it with its new serial. Go on with the returned one."""
        make_folder(self.folder)
        self._guard()
        remove_leftovers(self.folder, RECORD)
        current = self.load()
        if current is not None:
            self._refuse_lost_update(current, record)
            previous = self.path.with_name(f"{RECORD}.previous")
            write_file(previous, read_file(self.path), guard=self._guard)
        saved = replace(record, serial=record.serial + 1)
        _DOCUMENT.save(self.path, codec.encode(saved), self._guard)
        return saved

    def next_epoch(self) -> Record:
        """Begin a run: raise the epoch, which fences earlier runs off. The caller holds the lock."""
        record = self.load()
        if record is None:
            raise StateError(f"There is no record of a cluster in {self.folder}.")
        return self.save(replace(record, epoch=record.epoch + 1))

    def _refuse_lost_update(self, current: Record, record: Record) -> None:
        if (current.lineage, current.serial) != (record.lineage, record.serial):
            raise StateError(
                f"{self.path} was changed by another run meanwhile.",
                evidence=[
                    f"there: serial {current.serial} of {current.lineage}",
                    f"here: serial {record.serial} of {record.lineage}",
                ],
                remedy="Wait until the other run is over, then run this again.",
            )
