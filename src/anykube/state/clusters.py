"""The clusters that are known on this machine, a folder each.

    <state>/<cluster>/  record.json  lock  lock.json  artifacts.lock.json  secrets/  secrets.json  runs/<id>/

What each file holds is known to the module that reads and writes it.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from pathlib import Path

from anykube.errors import StateError
from anykube.state.files import reported

RECORD = "record.json"
LOCK = "lock"
HOLDER = "lock.json"
ARTIFACTS = "artifacts.lock.json"
SECRETS = "secrets"
RUNS = "runs"

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_FORGOTTEN = ".forgotten-"


def clusters(state_dir: Path) -> tuple[str, ...]:
    """The names of all clusters that left a record or secrets here, sorted."""
    if not state_dir.exists():
        return ()
    with reported("read", state_dir):
        folders = [entry for entry in state_dir.iterdir() if _NAME.fullmatch(entry.name)]
    return tuple(
        sorted(entry.name for entry in folders if (entry / RECORD).exists() or (entry / SECRETS).exists())
    )


def folder(state_dir: Path, name: str) -> Path:
    """The folder of a cluster, whether it exists or not."""
    if not _NAME.fullmatch(name):
        raise StateError(
            f"{name[:80]!r} is not a cluster name.",
            remedy="A name has at most 63 lower-case letters, digits and '-'.",
        )
    return state_dir / name


def forget(folder: Path) -> None:
    """Remove the folder of a cluster with all that is in it. The caller holds the cluster's lock.

    It loses its name first: a run that is killed here leaves no cluster with half of its secrets.
    """
    state_dir = folder.parent
    with reported("removed", folder):
        for rest in state_dir.glob(f"{_FORGOTTEN}*"):
            shutil.rmtree(rest, ignore_errors=True)
        if os.path.lexists(folder):
            doomed = state_dir / f"{_FORGOTTEN}{folder.name}-{secrets.token_hex(4)}"
            folder.rename(doomed)
            shutil.rmtree(doomed)
