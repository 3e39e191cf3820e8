"""What should be on a node, as values: files with where their bytes come from, and systemd units.

Bytes that are secret, or that are large, are referred to by name and looked up by the executor, so that
content, plans and logs can be printed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from anykube.facts.artifacts import ArtifactLock
from anykube.facts.secrets import SecretFacts


@dataclass(frozen=True, slots=True)
class Text:
    """Bytes known now: not secret, shown in diffs."""

    value: str


@dataclass(frozen=True, slots=True)
class SecretPart:
    """A part of a secret in the cluster's secret store: 'certificate', 'key', 'public', 'value', or 'bundle':
    all certificates of a CA, or public keys of a key pair, that are trusted."""

    secret: str
    part: str


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """A locked artifact, by its name."""

    artifact: str


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A private file of this run on this machine, by the name that ports.py knows it by."""

    name: str
    sha256: str


Source = Text | SecretPart | ArtifactFile | LocalFile


@dataclass(frozen=True, slots=True)
class File:
    """A file as it should be. `mode` is octal digits, `owner` is user:group, as `stat` prints them."""

    path: str
    source: Source
    mode: str = "644"
    owner: str = "root:root"


@dataclass(frozen=True, slots=True)
class Unit:
    """A systemd unit that should run. `inputs` are the paths whose change means a restart, its own unit
    file first; `reloadable` are those of them that a reload is enough for. `recorded`: whether a process
    notes what it starts with; a timer has none, and is restarted when its files are placed anew."""

    name: str
    inputs: tuple[str, ...]
    reloadable: frozenset[str] = frozenset()
    recorded: bool = True


@dataclass(frozen=True, slots=True)
class Component:
    """A part of a node that is installed, restarted and reported as one: its files and its unit.

    `directories` are made (mode, owner, path) before the files. `after` names components of the same
    node that must be in place before this one starts. `programs` are what it needs of the distribution.
    `traces` are what the unit leaves on the node while it runs, besides its files (facts/ledger.py).
    """

    name: str
    files: tuple[File, ...]
    unit: Unit | None = None
    directories: tuple[tuple[str, str, str], ...] = ()
    after: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    traces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """A key pair and its certificate. `authority` names the issuing CA secret; '' makes a CA.

    `issuer` is the id of the CA's key to sign with (SecretFacts.keys), '' for the one in use.
    `days` is the validity; notBefore is an hour back for clocks that lag (cluster-api#4304).
    """

    secret: str
    authority: str
    common_name: str
    organizations: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    server: bool = False
    client: bool = False
    days: int = 365
    issuer: str = ""

    @property
    def is_authority(self) -> bool:
        """Whether this is a CA."""
        return not self.authority


@dataclass(frozen=True, slots=True)
class SecretRequest:
    """A secret that is not a certificate. kind: 'key-pair' (EC P-256, signs service-account tokens; parts
    'key' and 'public'), 'ssh-key' (Ed25519; parts 'key' and 'public' in OpenSSH form), 'encryption-config'
    (an EncryptionConfiguration with a new secretbox key; part 'value'), 'age-key' (an identity of age; parts
    'key' and 'public')."""

    secret: str
    kind: str


def expected_sha256(file: File, secrets: Mapping[str, SecretFacts], lock: ArtifactLock | None) -> str | None:
    """The sha256 the file should have, or None while its secret or artifact does not exist yet."""
    match file.source:
        case Text(value):
            return hashlib.sha256(value.encode()).hexdigest()
        case SecretPart(secret, part):
            facts = secrets.get(secret)
            return facts.parts.get(part) if facts else None
        case ArtifactFile(artifact):
            locked = lock.artifacts.get(artifact) if lock else None
            return locked.sha256 if locked else None
        case LocalFile(_, sha256):
            return sha256
