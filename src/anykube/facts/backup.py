"""Backups as they are: what of the state is sealed for them here, and the last one on a node. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SECONDS = re.compile(r"[0-9]{1,12}")
_NAME = re.compile(r"[a-z0-9][a-z0-9.TZ-]{0,254}")
UNSAID = "no reason was written"


@dataclass(frozen=True, slots=True)
class SealedFacts:
    """The state of the cluster that goes into its archives (backup/state.py), sealed on this machine.

    sha256: of the sealed file, '' if there is none.  current: whether it holds the state as it is now.
    credentials: sha256 of the file with which nodes reach S3, '' if there is none.  anykube: our version.
    """

    sha256: str = ""
    current: bool = False
    credentials: str = ""
    anykube: str = "0"


@dataclass(frozen=True, slots=True)
class NodeBackups:
    """The backups that a node makes by itself. Times are in seconds since the epoch, by the node's clock.

    verified: when the last good one was complete, 0 for never.  archive: its name.
    failed: when one failed since then, 0 if none did; `reason` is why.
    """

    verified: int = 0
    archive: str = ""
    failed: int = 0
    reason: str = ""


def parse(last: str, failed: str) -> NodeBackups:
    """The two lines that content/backup.py's script writes, '' for one that is not there. ValueError for what
    it would not write; a disk that was full may have left a line empty or cut off."""
    verified, _, archive = last.strip().partition(" ")
    if last.strip() and not (_SECONDS.fullmatch(verified) and _NAME.fullmatch(archive)):
        raise ValueError(last)
    when, _, reason = failed.strip().partition(" ")
    if failed.strip() and not _SECONDS.fullmatch(when):
        raise ValueError(failed)
    said = "".join(character if character.isprintable() else "·" for character in reason)
    return NodeBackups(
        verified=int(verified or 0),
        archive=archive,
        failed=int(when or 0),
        reason=(said or UNSAID)[:300] if when else "",
    )
