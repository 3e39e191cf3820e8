"""The secrets of one cluster, as private files: one file per secret, so that a pair is never half new.

`facts()` is what the planner sees of them; `part()` is what the executor puts on a node. Writers hold
the cluster's lock. A file that is damaged, or that others could have touched, is an error and stays as it
is: making a certificate authority anew would cut off every node that trusts the old one.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cryptography import x509

from anykube.errors import StateError
from anykube.facts.secrets import SecretFacts
from anykube.pki import kinds
from anykube.pki.certificates import certificate_facts
from anykube.pki.inventory import Inventory
from anykube.pki.kinds import Content
from anykube.secret import Secret
from anykube.state.files import (
    TEMPORARY,
    Guard,
    check_folder,
    make_folder,
    read_file,
    remove_leftovers,
    unguarded,
    write_file,
)

SECRET_SIZE_LIMIT = 64 * 1024
NAME_LIMIT = 300
_SEGMENT = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"
_NAME = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT}){{0,3}}")

RESTORE = (
    "Restore it from a backup. Only if it is a certificate of one component may you remove it instead: "
    "the next `anykube apply` issues another. Never remove a certificate authority."
)


class SecretStore:
    """A folder of secrets. The certificate `nodes/a/kubelet` is the file `nodes/a/kubelet.certificate`."""

    def __init__(self, folder: Path, guard: Guard = unguarded) -> None:
        """The guard proves before each write that this run still holds the cluster's lock."""
        self.folder = folder
        self._guard = guard
        self._inventory = Inventory(folder.with_name(f"{folder.name}.json"), guard)
        # Providers make keys for many machines at once; the cluster's lock keeps other processes out.
        self._writing = threading.Lock()

    def names(self) -> tuple[str, ...]:
        """The names of all secrets, sorted."""
        return tuple(sorted(self._index()))

    def facts(self) -> Mapping[str, SecretFacts]:
        """What can be said of each secret without showing it. All damaged ones are reported at once."""
        contents = self.contents()
        authorities = [found for content in contents.values() for found in content.authorities]
        return {name: _facts(name, content, authorities) for name, content in contents.items()}

    def contents(self) -> Mapping[str, Content]:
        """All secrets taken apart, sorted by name."""
        contents: dict[str, Content] = {}
        problems: list[str] = []
        for name, kind in sorted(self._index().items()):
            try:
                contents[name] = self._load(name, kind)
            except StateError as error:
                problems.extend([error.brief, *error.evidence])
        if problems:
            raise StateError(f"Secrets in {self.folder} cannot be used.", evidence=problems, remedy=RESTORE)
        return contents

    def content(self, name: str) -> Content | None:
        """One secret taken apart, or None if there is none of this name."""
        kind = self.kind(name)
        return self._load(name, kind) if kind else None

    def part(self, name: str, part: str) -> Secret:
        """The bytes of a part, as a file on a node holds them."""
        content = self.content(name)
        if content is None:
            raise StateError(
                f"There is no secret {name} in {self.folder}.",
                remedy="Run `anykube apply`: it makes the secrets that are missing.",
            )
        if part not in content.parts:
            raise StateError(f"The secret {name} has no part {part!r}, only {', '.join(content.parts)}.")
        return content.parts[part]

    def put(self, name: str, kind: str, value: Secret, *, replace: bool = False) -> None:
        """Keep a secret. Without `replace` it is made once: one that exists, or that existed and is lost, is
        an error. Its kind never changes."""
        path = self._path(name, kind)
        _parse(path, kind, value.reveal())
        with self._writing:
            existing = self.kind(name)
            if existing is not None and (existing != kind or not replace):
                raise StateError(
                    f"The secret {name} exists already and is not replaced.", evidence=[str(path)]
                )
            if not replace:
                self._inventory.refuse_lost(name, path)
            self._write(path, value, replace)
            if not replace:
                self._inventory.add(name, value)

    def turn(self, name: str, value: Secret) -> None:
        """Give a ring of keys (pki/kinds.py) that is here another content; its kind stays."""
        kind = self.kind(name)
        if kind is None:
            raise StateError(f"There is no secret {name} in {self.folder}.", remedy=RESTORE)
        self.put(name, kind, value, replace=True)
        with self._writing:
            self._inventory.add(name, value)

    def discard(self, name: str) -> None:
        """Remove a secret that has served its purpose; one that is gone is fine."""
        with self._writing:
            if kind := self.kind(name):
                self._guard()
                self._path(name, kind).unlink(missing_ok=True)

    def forget_node(self, node: str) -> None:
        """Remove the certificates and keys of a node that is gone, and the folder that they were in."""
        folder = self.folder / checked_name(f"nodes/{node}")
        with self._writing:
            self._guard()
            for name, kind in self._index().items():
                if name.startswith(f"nodes/{node}/"):
                    self._path(name, kind).unlink(missing_ok=True)
            if folder.is_dir():
                remove_leftovers(folder)
                folder.rmdir()

    def _write(self, path: Path, value: Secret, replace: bool) -> None:
        make_folder(self.folder)
        make_folder(path.parent)
        self._guard()
        remove_leftovers(path.parent)
        try:
            write_file(path, value.reveal(), replace=replace, guard=self._guard)
        except FileExistsError as error:
            raise StateError(f"{path} was made by another run meanwhile.") from error

    def _load(self, name: str, kind: str) -> Content:
        path = self._path(name, kind)
        try:
            return _parse(path, kind, read_file(path, limit=SECRET_SIZE_LIMIT))
        except FileNotFoundError as error:
            raise StateError(f"{path} vanished while it was read.", remedy=RESTORE) from error

    def kind(self, name: str) -> str | None:
        """What kind of secret this is, or None if there is none of this name."""
        found = [kind for kind in sorted(kinds.KINDS) if os.path.lexists(self._path(name, kind))]
        if len(found) > 1:
            raise StateError(
                f"The secret {name} exists as {' and as '.join(found)} in {self.folder}.", remedy=RESTORE
            )
        if found:
            check_folder(self.folder)
        return found[0] if found else None

    def _path(self, name: str, kind: str) -> Path:
        return self.folder / f"{checked_name(name)}.{kind}"

    def _index(self) -> Mapping[str, str]:
        index: dict[str, str] = {}
        if not os.path.lexists(self.folder):
            return index
        for relative in _files(self.folder, ""):
            name, _, kind = relative.rpartition(".")
            if kind not in kinds.KINDS or name in index:
                raise StateError(
                    f"{self.folder / relative} is not a secret that anykube wrote.",
                    remedy="Move it away, then run it again.",
                )
            index[checked_name(name)] = kind
        return index


def checked_name(name: str) -> str:
    """The name itself if it is one: lower-case segments of letters, digits, '-' and '.', joined by '/'."""
    if len(name) > NAME_LIMIT or ".." in name or not _NAME.fullmatch(name):
        raise StateError(f"{name[:80]!r} is not a name for a secret.")
    return name


def _files(folder: Path, prefix: str) -> Iterator[str]:
    check_folder(folder)
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                yield from _files(folder / entry.name, f"{prefix}{entry.name}/")
            elif not (entry.name.startswith(".") and entry.name.endswith(TEMPORARY)):
                yield prefix + entry.name


def _parse(path: Path, kind: str, content: bytes) -> Content:
    try:
        return kinds.parse(kind, content)
    except kinds.Damaged as error:
        raise StateError(f"{path} is damaged.", evidence=[str(error)], remedy=RESTORE) from None


def _facts(name: str, content: Content, authorities: Sequence[x509.Certificate]) -> SecretFacts:
    return SecretFacts(
        name=name,
        parts={part: hashlib.sha256(value.reveal()).hexdigest() for part, value in content.parts.items()},
        certificate=certificate_facts(content.certificate, authorities) if content.certificate else None,
        keys=tuple(content.ring),
    )
