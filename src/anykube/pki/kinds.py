"""What a secret's file holds, by kind, and how it is taken apart into the parts that files on nodes need.

Pure on bytes: content in, parts out, Damaged if a byte is not as it should be. pki/store.py reads and
writes the files; pki/authority.py makes new content.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

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

from anykube.secret import Secret

CERTIFICATE = "certificate"
KEY_PAIR = "key-pair"
SSH_KEY = "ssh-key"
ENCRYPTION_CONFIG = "encryption-config"

SECRETBOX_KEY_BYTES = 32


def _pem(label: str) -> str:
    return rf"(-----BEGIN {label}-----\n(?:[A-Za-z0-9+/]{{1,76}}={{0,2}}\n)+-----END {label}-----\n)"


# PEM readers overlook text around a block and foreign characters in it; damage must not be overlooked.
_BUNDLE = re.compile((_pem("CERTIFICATE") + _pem("PRIVATE KEY")).encode())
_KEY = re.compile(_pem("PRIVATE KEY").encode())
_SSH_KEY = re.compile(_pem("OPENSSH PRIVATE KEY").encode())


class Damaged(ValueError):
    """The content of a secret is not what its kind demands. The message never quotes it."""


@dataclass(frozen=True, slots=True)
class Content:
    """The parts of one secret, by name, and its certificate if it has one."""

    parts: Mapping[str, Secret]
    certificate: x509.Certificate | None = None


def private_pem(key: EllipticCurvePrivateKey) -> bytes:
    """A private key as PKCS8 PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def elliptic_key(pem: bytes) -> EllipticCurvePrivateKey:
    """The private key in a PKCS8 PEM; Damaged if it is of another kind."""
    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise Damaged("not an elliptic-curve key")
    return key


def _require(pattern: re.Pattern[bytes], content: bytes, what: str) -> re.Match[bytes]:
    match = pattern.fullmatch(content)
    if match is None:
        raise Damaged(f"not {what}, and nothing else")
    return match


def _certificate(content: bytes) -> Content:
    certificate_pem, key_pem = _require(_BUNDLE, content, "a certificate and its private key").groups()
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    if certificate.public_key() != elliptic_key(key_pem).public_key():
        raise Damaged("the private key is not that of the certificate")
    return Content({"certificate": Secret(certificate_pem), "key": Secret(key_pem)}, certificate)


def _key_pair(content: bytes) -> Content:
    _require(_KEY, content, "a private key")
    public = elliptic_key(content).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return Content({"key": Secret(content), "public": Secret(pem)})


def _ssh_key(content: bytes) -> Content:
    _require(_SSH_KEY, content, "a private key of OpenSSH")
    key = load_ssh_private_key(content, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise Damaged("not an Ed25519 key")
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return Content({"key": Secret(content), "public": Secret(line + b"\n")})


def _encryption_config(content: bytes) -> Content:
    document = yaml.safe_load(content)
    if document["kind"] != "EncryptionConfiguration":
        raise Damaged("not an EncryptionConfiguration")
    secretbox, identity = document["resources"][0]["providers"]
    if identity != {"identity": {}}:
        raise Damaged("the provider for secrets that are not encrypted yet is missing")
    keys = secretbox["secretbox"]["keys"]
    sizes = [len(base64.b64decode(key["secret"], validate=True)) for key in keys]
    if not sizes or any(size != SECRETBOX_KEY_BYTES for size in sizes):
        raise Damaged("a secretbox key does not have 32 bytes")
    return Content({"value": Secret(content)})


_PARSERS: Mapping[str, Callable[[bytes], Content]] = {
    CERTIFICATE: _certificate,
    KEY_PAIR: _key_pair,
    SSH_KEY: _ssh_key,
    ENCRYPTION_CONFIG: _encryption_config,
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
