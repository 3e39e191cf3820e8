"""The call behind `rollback` of an unfinished upgrade across minor versions: back to its snapshot.

It stands beside restore.py and shares its journal (state/restoring.py): until it is done nothing else
changes the cluster, and `go_on` of restore.py finishes it, or `abort` takes it back. Within a minor version a
rollback is an upgrade in the other direction (workflow.apply).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection

from anykube.errors import PlanError, UsageError
from anykube.events import Sink, nowhere
from anykube.execute.engine import StopFlag
from anykube.facts.record import Upgrade
from anykube.facts.snapshot import SnapshotFacts
from anykube.observe.snapshot import look_at_snapshot
from anykube.plan.model import Plan
from anykube.plan.upgrade_rules import way_back
from anykube.restorer import again, finish
from anykube.run import Report
from anykube.session import Folders, Session
from anykube.spec.model import Cluster
from anykube.state import restoring
from anykube.state.clusters import folder as folder_of
from anykube.state.files import make_folder
from anykube.state.record import RecordStore
from anykube.state.restoring import Placement, Restoring


def is_under_way(name: str, folders: Folders | None = None) -> bool:
    """Whether a rollback of this cluster has begun and is not done; restore.go_on finishes it."""
    found = restoring.load(folder_of((folders or Folders()).state, name))
    return found is not None and bool(found.file)


async def rollback(
    cluster: Cluster,
    *,
    text: str,
    source: str = "",
    lost: Collection[str] = (),
    approve: Callable[[Plan], bool],
    emit: Sink = nowhere,
    stop: StopFlag | None = None,
    folders: Folders | None = None,
) -> Report:
    """Undo the upgrade that is under way. `cluster`, with its `text` and `source`, has the version of before.

    Everything written since the upgrade began is forgotten. lost: machines that cannot be reached and will
    not come back. PlanError before anything is touched: no such upgrade, no snapshot, a silent machine.
    """
    async with Session(cluster, folders) as session, session.lock(f"rollback {cluster.name}"):
        restoring.refuse(session.folder, "a rollback")
        session.record = session.records.load() or session.record
        upgrade = way_back(session.record)
        if cluster.spec.kubernetes.version != upgrade.source:
            raise UsageError(
                f"The object says {cluster.spec.kubernetes.version}; the upgrade began at {upgrade.source}.",
                remedy=f'set kubernetes.version: "{upgrade.source}"',
            )
        found = await _snapshot(session, upgrade)
        asked = Restoring(
            archive=f"{upgrade.file} on {upgrade.node}",
            token=f"{cluster.name}-rollback-{session.record.epoch + 1}",
            node=upgrade.node,
            lost=tuple(sorted(lost)),
            sha256="",
            revision=found.revision,
            keys=found.keys,
            size=found.size,
            taken=found.taken,
            object=text,
            source=source,
            before=session.record.object,
            file=upgrade.file,
        )
        made = await again(session, asked)
        if not approve(made):
            return Report(made, approved=False)
        _lay_out(session)
        restoring.save(session.folder, asked)
        return await finish(session, asked, emit, stop)


async def _snapshot(session: Session, upgrade: Upgrade) -> SnapshotFacts:
    try:
        return await look_at_snapshot(session.transport(upgrade.node), upgrade.file)
    except PlanError as error:
        raise PlanError(
            f"The snapshot that the upgrade to {upgrade.target} began with cannot be used.",
            evidence=[f"{upgrade.file} on {upgrade.node}", *error.evidence],
            remedy=f"if no node has changed yet: set {upgrade.source} in the object, then anykube apply; "
            "else restore a backup of before: anykube restore",
        ) from error


def _lay_out(session: Session) -> None:
    """The record as it will be, beside what is here; keys and all else stay."""
    placement = Placement(session.folder)
    placement.discard()
    make_folder(placement.new)
    RecordStore(placement.new).save(dataclasses.replace(session.record, upgrade=None, serial=0))
