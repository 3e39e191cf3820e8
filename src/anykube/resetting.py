"""The calls behind `reset`: a machine is given back, by its node, or by its address when no record is left.

It stands before workflow.py as recovery.py does; run.py does the work on a cluster that is known here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from anykube.content.model import Source
from anykube.errors import PlanError, UsageError
from anykube.events import PhaseDone, PhaseStarted, Sink, nowhere
from anykube.execute.engine import StopFlag
from anykube.execute.node import NodeHand
from anykube.facts.host import HostFacts, Unreachable
from anykube.observe.hosts import probe_hosts
from anykube.plan.leave import DRAIN_SECONDS
from anykube.plan.model import Phase, Plan
from anykube.plan.reset import plan_clean, plan_reset
from anykube.run import Report, Run, observe_cluster
from anykube.secret import Secret
from anykube.session import Folders, Session
from anykube.spec.model import Cluster
from anykube.state.clusters import clusters, folder
from anykube.state.journal import start_run
from anykube.state.record import RecordStore
from anykube.transports.base import Endpoint, Transport

Approve = Callable[[Plan], bool]


async def reset(  # noqa: PLR0913  all but two by name
    cluster: Cluster,
    node: str,
    *,
    force: bool = False,
    lineage: str = "",
    approve: Approve,
    emit: Sink = nowhere,
    stop: StopFlag | None = None,
    folders: Folders | None = None,
    drain_seconds: float = DRAIN_SECONDS,
) -> Report:
    """Drain a node, take it out of etcd and the cluster, and clean its machine, which stays.

    `force`: clean only. Without a record here the machine is cleaned too, if its `lineage` is named.
    PlanError if it cannot be reached or may not leave. Run again, it finishes; then nothing is left to do.
    """
    async with Session(cluster, folders) as session, session.lock(f"reset {node}"):
        session.record = session.records.load() or session.record
        session.replacing = frozenset({node})
        facts = await observe_cluster(session)
        if not session.known:
            found = await _probe(session.transport(node))
            return await _clean(session.transport(node), found, lineage, approve, emit)
        if node not in session.addresses():
            known = ", ".join(sorted(session.addresses()))
            raise UsageError(f"{cluster.name} has no node {node[:60]!r}.", remedy=f"nodes: {known}")
        made = plan_reset(
            cluster, node, facts, session.record, session.blueprint, force=force, seconds=drain_seconds
        )
        if made.empty or not approve(made):
            return Report(made, approved=made.empty)
        session.record = session.records.next_epoch()
        with start_run(session.folder, datetime.now(UTC)) as journal:
            run = Run(session, journal, emit, stop or StopFlag())
            return await run.remove(made, f"anykube reset {node}, as before")


async def reset_machine(
    endpoint: Endpoint,
    key: Path,
    *,
    lineage: str = "",
    approve: Approve,
    emit: Sink = nowhere,
    folders: Folders | None = None,
) -> Report:
    """Clean a machine of which nothing is known here, as its own ledger says. `lineage`: whose it is.

    PlanError if it is another's, or that of a cluster that is known here.
    """
    state = (folders or Folders()).state
    try:
        secret = Secret(await asyncio.to_thread(key.read_bytes))
    except OSError as error:
        raise UsageError(
            f"The SSH key {key} cannot be read: {error.strerror}.", remedy="--key FILE"
        ) from error
    transport = Session.doors.node(endpoint, secret)
    try:
        host = await _probe(transport)
        if isinstance(host, HostFacts) and (owner := _known(state, host.ledger.lineage)):
            raise PlanError(
                f"The machine at {endpoint.address} is a node of {owner}, which is known here.",
                remedy=f"let it leave: anykube reset NODE -c {owner}",
            )
        return await _clean(transport, host, lineage, approve, emit)
    finally:
        await transport.close()


async def _probe(transport: Transport) -> HostFacts | Unreachable:
    return (await probe_hosts({transport.name: transport}, (), ()))[transport.name]


async def _clean(
    transport: Transport, host: HostFacts | Unreachable, lineage: str, approve: Approve, emit: Sink
) -> Report:
    """The one step, without a record: fenced by what the machine itself knows of its last run."""
    made = plan_clean(host, lineage)
    if made.empty or not approve(made) or not isinstance(host, HostFacts):
        return Report(made, approved=made.empty)
    began = time.monotonic()
    emit(PhaseStarted(Phase.REMOVE, 1))
    await NodeHand(transport, lineage, host.ledger.epoch + 1, _no_files).clean()
    emit(PhaseDone(Phase.REMOVE, time.monotonic() - began, 1))
    return Report(made, done=1)


def _no_files(source: Source) -> tuple[bytes | Path, str]:
    raise PlanError(f"{source} is not needed to clean a machine; this is a defect of anykube.")


def _known(state: Path, lineage: str) -> str:
    """The cluster here that has this lineage, or ''."""
    records = {name: RecordStore(folder(state, name)).load() for name in clusters(state)}
    return next((name for name, record in records.items() if record and record.lineage == lineage), "")
