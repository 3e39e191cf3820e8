"""Certificates on nodes and on the wire: one round trip a host for its files, a connection a port. I/O.

Reads only. What cannot be seen is a sighting too, with the reason. Ports are reached through the host's own
SSH connection: none needs to be open to us.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cryptography import x509

from anykube.errors import AnykubeError, CommandError
from anykube.facts.certificates import FoundFile, HostCertificates, Sighting, Where, named_by, parse, script
from anykube.pki.certificates import certificate_facts
from anykube.plan.inventory import Port
from anykube.spec.endpoint import LOOPBACK
from anykube.transports.base import Transport
from anykube.transports.served import shown_certificate

SECONDS = 30.0
SERVER_NAME = "kubernetes"


@dataclass(frozen=True, slots=True)
class HostSightings:
    """What was seen on one host. `skew`: by how many seconds its clock differs from ours, None if unknown."""

    seen: tuple[Sighting, ...]
    skew: float | None = None


async def look_at_certificates(
    transports: Mapping[str, Transport], ports: Sequence[Port], authorities: Sequence[x509.Certificate]
) -> Mapping[str, HostSightings]:
    """All certificates of all these hosts, by host. `authorities` are those whose work is known as ours."""
    looks = [
        _host(transport, [port for port in ports if port.node == name], authorities)
        for name, transport in transports.items()
    ]
    return dict(zip(transports, await asyncio.gather(*looks), strict=True))


async def _host(
    transport: Transport, ports: Sequence[Port], authorities: Sequence[x509.Certificate]
) -> HostSightings:
    async with asyncio.TaskGroup() as group:
        listing = group.create_task(_files(transport, authorities))
        looking = [group.create_task(_port(transport, port, authorities)) for port in ports]
    files = listing.result()
    return HostSightings((*files.seen, *(look.result() for look in looking)), files.skew)


async def _files(transport: Transport, authorities: Sequence[x509.Certificate]) -> HostSightings:
    before = time.time()
    try:
        result = await transport.run(script(), seconds=SECONDS)
        if result.status:
            raise CommandError(transport.name, "listing certificates", result.status, result.stderr)
        found = parse(transport.name, result.stdout)
    except AnykubeError as error:
        why = " ".join((error.brief, *error.evidence[:1]))
        return HostSightings((Sighting(transport.name, Where.FILE, "", trouble=why),))
    return HostSightings(tuple(_sightings(transport.name, found, authorities)), _skew(found, before))


def _skew(found: HostCertificates, before: float) -> float:
    """Nothing while the host's clock is between ours before and after it was asked."""
    return min(0.0, found.clock + 1 - before) or max(0.0, found.clock - time.time())


def _sightings(
    node: str, found: HostCertificates, authorities: Sequence[x509.Certificate]
) -> Iterator[Sighting]:
    named = named_by(found.files)
    for file in found.files:
        for pem in (*file.certificates, *named.get(file.path, ())):
            yield _read(node, file, pem, authorities)


def _read(node: str, file: FoundFile, pem: str, authorities: Sequence[x509.Certificate]) -> Sighting:
    try:
        facts = certificate_facts(x509.load_pem_x509_certificate(pem.encode()), authorities)
    except ValueError:
        return Sighting(node, file.where, file.path, trouble="a certificate in it cannot be read")
    return Sighting(node, file.where, file.path, facts)


async def _port(transport: Transport, port: Port, authorities: Sequence[x509.Certificate]) -> Sighting:
    try:
        name = SERVER_NAME if port.address == LOOPBACK else port.node
        shown = await shown_certificate(transport, port.address, port.port, name)
        facts = certificate_facts(x509.load_der_x509_certificate(shown), authorities)
    except AnykubeError as error:
        why = " ".join((error.brief, *error.evidence[:1]))
        return Sighting(port.node, Where.PORT, port.place, trouble=why)
    except ValueError:
        return Sighting(port.node, Where.PORT, port.place, trouble="what it shows is no certificate")
    return Sighting(port.node, Where.PORT, port.place, facts)
