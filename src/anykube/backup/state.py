"""What this machine keeps of a cluster, packed and encrypted to travel in its archives ("sealed").

A tar of record.json, artifacts.lock.json, secrets.json and the folder secrets/, as state/ and pki/ lay them
out. It is the same bytes as long as nothing of it changed: serial and epoch of the record, which count runs,
are left at 0.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from anykube.backup import age
from anykube.errors import BackupError
from anykube.facts.record import Record
from anykube.secret import Secret
from anykube.state import codec
from anykube.state.clusters import ARTIFACTS, RECORD, SECRETS
from anykube.state.documents import unique_keys
from anykube.state.files import TEMPORARY, read_file

STATE_LIMIT = 64 * 1024 * 1024
"""Bytes of state at most: a node has about ten kilobytes of certificates and keys."""
MEMBER_LIMIT = 50_000
INVENTORY = f"{SECRETS}.json"
_SECRET = re.compile(rf"{SECRETS}(?:/[a-z0-9](?:[a-z0-9.-]{{0,251}}[a-z0-9])?){{1,4}}")


@dataclass(frozen=True, slots=True)
class SavedState:
    """The state of a cluster as an archive has it. `record` has serial and epoch 0; `files` are the others,
    by their name in the cluster's folder: artifacts.lock.json, secrets.json, secrets/…"""

    record: Record
    files: Mapping[str, Secret]


def gather(folder: Path, record: Record) -> Secret:
    """The plain tar of a cluster's folder."""
    plain = json.dumps(codec.encode(replace(record, serial=0, epoch=0)), ensure_ascii=False, indent=1)
    content = {RECORD: plain.encode()}
    for path in kept_files(folder):
        content[str(path.relative_to(folder))] = read_file(path)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in sorted(content):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content[name]), 0o600
            tar.addfile(member, io.BytesIO(content[name]))
    return Secret(buffer.getvalue())


def digest(plain: Secret, recipients: Sequence[str]) -> str:
    """Equal as long as neither the state nor those who can read it change."""
    both = hashlib.sha256(plain.reveal())
    both.update("\n".join(sorted(recipients)).encode())
    return both.hexdigest()


def seal(plain: Secret, recipients: Sequence[str]) -> bytes:
    """The state, encrypted."""
    sealed = io.BytesIO()
    age.encrypt(io.BytesIO(plain.reveal()), sealed, recipients)
    return sealed.getvalue()


def unseal(sealed: bytes, keys: Sequence[Secret], what: str) -> SavedState:
    """The state in those bytes. BackupError for whatever `gather` would not have written."""
    plain = io.BytesIO()
    age.decrypt(io.BytesIO(sealed), plain, keys, what)
    plain.seek(0)
    try:
        with tarfile.open(fileobj=plain, mode="r:") as tar:
            files = dict(_members(tar, what))
    except tarfile.TarError as error:
        raise BackupError(f"{what} is not a tar inside.", evidence=[str(error)]) from None
    if RECORD not in files:
        raise BackupError(f"{what} holds no record.")
    try:
        content = json.loads(files.pop(RECORD).reveal(), object_pairs_hook=unique_keys)
        record = codec.decode(Record, content)
    except (ValueError, RecursionError) as error:
        raise BackupError(f"{what} holds no valid record.", evidence=[str(error)[:300]]) from None
    return SavedState(record, files)


def kept_files(folder: Path) -> Iterator[Path]:
    """What `gather` takes from the folder of a cluster, beside the record."""
    for path in (folder / ARTIFACTS, folder / INVENTORY):
        if path.exists():
            yield path
    for path in sorted((folder / SECRETS).rglob("*")):
        if not path.is_dir() and not path.name.endswith(TEMPORARY):
            yield path


def _members(tar: tarfile.TarFile, what: str) -> Iterator[tuple[str, Secret]]:
    """Regular files with known names, each once; never a path that could lead out of a folder."""
    seen: set[str] = set()
    for member in tar:
        name = member.name
        known = name in (RECORD, ARTIFACTS, INVENTORY) or (_SECRET.fullmatch(name) and ".." not in name)
        stream = tar.extractfile(member) if known and member.isreg() and name not in seen else None
        if stream is None or len(seen) >= MEMBER_LIMIT:
            raise BackupError(f"{what} holds what no anykube wrote.", evidence=[repr(name[:80])])
        seen.add(name)
        yield name, Secret(stream.read())
