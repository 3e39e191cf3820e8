"""Which secrets exist and what can be said of them without showing them. Made by pki/store.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

AUTHORITY_NOTICE = timedelta(days=365)
"""What a CA issues is valid for so long, and must not outlive it: by then it should have a successor."""


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """A certificate. `issuer` is the sha256 of the issuing CA certificate (DER, hex), '' for a stranger's;
    `issued_by` is the name that it gives its issuer."""

    common_name: str
    organizations: tuple[str, ...]
    dns_names: tuple[str, ...]
    addresses: tuple[str, ...]
    server: bool
    client: bool
    authority: bool
    not_before: datetime
    not_after: datetime
    issuer: str
    fingerprint: str
    issued_by: str = ""

    @property
    def due(self) -> datetime:
        """When it should be made anew: with a third of its validity left, a CA not before its last year."""
        third = (self.not_after - self.not_before) / 3
        return self.not_after - (min(third, AUTHORITY_NOTICE) if self.authority else third)


@dataclass(frozen=True, slots=True)
class SecretFacts:
    """One secret. `parts` maps a part ('certificate', 'key', 'public', 'bundle', 'value') to its sha256.

    `keys` are the ids of the keys of a CA, a key pair or an encryption configuration: the first is used, all
    are trusted. A CA's id is its fingerprint.
    """

    name: str
    parts: Mapping[str, str] = field(default_factory=dict)
    certificate: CertificateFacts | None = None
    keys: tuple[str, ...] = ()
