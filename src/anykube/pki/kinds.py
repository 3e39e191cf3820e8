"""What a secret's file holds, by kind, and how it is taken apart into the parts that files on nodes need.

Pure on bytes: content in, parts out, Damaged if a byte is not as it should be. pki/store.py reads and
writes the files; pki/authority.py makes new content.

A CA, a key pair and an encryption configuration are rings: one key or several, of which the first is used and
all are trusted. pki/rings.py turns them.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import yaml
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from anykube.pki.certificates import fingerprint, is_authority
from anykube.secret import Secret

CERTIFICATE = "certificate"
AUTHORITY = "authority"
"""A CA of somebody else: its certificate, without a key."""
KEY_PAIR = "key-pair"
SSH_KEY = "ssh-key"
ENCRYPTION_CONFIG = "encryption-config"
AGE_KEY = "age-key"

SECRETBOX_KEY_BYTES = 32


def _pem(label: str) -> str:
    return rf"(-----BEGIN {label}-----\n(?:[A-Za-z0-9+/]{{1,76}}={{0,2}}\n)+-----END {label}-----\n)"


# PEM readers overlook text around a block and foreign characters in it; damage must not be overlooked.
_BUNDLE = re.compile((_pem("CERTIFICATE") + _pem("PRIVATE KEY")).encode())
_CERTIFICATE_ALONE = re.compile(_pem("CERTIFICATE").encode())
_KEY = re.compile(_pem("PRIVATE KEY").encode())
_AGE_KEY = re.compile(rb"AGE-SECRET-KEY-1[A-Z0-9]{58}\n")
_SSH_KEY = re.compile(_pem("OPENSSH PRIVATE KEY").encode())


class Damaged(ValueError):
    """The content of a secret is not what its kind demands. The message never quotes it."""


@dataclass(frozen=True, slots=True)
class Content:
    """The parts of one secret, by name, and its certificate if it has one.

    ring: what it holds of each of its keys, by the key's id, the one in use first. authorities: the
    certificates of a CA, in that order.
    """

    parts: Mapping[str, Secret]
    certificate: x509.Certificate | None = None
    ring: Mapping[str, Secret] = field(default_factory=dict)
    authorities: tuple[x509.Certificate, ...] = ()


def private_pem(key: EllipticCurvePrivateKey) -> bytes:
    """A private key as PKCS8 PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def elliptic_key(pem: bytes) -> EllipticCurvePrivateKey:
    """The private key in a PKCS8 PEM; Damaged if it is of another kind."""
    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise Damaged("not an elliptic-curve key")
    return key


def _require(pattern: re.Pattern[bytes], content: bytes, what: str) -> Sequence[re.Match[bytes]]:
    """What matches the pattern, again and again, with nothing before, between or after."""
    found = list(pattern.finditer(content))
    if not found or b"".join(match[0] for match in found) != content:
        raise Damaged(f"not {what}, and nothing else")
    return found


def _certificate(content: bytes) -> Content:
    found = _require(_BUNDLE, content, "a certificate and its private key")
    certificates: list[x509.Certificate] = []
    for match in found:
        certificate = x509.load_pem_x509_certificate(match[1])
        if certificate.public_key() != elliptic_key(match[2]).public_key():
            raise Damaged("the private key is not that of the certificate")
        certificates.append(certificate)
    parts = {"certificate": Secret(found[0][1]), "key": Secret(found[0][2])}
    if not all(is_authority(certificate) for certificate in certificates):
        if len(certificates) > 1:
            raise Damaged("more than one certificate, and not all are authorities")
        return Content(parts, certificates[0])
    ids = [fingerprint(certificate) for certificate in certificates]
    # The same bytes in whatever order: which one is used is nothing to those who trust them.
    oldest_first = sorted(
        zip(certificates, ids, found, strict=True), key=lambda one: (one[0].not_valid_before_utc, one[1])
    )
    parts["bundle"] = Secret(b"".join(match[1] for _, _, match in oldest_first))
    ring = {name: Secret(match[0]) for name, match in zip(ids, found, strict=True)}
    return Content(parts, certificates[0], _without_twins(ring, found), tuple(certificates))


