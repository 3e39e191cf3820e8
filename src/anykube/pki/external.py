"""Authorities of somebody else: requests for certificates go out as files, signed certificates come back.

The keys are made here and stay here, as `requests/<name>` until their certificate has come. A folder holds
`<name>.csr` and, once signed, `<name>.crt`; `ca/<name>.crt` are the three authorities; `requests.json` says
who is to sign what. Nothing that comes back is believed: `check` tells all that is wrong with it at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from anykube.content.model import CertificateRequest
from anykube.errors import StateError
from anykube.facts.secrets import CertificateFacts
from anykube.pki import kinds
from anykube.pki.authority import alternative_names, extended_usages, key_usage, subject
from anykube.pki.certificates import certificate_facts, find_issuer, fingerprint, is_authority
from anykube.pki.store import SecretStore
from anykube.secret import Secret
from anykube.state.files import write_file

PENDING = "requests/"
INDEX = "requests.json"
FILE_LIMIT = 64 * 1024


def write_requests(store: SecretStore, folder: Path, requests: Sequence[CertificateRequest]) -> None:
    """One PEM request a certificate, and the index. A key that waits for its certificate is used again."""
    for request in requests:
        if store.kind(PENDING + request.secret) is None:
            made = Secret(kinds.private_pem(ec.generate_private_key(ec.SECP256R1())))
            # `replace`: it is not for good, and not missed once its certificate has come.
            store.put(PENDING + request.secret, kinds.KEY_PAIR, made, replace=True)
        key = kinds.elliptic_key(store.part(PENDING + request.secret, "key").reveal())
        builder = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(subject(request))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(extended_usages(request)), critical=False)
        )
        if names := alternative_names(request):
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        path = folder / f"{request.secret}.csr"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, builder.sign(key, SHA256()).public_bytes(Encoding.PEM), replace=True)
    index = [_entry(request) for request in requests]
    write_file(folder / INDEX, json.dumps(index, indent=2).encode() + b"\n", replace=True)


def _entry(request: CertificateRequest) -> dict[str, object]:
    """What whoever signs should know without opening the request."""
    usages = {"serverAuth": request.server, "clientAuth": request.client}
    return {
        "request": f"{request.secret}.csr",
        "certificate": f"{request.secret}.crt",
        "authority": f"{request.authority}.crt",
        "commonName": request.common_name,
        "organizations": list(request.organizations),
        "names": [*request.dns_names, *request.addresses],
        "usages": [usage for usage, wanted in usages.items() if wanted],
        "days": request.days,
    }


def import_certificates(
    store: SecretStore, folder: Path, requests: Sequence[CertificateRequest], now: datetime
) -> tuple[str, ...]:
    """Take over the authorities and every certificate that was asked for; their names. All or nothing:
    StateError with all that is wrong. `requests` are all certificates of the cluster."""
    problems: list[str] = []
    authorities = _authorities(store, folder, requests, now, problems)
    waiting = [request for request in requests if store.kind(PENDING + request.secret)]
    signed = {request.secret: _read(folder, request.secret, problems) for request in waiting}
    for request in waiting:
        if certificate := signed[request.secret]:
            issuer = authorities.get(request.authority)
            found = check(request, certificate, _public_key(store, request), issuer, now)
            problems += [f"{request.secret}.crt: {problem}" for problem in found]
    if problems:
        raise StateError(
            f"{len(problems)} things are wrong with the certificates in {folder}; none was taken.",
            evidence=problems,
            remedy="have these signed again as their requests say, then import again",
        )
    for name, certificate in authorities.items():
        if store.kind(name) is None:
            store.put(name, kinds.AUTHORITY, Secret(certificate.public_bytes(Encoding.PEM)))
    for request in waiting:
        if certificate := signed[request.secret]:
            key = store.part(PENDING + request.secret, "key").reveal()
            bundle = Secret(certificate.public_bytes(Encoding.PEM) + key)
            store.put(request.secret, kinds.CERTIFICATE, bundle, replace=True)
            store.discard(PENDING + request.secret)
    return tuple(request.secret for request in waiting)


def check(
    request: CertificateRequest,
    certificate: x509.Certificate,
    key: object,
    issuer: x509.Certificate | None,
    now: datetime,
) -> Iterator[str]:
    """What is wrong with a signed certificate. More usages than were asked for are fine, names are not."""
    if certificate.public_key() != key:
        yield "is for another key than the request"
    found = certificate_facts(certificate, [issuer] if issuer else [])
    if (found.common_name, set(found.organizations)) != (request.common_name, set(request.organizations)):
        wanted = ", ".join((request.common_name, *(f"O={name}" for name in request.organizations)))
        yield f"has another subject than {wanted}"
    yield from _names(request, found)
    if found.authority:
        yield "is that of an authority"
    missing = [
        usage
        for usage, wanted, there in (
            ("serverAuth", request.server, found.server),
            ("clientAuth", request.client, found.client),
        )
        if wanted and not there
    ]
    if missing:
        yield f"lacks the usage {' and '.join(missing)}"
    if issuer and not found.issuer:
        yield f"is not signed by {request.authority}.crt"
    yield from _dates(found.not_before, found.not_after, now)
    if issuer and found.not_after > issuer.not_valid_after_utc:
        yield f"ends after {request.authority}.crt does"


def _names(request: CertificateRequest, found: CertificateFacts) -> Iterator[str]:
    wanted = {*request.dns_names, *request.addresses}
    there = {*found.dns_names, *found.addresses}
    if missing := sorted(wanted - there):
        yield f"lacks the names {', '.join(missing)}"
    if more := sorted(there - wanted):
        yield f"has names that were not asked for: {', '.join(more)}"


def _dates(start: datetime, end: datetime, now: datetime) -> Iterator[str]:
    if now < start:
        yield f"is not valid before {start:%Y-%m-%d %H:%M} UTC"
    if now >= end:
        yield f"ended on {end:%Y-%m-%d %H:%M} UTC"


def _authorities(
    store: SecretStore,
    folder: Path,
    requests: Sequence[CertificateRequest],
    now: datetime,
    problems: list[str],
) -> Mapping[str, x509.Certificate]:
    """The authorities by their secret: from the folder, or those that are kept already."""
    found: dict[str, x509.Certificate] = {}
    for request in (request for request in requests if request.is_authority):
        name = request.secret
        content = store.content(name)
        kept = content.certificate if content else None
        given = _read(folder, name, problems) if kept is None or (folder / f"{name}.crt").exists() else kept
        if given is None:
            continue
        if kept is not None and fingerprint(kept) != fingerprint(given):
            problems.append(f"{name}.crt: is another authority than the one that the cluster uses")
        if not is_authority(given) or find_issuer(given, [given]) is None:
            problems.append(f"{name}.crt: is not the self-signed certificate of an authority")
        dates = _dates(given.not_valid_before_utc, given.not_valid_after_utc, now)
        problems += [f"{name}.crt: {problem}" for problem in dates]
        found[name] = given
    if len({fingerprint(one) for one in found.values()}) < len(found):
        problems.append("ca/*.crt: are not all different; who may ask the API could then also write to etcd")
    return found


def _read(folder: Path, name: str, problems: list[str]) -> x509.Certificate | None:
    """The one certificate in a file of the folder."""
    path = folder / f"{name}.crt"
    try:
        with path.open("rb") as file:
            certificates = x509.load_pem_x509_certificates(file.read(FILE_LIMIT))
    except FileNotFoundError:
        problems.append(f"{name}.crt: is not there")
    except OSError as error:
        problems.append(f"{name}.crt: cannot be read ({error.strerror})")
    except (ValueError, UnsupportedAlgorithm):
        problems.append(f"{name}.crt: is no certificate in PEM form")
    else:
        if len(certificates) == 1:
            return certificates[0]
        problems.append(f"{name}.crt: holds {len(certificates)} certificates, must hold one")
    return None


def _public_key(store: SecretStore, request: CertificateRequest) -> object:
    return kinds.elliptic_key(store.part(PENDING + request.secret, "key").reveal()).public_key()
