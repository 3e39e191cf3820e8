"""A snapshot file of etcd on a node: what `etcdutl snapshot status` says of it, read strictly. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError


@dataclass(frozen=True, slots=True)
class SnapshotFacts:
    """A file that holds a snapshot. Whether it is undamaged shows when it is unpacked.

    `taken` is when the file was last changed, as text, because a person reads it.
    """

    file: str
    revision: int
    keys: int
    size: int
    taken: str


class _Status(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    revision: int
    totalKey: int
    totalSize: int


def parse(file: str, text: str) -> SnapshotFacts:
    """A line that says when the file was changed, then what etcdutl says. ValueError if it is not so."""
    taken, _, status = text.partition("\n")
    if not taken or len(taken) > 40 or not taken.isprintable():
        raise ValueError("no time of the file")
    try:
        found = _Status.model_validate_json(status)
    except ValidationError as error:
        raise ValueError(str(error.errors(include_url=False)[:2])) from None
    return SnapshotFacts(file, found.revision, found.totalKey, found.totalSize, taken)
