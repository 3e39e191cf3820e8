"""What an archive says of itself: its first member, as a value. Written here and by a script on nodes.

The manifest is read before anything else of an archive is used, and strictly: it decides whether the rest
belongs to the cluster that is to be restored.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from anykube.errors import BackupError

FORMAT = 1
_SHA256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_WORD = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+:_-]{0,99}$")]
_COUNT = Annotated[int, Field(ge=0, lt=2**63)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    sha256: _SHA256
    size: _COUNT


class Snapshot(_Part):
    """The snapshot of etcd. `keys` are the live keys at `revision`, and `hash` is what `etcdctl endpoint
    hashkv --rev` says of it on the member that it came from, with all before `compacted` left out."""

    revision: _COUNT
    compacted: Annotated[int, Field(ge=-1, lt=2**63)]
    keys: _COUNT
    hash: _COUNT


class State(_Part):
    """The state of the cluster on the machine that applied it, sealed (backup/state.py)."""


class Manifest(BaseModel):
    """One archive. `taken`: seconds since the epoch, by the clock of the machine that took it. `anykube`,
    `kubernetes` and `etcd` are versions; `node` is the member whose data it is."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: Literal[1]
    cluster: _WORD
    lineage: _WORD
    anykube: _WORD
    kubernetes: _WORD
    etcd: _WORD
    node: _WORD
    taken: _COUNT
    snapshot: Snapshot
    state: State

    @property
    def when(self) -> datetime:
        """The time at which it was taken."""
        return datetime.fromtimestamp(self.taken, UTC)


def write(manifest: Manifest) -> bytes:
    """The member `manifest.json`."""
    return manifest.model_dump_json(indent=1).encode() + b"\n"


def read(content: bytes) -> Manifest:
    """The manifest in those bytes. BackupError if it is of another format, or not as it should be."""
    try:
        data = json.loads(content)
        written = data.get("format") if isinstance(data, dict) else None
        if type(written) is int and written > FORMAT:
            raise BackupError(
                "The archive was written by a newer anykube.",
                evidence=[f"format {written}, this anykube knows {FORMAT}"],
                remedy="Use that newer version of anykube.",
            )
        return Manifest.model_validate_json(content)
    except (ValueError, RecursionError) as error:
        why = (
            error.errors(include_url=False, include_input=False)
            if isinstance(error, ValidationError)
            else error
        )
        raise BackupError("The archive's manifest is not valid.", evidence=[str(why)[:300]]) from None
