"""Certificates and keys of nobody in particular, for tests that look at them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from anykube.pki.kinds import private_pem

KEY = ec.generate_private_key(ec.SECP256R1())
KEY_PEM = private_pem(KEY).decode()


@cache
def pem(name: str, days: float = 1) -> str:
    """A self-signed certificate."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + timedelta(days=days))
        .sign(KEY, SHA256())
    )
    return made.public_bytes(Encoding.PEM).decode()
