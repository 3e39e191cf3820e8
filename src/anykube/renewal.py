"""The call behind `certs renew`: certificates made anew and put in place over SSH alone, whatever is down.

It stands before workflow.py, beside recovery.py; run.py does the work, plan/renewal.py decides.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime

from anykube.content.certificates import certificate_requests
from anykube.errors import StateError
from anykube.events import Sink, nowhere
from anykube.execute.engine import StopFlag
from anykube.plan.contexts import endpoint, known_hosts
from anykube.plan.model import Plan
from anykube.plan.renewal import plan_renewal, selected
from anykube.run import Report, Run, observe_cluster
from anykube.session import Folders, Session
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes
from anykube.state import restoring
from anykube.state.journal import start_run


async def renew(
    cluster: Cluster,
    names: Collection[str] = (),
    *,
    everything: bool = False,
    approve: Callable[[Plan], bool],
    emit: Sink = nowhere,
    stop: StopFlag | None = None,
    folders: Folders | None = None,
) -> Report:
    """Make leaf certificates anew: those named (of a node, or one by its secret), all, or those that are due.

    Works with the API down and all of them ended. What was issued and not placed by a run that was killed is
    placed as well. UsageError for an unknown name, PlanError when this machine's clock cannot be right.
    """
    async with Session(cluster, folders) as session, session.lock(f"renew certificates of {cluster.name}"):
        restoring.refuse(session.folder, "renewing certificates")
        session.record = session.records.load() or session.record
        if not session.known:
            raise StateError(f"There is no record of {cluster.name} here.", remedy="anykube apply")
        facts = await observe_cluster(session)
        blueprint = session.blueprint
        api = endpoint(cluster, blueprint)
        requests = certificate_requests(cluster, nodes(cluster), blueprint.addresses, api)
        chosen = selected(requests, facts.secrets, facts.now, names, everything=everything)
        hosts = known_hosts(facts, blueprint)
        phase = plan_renewal(cluster, facts, session.record, blueprint, hosts, chosen)
        made = Plan(cluster.name, (phase,))
        if made.empty or not approve(made):
            return Report(made, approved=made.empty)
        session.record = session.records.next_epoch()
        with start_run(session.folder, datetime.now(UTC)) as journal:
            return await Run(session, journal, emit, stop or StopFlag()).renew(made)
