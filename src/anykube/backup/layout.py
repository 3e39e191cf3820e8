"""From an archive back to the folder of a cluster: the other way of state.py, for restore and adopt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anykube.backup.state import INVENTORY, SavedState, kept_files
from anykube.errors import BackupError
from anykube.state.clusters import ARTIFACTS, SECRETS
from anykube.state.files import make_folder, read_file, write_file

OF_MACHINES = (f"{SECRETS}/nodes/", f"{SECRETS}/ssh.")
"""Keys of single machines: those that are here were made later than the archive, or are the same."""


def lay_out(saved: SavedState, target: Path, here: Path | None = None) -> None:
    """Write all but the record into an empty folder.

    here: the folder of the same cluster on this machine, if there is one. Authorities and keys of the cluster
    are the archive's, because its snapshot was made with them; what machines were made with is what is here.
    """
    files = {name: content.reveal() for name, content in saved.files.items()}
    if here is not None:
        files = _merged(files, {str(path.relative_to(here)): read_file(path) for path in kept_files(here)})
    for name, content in files.items():
        path = target / name
        make_folder(path.parent)
        write_file(path, content)


def _merged(archived: Mapping[str, bytes], here: Mapping[str, bytes]) -> dict[str, bytes]:
    own = {name for name in here if name.startswith(OF_MACHINES) or name == ARTIFACTS}
    kinds = {_secret(name): name for name in here if name.startswith(f"{SECRETS}/")}
    # A secret is one file, of one kind: the archive's takes the place of one of another kind.
    replaced = {kinds[_secret(name)] for name in archived.keys() - own if _secret(name) in kinds}
    merged = {name: content for name, content in here.items() if name not in replaced}
    merged |= {name: content for name, content in archived.items() if name not in own}
    if INVENTORY in archived and INVENTORY in here:
        merged[INVENTORY] = _inventory(archived[INVENTORY], here[INVENTORY])
    return merged


def _secret(name: str) -> str:
    return name.rpartition(".")[0]


def _inventory(archived: bytes, here: bytes) -> bytes:
    """Both lists of secrets that were made once (pki/inventory.py)."""
    try:
        theirs, ours = json.loads(archived), json.loads(here)
        both: dict[str, Any] = {**theirs, "content": {**ours["content"], **theirs["content"]}}
    except (ValueError, TypeError, LookupError) as error:
        raise BackupError("A list of secrets is damaged.", evidence=[str(error)[:300]]) from None
    return json.dumps(both, indent=1).encode() + b"\n"
