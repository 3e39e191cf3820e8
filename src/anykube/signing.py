"""The calls behind `certs requests` and `certs import`: authorities of somebody else sign for a cluster.

They stand before workflow.py, whose checks they share. plan/certificates.py says which certificates are
wanting, pki/external.py writes requests and checks what comes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from anykube.content.certificates import certificate_requests
from anykube.content.model import CertificateRequest
from anykube.errors import UsageError
from anykube.observe.networks import routes
from anykube.pki.external import import_certificates, write_requests
from anykube.plan.certificates import wanting
from anykube.plan.contexts import endpoint
from anykube.plan.renewal import selected
from anykube.session import Folders, Session
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes
from anykube.state.record import new_record
from anykube.workflow import validate


async def request_certificates(
    cluster: Cluster,
    folder: Path,
    names: Collection[str] = (),
    *,
    everything: bool = False,
    text: str = "",
    source: str = "",
    folders: Folders | None = None,
) -> tuple[str, ...]:
    """Write requests for the certificates that are missing, wrong or due, or for those named; their names.

    The addresses that they name are noted in the record: a later apply keeps them.
    """
    async with Session(cluster, folders) as session, session.lock(f"request certificates of {cluster.name}"):
        _refuse_own(cluster)
        if not session.known:
            validate(cluster, text=text, source=source, folders=folders)
        session.record = session.records.load() or session.records.save(new_record(cluster.name))
        requests = _requests(session)
        known = await asyncio.to_thread(session.secrets.facts)
        now = datetime.now(UTC)
        if names or everything:
            chosen = selected(requests, known, now, names, everything=everything)
        else:
            chosen = frozenset(wanting(requests, known, now, due=True))
        record, blueprint = session.record, session.blueprint
        addresses = {**record.addresses, **blueprint.addresses}
        session.record = session.records.save(
            replace(record, site=dict(blueprint.choices), addresses=addresses)
        )
        asked = [request for request in requests if request.secret in chosen and not request.is_authority]
        if asked:
            await asyncio.to_thread(write_requests, session.secrets, folder, asked)
        return tuple(request.secret for request in asked)


async def take_certificates(
    cluster: Cluster, folder: Path, *, folders: Folders | None = None
) -> tuple[str, ...]:
    """Take signed certificates over, and the authorities; their names. StateError with all that is wrong."""
    async with Session(cluster, folders) as session, session.lock(f"import certificates of {cluster.name}"):
        _refuse_own(cluster)
        session.record = session.records.load() or session.record
        requests = _requests(session)
        now = datetime.now(UTC)
        return await asyncio.to_thread(import_certificates, session.secrets, folder, requests, now)


def _requests(session: Session) -> tuple[CertificateRequest, ...]:
    blueprint = session.draw([route.network for route in routes()])
    api = endpoint(session.cluster, blueprint)
    return certificate_requests(session.cluster, nodes(session.cluster), blueprint.addresses, api)


def _refuse_own(cluster: Cluster) -> None:
    if not cluster.spec.security.external_authorities:
        raise UsageError(
            f"{cluster.name} has authorities of its own; anykube signs its certificates.",
            remedy="for authorities of yours set security.externalAuthorities: true before the first apply",
        )
