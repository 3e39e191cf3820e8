"""The call behind `certs`: all certificates of a cluster, kept, on nodes and on the wire. Reads only.

    found = await certificates(cluster)
    found.healthy, found.rows

Wiring only: looked at in observe/certificates.py, judged in plan/inventory.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

from cryptography import x509

from anykube.errors import AnykubeError
from anykube.facts.certificates import Sighting, Where
from anykube.facts.machines import MachineState
from anykube.observe.certificates import look_at_certificates
from anykube.observe.networks import routes
from anykube.pki.certificates import certificate_facts
from anykube.pki.kinds import Content
from anykube.plan.inventory import Inventory, inventory, ports
from anykube.session import Folders, Session
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes
from anykube.transports.base import Transport


async def certificates(cluster: Cluster, *, folders: Folders | None = None) -> Inventory:
    """Every certificate and kubeconfig. A node that does not answer is a row of its own."""
    async with Session(cluster, folders) as session:
        session.draw([route.network for route in routes()])
        contents = await asyncio.to_thread(session.secrets.contents)
        authorities = [one for content in contents.values() for one in content.authorities]
        kept = {
            name: certificate_facts(one, authorities)
            for secret, content in contents.items()
            for name, one in _named(secret, content)
        }
        if not kept:
            return Inventory(datetime.now(UTC), (), (f"{cluster.name} has no certificates yet",))
        transports, silent = await _nodes(session)
        everywhere = ports(nodes(cluster), session.addresses(), session.endpoint())
        asked = [port for port in everywhere if port.node in transports]
        looks = await look_at_certificates(transports, asked, authorities)
        seen = [sighting for look in looks.values() for sighting in look.seen]
        external = cluster.spec.security.external_authorities
        clocks = {name: look.skew for name, look in looks.items() if look.skew}
        return inventory(datetime.now(UTC), kept, [*seen, *silent], asked, clocks, external=external)


def _named(secret: str, content: Content) -> Iterator[tuple[str, x509.Certificate]]:
    """The certificates of a secret. A CA that is being rotated has several; the first one issues."""
    if content.certificate:
        yield secret, content.certificate
    for number, other in enumerate(content.authorities[1:], start=2):
        yield f"{secret} ({number})", other


async def _nodes(session: Session) -> tuple[dict[str, Transport], list[Sighting]]:
    """Connections to the nodes that run, and one sighting for each other node."""
    site = await session.provider.observe()
    transports: dict[str, Transport] = {}
    silent: list[Sighting] = []
    for node in nodes(session.cluster):
        machine = site.machines.get(node.name)
        if machine is None or machine.state is not MachineState.RUNNING:
            why = f"its machine is {machine.state}" if machine else "its machine does not exist"
            silent.append(Sighting(node.name, Where.FILE, "", trouble=why))
            continue
        try:
            transports[node.name] = session.transport(node.name)
        except AnykubeError as error:
            silent.append(Sighting(node.name, Where.FILE, "", trouble=error.brief))
    return transports, silent
