"""Issues certificates and makes keys, as the plan requests them, into the secret store.

Usages follow kubeadm: elliptic-curve leaf keys sign and nothing else, authorities sign certificates. What
exists is safe here: the store takes an authority or a key only once, even if it was lost.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from anykube.content.model import CertificateRequest, SecretRequest
from anykube.errors import StateError
from anykube.pki import kinds
from anykube.pki.certificates import is_authority
from anykube.pki.store import SecretStore
from anykube.secret import Secret

BACKDATED = timedelta(hours=1)
"""How far notBefore lies back, for nodes whose clock lags (cluster-api#4304)."""
COMMON_NAME_LIMIT = 64


def issue(store: SecretStore, requests: Sequence[CertificateRequest], now: datetime) -> None:
    """Issue these certificates with new keys, in this order; leaf certificates that exist are replaced."""
    for request in requests:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _authority(request, key, now) if request.is_authority else _leaf(store, request, key, now)
        )
        bundle = certificate.public_bytes(Encoding.PEM) + kinds.private_pem(key)
        store.put(request.secret, kinds.CERTIFICATE, Secret(bundle), replace=not request.is_authority)


def new_key(kind: str, request: CertificateRequest | SecretRequest, now: datetime) -> Secret:
    """What a ring (pki/kinds.py) holds of one more key, just made."""
    if isinstance(request, CertificateRequest):
        key = ec.generate_private_key(ec.SECP256R1())
        return Secret(_authority(request, key, now).public_bytes(Encoding.PEM) + kinds.private_pem(key))
    return Secret(_encryption_config() if kind == kinds.ENCRYPTION_CONFIG else _key_pair())


def generate(store: SecretStore, requests: Sequence[SecretRequest]) -> None:
    """Make these secrets. One that exists stays as it is."""
    makers = {
        kinds.KEY_PAIR: _key_pair,
        kinds.SSH_KEY: _ssh_key,
        kinds.ENCRYPTION_CONFIG: _encryption_config,
        kinds.AGE_KEY: _age_key,
    }
    for request in requests:
        if request.kind not in makers:
            raise StateError(
                f"The secret {request.secret} is of a kind that cannot be made: {request.kind!r}."
            )
        if store.kind(request.secret) != request.kind:
            store.put(request.secret, request.kind, Secret(makers[request.kind]()))


def _authority(
    request: CertificateRequest, key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.Certificate:
    name = subject(request)
    public = key.public_key()
    builder = (
        _builder(name, name, public, now, now + timedelta(days=request.days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(authority=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )
    return builder.sign(key, SHA256())


def _leaf(
    store: SecretStore, request: CertificateRequest, key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.Certificate:
    authority, authority_key = _signer(store, request, now)
    # Longer than its authority, a certificate would look good in `status` and be refused by every peer.
    end = min(now + timedelta(days=request.days), authority.not_valid_after_utc)
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        _builder(subject(request), authority.subject, key.public_key(), now, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(authority=False), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
    )
    usages = extended_usages(request)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    names = alternative_names(request)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(authority_key, SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _signer(
    store: SecretStore, request: CertificateRequest, now: datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    content = store.content(request.authority)
    if content is None or content.certificate is None or not is_authority(content.certificate):
        raise StateError(
            f"The certificate {request.secret} cannot be issued: {request.authority} is no authority here."
        )
    chosen = content.ring.get(request.issuer)
    signer = kinds.parse(kinds.CERTIFICATE, chosen.reveal()) if chosen else content
    authority = signer.certificate or content.certificate
    if not authority.not_valid_before_utc <= now < authority.not_valid_after_utc:
        raise StateError(
            f"The certificate {request.secret} cannot be issued: {request.authority} is not valid now.",
            evidence=[
                f"valid from {authority.not_valid_before_utc:%Y-%m-%d %H:%M} "
                f"to {authority.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
                f"this machine says {now:%Y-%m-%d %H:%M} UTC",
            ],
            remedy="Check this machine's clock (timedatectl). If it is right, the authority must be rotated.",
        )
    return authority, kinds.elliptic_key(signer.parts["key"].reveal())


def subject(request: CertificateRequest) -> x509.Name:
    """Who the certificate is for. StateError for a name that a certificate cannot hold."""
    names = (request.common_name, *request.organizations)
    if any(not 0 < len(name) <= COMMON_NAME_LIMIT for name in names):
        raise StateError(
            f"The certificate {request.secret} cannot be issued: a name in its subject has more than "
            f"{COMMON_NAME_LIMIT} characters, or none.",
            evidence=names,
            remedy="Give the cluster, the pool or the host a shorter name.",
        )
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in request.organizations]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, request.common_name)])


def alternative_names(request: CertificateRequest) -> list[x509.GeneralName]:
    """DNS names first, then addresses."""
    return [
        *(x509.DNSName(name) for name in request.dns_names),
        *(x509.IPAddress(ip_address(address)) for address in request.addresses),
    ]


def extended_usages(request: CertificateRequest) -> list[x509.ObjectIdentifier]:
    """As a server, as a client, or as both."""
    wanted = {
        ExtendedKeyUsageOID.SERVER_AUTH: request.server,
        ExtendedKeyUsageOID.CLIENT_AUTH: request.client,
    }
    return [usage for usage, asked in wanted.items() if asked]


def key_usage(*, authority: bool) -> x509.KeyUsage:
    """What the key may do: an authority's also sign certificates."""
    # No keyEncipherment: that is RSA key transport, which an elliptic-curve key cannot do.
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pair() -> bytes:
    return kinds.private_pem(ec.generate_private_key(ec.SECP256R1()))


def _ssh_key() -> bytes:
    key = ed25519.Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def _encryption_config() -> bytes:
    # The name is stored with every encrypted value: it must differ from any later key's.
    name = f"key-{datetime.now(UTC):%Y-%m-%d-%H%M%S-%f}"
    secret = base64.b64encode(os.urandom(kinds.SECRETBOX_KEY_BYTES)).decode()
    return kinds.encryption_document([{"name": name, "secret": secret}])


def _age_key() -> bytes:
    import pyrage

    return f"{pyrage.x25519.Identity.generate()}\n".encode()
