"""What a certificate says, as facts: read once, compared by the planner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from anykube.facts.secrets import CertificateFacts

ExtensionValue = TypeVar("ExtensionValue", bound=x509.ExtensionType)


def certificate_facts(
    certificate: x509.Certificate, authorities: Sequence[x509.Certificate]
) -> CertificateFacts:
    """The facts of a certificate. Its issuer is looked for among `authorities`; '' if it is none of them."""
    extensions = certificate.extensions
    names = _extension(extensions, x509.SubjectAlternativeName)
    usages = _extension(extensions, x509.ExtendedKeyUsage) or ()
    issuer = find_issuer(certificate, authorities)
    return CertificateFacts(
        common_name="".join(_names(certificate.subject, NameOID.COMMON_NAME)),
        organizations=_names(certificate.subject, NameOID.ORGANIZATION_NAME),
        dns_names=tuple(names.get_values_for_type(x509.DNSName)) if names else (),
        addresses=tuple(str(address) for address in names.get_values_for_type(x509.IPAddress))
        if names
        else (),
        server=ExtendedKeyUsageOID.SERVER_AUTH in usages,
        client=ExtendedKeyUsageOID.CLIENT_AUTH in usages,
        authority=is_authority(certificate),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        issuer=fingerprint(issuer) if issuer else "",
        fingerprint=fingerprint(certificate),
        issued_by="".join(_names(certificate.issuer, NameOID.COMMON_NAME)),
    )


def fingerprint(certificate: x509.Certificate) -> str:
    """The sha256 of the certificate's DER form, in hex."""
    return certificate.fingerprint(SHA256()).hex()


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether the certificate may issue others."""
    constraints = _extension(certificate.extensions, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def find_issuer(
    certificate: x509.Certificate, authorities: Sequence[x509.Certificate]
) -> x509.Certificate | None:
    """The authority that signed this certificate. Names and key ids may lie, so the signature decides."""
    for authority in authorities:
        try:
            certificate.verify_directly_issued_by(authority)
        except (InvalidSignature, ValueError, TypeError):
            continue
        return authority
    return None


def _names(name: x509.Name, oid: x509.ObjectIdentifier) -> tuple[str, ...]:
    return tuple(str(attribute.value) for attribute in name.get_attributes_for_oid(oid))


def _extension(extensions: x509.Extensions, kind: type[ExtensionValue]) -> ExtensionValue | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
