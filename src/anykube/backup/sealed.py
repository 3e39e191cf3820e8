"""What goes to the nodes for the backups that they make: the sealed state, and the key for S3.

    <cluster>/backup/  state.age  s3.curl  sealed.json

Sealing twice gives other bytes, so what is sealed is kept, with a digest of what it holds: nodes get it again
only when that has changed.
"""

from __future__ import annotations

import configparser
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anykube.backup import age, state
from anykube.errors import BackupError
from anykube.facts.backup import SealedFacts
from anykube.facts.record import Record
from anykube.secret import Secret
from anykube.state.documents import DocumentType
from anykube.state.files import Guard, make_folder, read_file, remove_leftovers, unguarded, write_file

FOLDER, STATE, CURL, NOTE = "backup", "state.age", "s3.curl", "sealed.json"
CREDENTIALS_LIMIT = 64 * 1024
_PROFILE = "default"
_DOCUMENT = DocumentType(
    kind="note of a sealed state", schema=1, remedy="Remove it: the next anykube apply seals anew."
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be sealed for whom. `credentials`: the user's file for S3, if archives go there."""

    record: Record
    recipients: tuple[str, ...]
    credentials: Path | None
    anykube: str


class SealedStore:
    """The folder of what is sealed."""

    def __init__(self, cluster_folder: Path, guard: Guard = unguarded) -> None:
        self._cluster = cluster_folder
        self._folder = cluster_folder / FOLDER
        self._guard = guard

    def files(self) -> Mapping[str, Path]:
        """Where they are, or will be, by the name that content/backup.py gives them."""
        return {f"{FOLDER}/{name}": self._folder / name for name in (STATE, CURL)}

    def facts(self, wanted: Wanted) -> SealedFacts:
        """How it is. A file for S3 that cannot be read now does not make the kept one stale."""
        sealed, kept = _read(self._folder / STATE), _read(self._folder / CURL)
        note = _DOCUMENT.load(self._folder / NOTE) or {}
        whole = sealed is not None and note.get("sha256") == _sha256(sealed)
        digest = state.digest(state.gather(self._cluster, wanted.record), wanted.recipients)
        return SealedFacts(
            sha256=_sha256(sealed) if sealed is not None and whole else "",
            current=whole and note.get("digest") == digest and _same(wanted.credentials, kept),
            credentials=_sha256(kept) if kept is not None else "",
            anykube=wanted.anykube,
        )

    def seal(self, wanted: Wanted) -> None:
        """Seal the state as it is now, and keep the key for S3 in the form that nodes need."""
        make_folder(self._folder)
        self._guard()
        remove_leftovers(self._folder)
        if wanted.credentials is not None:
            write_file(self._folder / CURL, curl_config(wanted.credentials), guard=self._guard)
        else:
            (self._folder / CURL).unlink(missing_ok=True)
        plain = state.gather(self._cluster, wanted.record)
        self._keep(state.seal(plain, wanted.recipients), plain, wanted)

    def adopt(self, sealed: bytes, keys: Sequence[Secret], wanted: Wanted) -> None:
        """Keep what a node holds sealed, if it is the state as it is now: then the node needs no other."""
        plain = state.gather(self._cluster, wanted.record)
        found = io.BytesIO()
        age.decrypt(io.BytesIO(sealed), found, keys, "The sealed state")
        if found.getvalue() == plain.reveal():
            make_folder(self._folder)
            if wanted.credentials is not None:
                write_file(self._folder / CURL, curl_config(wanted.credentials), guard=self._guard)
            self._keep(sealed, plain, wanted)

    def _keep(self, sealed: bytes, plain: Secret, wanted: Wanted) -> None:
        write_file(self._folder / STATE, sealed, guard=self._guard)
        note = {"sha256": _sha256(sealed), "digest": state.digest(plain, wanted.recipients)}
        _DOCUMENT.save(self._folder / NOTE, note, self._guard)


def credentials(path: Path) -> tuple[str, Secret]:
    """The access key and its secret in a file as the AWS tools have it."""
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    remedy = f"write a profile [{_PROFILE}] with aws_access_key_id and aws_secret_access_key into it"
    try:
        parser.read_string(read_file(path, limit=CREDENTIALS_LIMIT).decode())
        profile = parser[_PROFILE]
        key, secret = profile["aws_access_key_id"], profile["aws_secret_access_key"]
    except FileNotFoundError:
        raise BackupError(f"There is no file {path} with the key for S3.", remedy=remedy) from None
    except (configparser.Error, KeyError, UnicodeDecodeError):
        # Not chained: the message of the parser may quote what it read.
        raise BackupError(f"{path} has no key for S3.", remedy=remedy) from None
    return key, Secret(secret.encode())


def curl_config(path: Path) -> bytes:
    """The same as a configuration of curl."""
    key, secret = credentials(path)
    both = f"{key}:{secret.reveal().decode()}".replace("\\", "\\\\").replace('"', '\\"')
    return f'user = "{both}"\n'.encode()


def _same(path: Path | None, kept: bytes | None) -> bool:
    if path is None:
        return kept is None
    try:
        return curl_config(path) == kept
    except BackupError:
        return kept is not None


def _read(path: Path) -> bytes | None:
    try:
        return read_file(path, limit=2 * state.STATE_LIMIT)
    except FileNotFoundError:
        return None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
