"""Keeps the artifact lock of a cluster: which software, by sha256. Its form is facts/artifacts.py's."""

from __future__ import annotations

import json
from pathlib import Path

from anykube.errors import StateError
from anykube.facts.artifacts import ArtifactLock, from_dict, to_dict
from anykube.state.clusters import ARTIFACTS
from anykube.state.documents import unique_keys
from anykube.state.files import Guard, make_folder, read_file, remove_leftovers, unguarded, write_file


class LockFile:
    """The artifact lock in the folder of a cluster."""

    def __init__(self, folder: Path, guard: Guard = unguarded) -> None:
        self.folder = folder
        self.path = folder / ARTIFACTS
        self._guard = guard

    def load(self) -> ArtifactLock | None:
        """The lock, or None if nothing was locked yet."""
        try:
            content = read_file(self.path)
        except FileNotFoundError:
            return None
        try:
            return from_dict(json.loads(content, object_pairs_hook=unique_keys))
        except StateError as error:
            raise StateError(
                f"{self.path}: {error.brief}", evidence=error.evidence, remedy=error.remedy
            ) from error
        except (ValueError, RecursionError) as error:
            raise StateError(
                f"{self.path} is damaged and was left as it is.",
                evidence=[str(error)],
                remedy="Restore it from a backup, or move it away: the next `anykube apply` locks anew.",
            ) from error

    def save(self, lock: ArtifactLock) -> None:
        """Write the lock in one atomic move."""
        make_folder(self.folder)
        self._guard()
        remove_leftovers(self.folder, ARTIFACTS)
        write_file(self.path, json.dumps(to_dict(lock), indent=1).encode() + b"\n", guard=self._guard)
