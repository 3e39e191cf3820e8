"""Remembers which secrets were made, so that one that is lost is not made anew (fault F44).

A new authority, encryption key or SSH key would look like success and cut off what uses the old one: the
nodes, all stored Secrets, every machine. The list lies beside the secrets' folder, to outlive its loss. A
secret is listed just after it is in place; one whose maker was killed in between stays unlisted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from anykube.errors import StateError
from anykube.secret import Secret
from anykube.state.documents import DocumentType
from anykube.state.files import Guard, remove_leftovers, unguarded

_DOCUMENT = DocumentType(
    kind="inventory of secrets",
    schema=1,
    remedy="Restore it from a backup. If all secrets are in place you may remove it instead.",
)


class Inventory:
    """The names of secrets that are made once, each with the sha256 of its file."""

    def __init__(self, path: Path, guard: Guard = unguarded) -> None:
        self.path = path
        self._guard = guard

    def load(self) -> Mapping[str, str]:
        """All that is listed."""
        content = _DOCUMENT.load(self.path)
        if content is None:
            return {}
        if not isinstance(content, dict) or not all(isinstance(digest, str) for digest in content.values()):
            raise _DOCUMENT.damaged(self.path, "it is not a list of names")
        return content

    def add(self, name: str, value: Secret) -> None:
        """List a secret that is in place now."""
        listed = {**self.load(), name: hashlib.sha256(value.reveal()).hexdigest()}
        remove_leftovers(self.path.parent, self.path.name)
        _DOCUMENT.save(self.path, dict(sorted(listed.items())), self._guard)

    def refuse_lost(self, name: str, path: Path) -> None:
        """Refuse to make a secret that was made before. The caller knows that it is not in place."""
        digest = self.load().get(name)
        if digest is not None:
            raise StateError(
                f"The secret {name} is lost: it was made before, and a new one would not fit the cluster.",
                evidence=[f"{path} is missing", f"its sha256 was {digest}"],
                remedy="Restore that file from a backup. If the cluster may be lost too: anykube destroy.",
            )
