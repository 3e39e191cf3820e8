"""The calls: plan, apply, status, destroy. Everything the command line does to a cluster begins here.

cluster = load_file(Path("cluster.yaml"))
report = await apply(cluster, text=..., approve=lambda plan: True, emit=print)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from datetime import UTC, datetime

from anykube.errors import UsageError
from anykube.events import Event, Sink, StepDone, nowhere
from anykube.execute.engine import StopFlag
from anykube.facts.record import Upgrade
from anykube.observe.networks import check_addresses
from anykube.plan.leave import DRAIN_SECONDS
from anykube.plan.model import Plan
from anykube.plan.remove import plan_remove
from anykube.plan.road import ROLL
from anykube.plan.status import Status
from anykube.plan.upgrade import PLAIN, Asked
from anykube.plan.upgrade_rules import way_back
from anykube.run import Report, Run, look, observe_cluster, refuse_stale
from anykube.session import Folders, Session
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes
from anykube.state import restoring
from anykube.state.journal import start_run
from anykube.state.record import new_record

Approve = Callable[[Plan], bool]


def validate(cluster: Cluster, *, text: str = "", source: str = "", folders: Folders | None = None) -> None:
    """SpecError if the object's networks are in use on this machine. Its text gives the lines."""
    _check_addresses(Session(cluster, folders), text, source)


async def plan(
    cluster: Cluster,
    *,
    text: str = "",
    source: str = "",
    folders: Folders | None = None,
    drain_seconds: float = DRAIN_SECONDS,
) -> Plan:
    """What apply would do. Reads only; no lock."""
    async with Session(cluster, folders) as session:
        session.drain_seconds = drain_seconds
        restoring.refuse(session.folder, "a plan")
        _check_addresses(session, text, source)
        return (await look(session))[0]


async def status(cluster: Cluster, *, folders: Folders | None = None) -> Status:
    """How the cluster is. Reads only."""
    async with Session(cluster, folders) as session:
        return (await look(session))[1]


async def apply(  # noqa: PLR0913  all but the first by name
    cluster: Cluster,
    *,
    text: str,
    source: str = "",
    approve: Approve,
    saved: Plan | None = None,
    emit: Sink = nowhere,
    stop: StopFlag | None = None,
    folders: Folders | None = None,
    replacing: Collection[str] = (),
    drain_seconds: float = DRAIN_SECONDS,
    asked: Asked = PLAIN,
) -> Report:
    """Make the world as the object says. `text` and `source` are kept in the record.

    LockedError, PlanError, StalePlanError before anything is touched; PartialError when some steps
    failed; InterruptedRun when `stop` was set. In each case a second apply goes on from there.
    """
    stop = stop or StopFlag()
    if asked.pause:
        emit = _pausing(cluster, asked.pause, emit, stop)
    async with Session(cluster, folders) as session:
        _check_addresses(session, text, source)
        session.drain_seconds, session.asked = drain_seconds, asked
        async with session.lock(f"apply {cluster.name}") as lock:
            restoring.refuse(session.folder, "apply")
            session.replacing = frozenset(replacing)
            session.record = session.records.load() or session.record
            first, seen = await look(session)
            refuse_stale(saved, first, first.phases)
            if first.empty:
                session.note_upgraded()
            if first.empty or not approve(first):
                return Report(first, approved=first.empty, status=seen)
            begin(session, text, source, first.upgrade)
            with start_run(session.folder, datetime.now(UTC)) as journal:
                run = Run(session, journal, emit, stop)
                if lock.interrupted:
                    run.note(
                        f"the last run ended without finishing ({lock.interrupted}); going on from there"
                    )
                return await run.apply(first, saved)


def upgrade_to_undo(cluster: Cluster, folders: Folders | None = None) -> Upgrade:
    """The upgrade that `rollback` undoes. PlanError if there is no way back."""
    session = Session(cluster, folders)
    restoring.refuse(session.folder, "a rollback")
    return way_back(session.record)


def _pausing(cluster: Cluster, pause: str, emit: Sink, stop: StopFlag) -> Sink:
    """A listener that asks to stop when a node, or every node of a pool, has taken its turn on the road."""
    names = {node.name for node in nodes(cluster) if pause in (node.name, node.pool)}
    if not names:
        known = ", ".join(node.name for node in nodes(cluster))
        raise UsageError(f"{cluster.name} has no node and no pool {pause[:60]!r}.", remedy=f"nodes: {known}")

    def listen(event: Event) -> None:
        if isinstance(event, StepDone) and event.step.endswith(ROLL):
            names.discard(event.target)
            if not names:
                stop.set()
        emit(event)

    return listen


async def replace(  # noqa: PLR0913  all but two by name
    cluster: Cluster,
    node: str,
    *,
    text: str,
    source: str = "",
    approve: Approve,
    emit: Sink = nowhere,
    stop: StopFlag | None = None,
    folders: Folders | None = None,
    drain_seconds: float = DRAIN_SECONDS,
) -> Report:
    """Take one node out of the cluster, dead or alive, and make it anew; then as apply.

    UsageError if there is no such node, PlanError if data would be lost with it. Once the old one has left,
    a plain apply finishes what was interrupted.
    """
    known = [wanted.name for wanted in nodes(cluster)]
    if node not in known:
        raise UsageError(f"{cluster.name} has no node {node[:60]!r}.", remedy=f"nodes: {', '.join(known)}")
    return await apply(
        cluster,
        text=text,
        source=source,
        approve=approve,
        emit=emit,
        stop=stop,
        folders=folders,
        replacing=(node,),
        drain_seconds=drain_seconds,
    )


async def destroy(
    cluster: Cluster,
    *,
    approve: Approve,
    emit: Sink = nowhere,
    stop: StopFlag | None = None,
    folders: Folders | None = None,
) -> Report:
    """Remove all that anykube made for the cluster, the record last."""
    async with Session(cluster, folders) as session, session.lock(f"destroy {cluster.name}"):
        session.record = session.records.load() or session.record
        facts = await observe_cluster(session)
        made = plan_remove(cluster.name, facts, session.record, session.blueprint)
        if not session.known and not facts.site.machines and not facts.site.parts:
            session.ports().forget()
            return Report(Plan(cluster.name, ()))
        if not approve(made):
            return Report(made, approved=False)
        if session.known:
            session.record = session.records.next_epoch()
        run = Run(session, None, emit, stop or StopFlag())
        return await run.remove(made)


def begin(session: Session, text: str, source: str, upgrade: Upgrade | None = None) -> None:
    """Note what is about to be made true, and fence off every earlier run."""
    blueprint = session.blueprint
    record = session.record if session.known else session.records.save(new_record(session.cluster.name))
    # A node that leaves has its address until it is gone (Session.forget_node), and nobody else gets it.
    departing = {
        name: machine.model_dump_json(by_alias=True) for name, machine in session.departing().items()
    }
    session.records.save(
        dataclasses.replace(
            record,
            site=dict(blueprint.choices),
            addresses={**record.addresses, **blueprint.addresses},
            object=text,
            source=source or record.source,
            departing=departing,
            upgrade=upgrade or record.upgrade,
        )
    )
    session.record = session.records.next_epoch()


def _check_addresses(session: Session, text: str, source: str) -> None:
    """A cluster that exists has its networks on this machine already; only a new one can conflict."""
    if not session.known:
        check_addresses(session.cluster, text, source)