def _authority(content: bytes) -> Content:
    (found,) = _require(_CERTIFICATE_ALONE, content, "one certificate")
    certificate = x509.load_pem_x509_certificate(found[0])
    if not is_authority(certificate):
        raise Damaged("not the certificate of an authority")
    pem = Secret(content)
    parts = {"certificate": pem, "bundle": pem}
    return Content(parts, certificate, {fingerprint(certificate): pem}, (certificate,))


def _key_pair(content: bytes) -> Content:
    found = _require(_KEY, content, "a private key")
    publics = [_public_pem(match[0]) for match in found]
    ring = {hashlib.sha256(pem).hexdigest(): Secret(m[0]) for pem, m in zip(publics, found, strict=True)}
    parts = {"key": found[0][0], "public": publics[0], "bundle": b"".join(sorted(publics))}
    return Content({name: Secret(value) for name, value in parts.items()}, ring=_without_twins(ring, found))


def _public_pem(key_pem: bytes) -> bytes:
    public = elliptic_key(key_pem).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _without_twins(ring: Mapping[str, Secret], found: Sequence[object]) -> Mapping[str, Secret]:
    if len(ring) != len(found):
        raise Damaged("it holds the same key twice")
    return ring


def _ssh_key(content: bytes) -> Content:
    _require(_SSH_KEY, content, "a private key of OpenSSH")
    key = load_ssh_private_key(content, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise Damaged("not an Ed25519 key")
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return Content({"key": Secret(content), "public": Secret(line + b"\n")})


def encryption_document(keys: Sequence[Mapping[str, str]]) -> bytes:
    """The configuration of API servers that write with the first of these keys, and read with all."""
    document = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [
            {
                "resources": ["secrets"],
                "providers": [{"secretbox": {"keys": [dict(key) for key in keys]}}, {"identity": {}}],
            }
        ],
    }
    return yaml.safe_dump(document, sort_keys=False).encode()


def _encryption_keys(content: bytes) -> Sequence[Mapping[str, str]]:
    document = yaml.safe_load(content)
    if document["kind"] != "EncryptionConfiguration":
        raise Damaged("not an EncryptionConfiguration")
    secretbox, identity = document["resources"][0]["providers"]
    if identity != {"identity": {}}:
        raise Damaged("the provider for secrets that are not encrypted yet is missing")
    keys: Sequence[Mapping[str, str]] = secretbox["secretbox"]["keys"]
    sizes = [len(base64.b64decode(key["secret"], validate=True)) for key in keys]
    if not sizes or any(size != SECRETBOX_KEY_BYTES for size in sizes):
        raise Damaged("a secretbox key does not have 32 bytes")
    return keys


def _encryption_config(content: bytes) -> Content:
    keys = _encryption_keys(content)
    ring = {str(key["name"]): Secret(encryption_document([key])) for key in keys}
    return Content({"value": Secret(content)}, ring=_without_twins(ring, keys))


def _age_key(content: bytes) -> Content:
    import pyrage  # only here, so that commands without backups start without it

    _require(_AGE_KEY, content, "an identity of age")
    try:
        public = str(pyrage.x25519.Identity.from_str(content.decode().strip()).to_public())
    except pyrage.IdentityError as error:
        raise Damaged("not an identity of age") from error
    return Content({"key": Secret(content), "public": Secret(public.encode() + b"\n")})


_PARSERS: Mapping[str, Callable[[bytes], Content]] = {
    CERTIFICATE: _certificate,
    AUTHORITY: _authority,
    KEY_PAIR: _key_pair,
    SSH_KEY: _ssh_key,
    ENCRYPTION_CONFIG: _encryption_config,
    AGE_KEY: _age_key,
}

KINDS = frozenset(_PARSERS)


def parse(kind: str, content: bytes) -> Content:
    """Take the content of a secret apart; Damaged says what is wrong with it."""
    try:
        return _PARSERS[kind](content)
    except Damaged:
        raise
    except (ValueError, TypeError, LookupError, yaml.YAMLError, UnsupportedAlgorithm):
        # Not chained: a parser's message may quote what it read.
        raise Damaged("it cannot be parsed") from None


def joined(kind: str, ring: Sequence[Secret]) -> Secret:
    """The content of a secret with these keys, each as `Content.ring` has it, the one to be used first."""
    contents = [one.reveal() for one in ring]
    if kind == ENCRYPTION_CONFIG:
        return Secret(encryption_document([key for content in contents for key in _encryption_keys(content)]))
    return Secret(b"".join(contents))
