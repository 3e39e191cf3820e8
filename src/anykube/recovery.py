"""The call behind `recover`: an etcd that lost its quorum begins anew, then everything goes on as with apply.

It stands before workflow.py, whose begin it shares; run.py does the work.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime

from anykube.errors import StateError, UsageError
from anykube.events import Sink, nowhere
from anykube.execute.engine import StopFlag
from anykube.facts.cluster import Facts
from anykube.facts.election import doubtful
from anykube.observe.snapshot import look_at_snapshot
from anykube.plan.model import Plan
from anykube.plan.recover import plan_recover
from anykube.plan.recoverable import Recovery
from anykube.run import Report, Run, observe_cluster
from anykube.session import Folders, Session
from anykube.spec.model import Cluster
from anykube.state import restoring
from anykube.state.journal import start_run
from anykube.workflow import begin

STEADY_SECONDS = 5.0
"""A leader that nobody answers gives up within etcd's election timeout, a second; slow machines need more."""
PAUSE = 0.5


async def recover(  # noqa: PLR0913  all but two by name
    cluster: Cluster,
    node: str,
    *,
    text: str,
    source: str = "",
    snapshot: str = "",
    lost: Collection[str] = (),
    approve: Callable[[Plan], bool],
    emit: Sink = nowhere,
    stop: StopFlag | None = None,
    folders: Folders | None = None,
) -> Report:
    """Make etcd anew from the member on `node`, or from a snapshot: a file there. `lost` are machines that
    cannot be reached and will not come back.

    PlanError when there is a quorum, or when a second cluster could arise. Interrupted, it is run again.
    """
    async with Session(cluster, folders) as session, session.lock(f"recover {cluster.name}"):
        restoring.refuse(session.folder, "recover")
        session.record = session.records.load() or session.record
        if not session.known:
            raise StateError(
                f"There is no record of {cluster.name} here.", remedy="use the machine and user that made it"
            )
        facts = await _steady(session)
        if snapshot and node not in session.addresses():
            raise UsageError(f"{cluster.name} has no node {node[:60]!r}.", remedy="anykube status")
        found = await look_at_snapshot(session.transport(node), snapshot) if snapshot else None
        token = f"{cluster.name}-recovered-{session.record.epoch + 1}"
        asked = Recovery(node, frozenset(lost), found, token)
        made = plan_recover(cluster, facts, session.blueprint, asked)
        if not approve(made):
            return Report(made, approved=False)
        begin(session, text, source)
        with start_run(session.folder, datetime.now(UTC)) as journal:
            run = Run(session, journal, emit, stop or StopFlag())
            made_here = session.blueprint.machines.keys() if session.blueprint.creates else set[str]()
            return await run.recover(made, asked.lost & made_here, f"anykube recover {node}, as before")


async def _steady(session: Session) -> Facts:
    """The facts once no member believes in a leader that has lost the others."""
    end = time.monotonic() + STEADY_SECONDS
    facts = await observe_cluster(session)
    while doubtful(facts.hosts) and time.monotonic() < end:
        await asyncio.sleep(PAUSE)
        facts = await observe_cluster(session)
    return facts
