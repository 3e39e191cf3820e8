"""Which secrets exist and what can be said of them without showing them. Made by pki/store.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """The certificate of a secret. `issuer` is the sha256 of the issuing CA certificate (DER, hex)."""

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


@dataclass(frozen=True, slots=True)
class SecretFacts:
    """One secret. `parts` maps a part's name ('certificate', 'key', 'public', 'value') to its sha256."""

    name: str
    parts: Mapping[str, str] = field(default_factory=dict)
    certificate: CertificateFacts | None = None
