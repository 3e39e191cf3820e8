"""The calls behind `restore`: a cluster goes back to what an archive holds, on its machines or on others.

They stand before workflow.py; restorer.py does the parts, run.py the work. state/restoring.py remembers that
a restore is under way, so that a killed one is finished by the same command, or taken back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

from anykube.backup.archive import Archive, opened
from anykube.errors import PlanError, StateError, UsageError
from anykube.events import Sink, nowhere
from anykube.execute.engine import StopFlag
from anykube.plan.giving_back import plan_giving_back
from anykube.plan.model import Plan
from anykube.plan.restorable import refuse_unfit
from anykube.restorer import PLACE, again, finish, journal_of, lay_out_new, on_trial, place
from anykube.run import Report, Run, observe_cluster
from anykube.secret import Secret
from anykube.session import Folders, Session
from anykube.spec.load import load
from anykube.state import restoring
from anykube.state.clusters import folder as folder_of
from anykube.state.journal import start_run
from anykube.state.record import RecordStore
from anykube.state.restoring import Placement, Restoring, Stage
from anykube.workflow import begin

Approve = Callable[[Plan], bool]


async def restore(  # noqa: PLR0913  all but two by name
    path: Path,
    keys: Sequence[Secret],
    *,
    text: str = "",
    source: str = "",
    node: str = "",
    lost: Collection[str] = (),
    approve: Approve,
    emit: Sink = nowhere,
    stop: StopFlag | None = None,
    folders: Folders | None = None,
) -> Report:
    """Make the cluster what the archive at `path` holds; `keys` are the age identities to try.

    text, source: the object to be true afterwards; without it the one applied last here, else the archive's.
    node: where etcd begins.  lost: machines that cannot be reached and will not come back. BackupError,
    PlanError before anything is touched. Interrupted, `go_on` finishes, or `abort` takes it back.
    """
    folders = folders or Folders()
    with opened(path, keys) as archive:
        name = archive.manifest.cluster
        here = RecordStore(folder_of(folders.state, name)).load()
        text = text or (here.object if here else "") or archive.state.record.object
        cluster = load(text, source or f"the archive {path}")
        async with Session(cluster, folders) as session, session.lock(f"restore {name}"):
            restoring.refuse(session.folder, "another restore")
            _refuse_other(session, archive)
            archived = load(archive.state.record.object, f"the archive {path}")
            versions = archive.manifest
            refuse_unfit(cluster, archived, versions.kubernetes, versions.etcd)
            lay_out_new(session, archive)
            asked = journal_of(path, archive, text, source, lost, here)
            agreed = False
            try:
                asked, made = await on_trial(session, archive, asked, node)
                agreed = approve(made)
            finally:
                if not agreed:
                    Placement(session.folder).discard()
            if not agreed:
                return Report(made, approved=False)
            restoring.save(session.folder, asked)
            return await finish(session, asked, emit, stop)


async def go_on(
    name: str,
    *,
    lost: Collection[str] = (),
    approve: Approve,
    emit: Sink = nowhere,
    stop: StopFlag | None = None,
    folders: Folders | None = None,
) -> Report:
    """Finish the restore of a cluster that was interrupted. UsageError if there is none.

    lost: more machines that cannot be reached and will not come back.
    """
    folders = folders or Folders()
    asked = _under_way(folders, name)
    if asked.stage is Stage.RETURNING:
        raise StateError(
            f"The restore of {name} is being taken back.", remedy=f"anykube restore --abort -c {name}"
        )
    cluster = load(asked.object, asked.source)
    async with Session(cluster, folders) as session, session.lock(f"restore {name}"):
        asked = _under_way(folders, name)
        asked = dataclasses.replace(asked, lost=tuple(sorted({*asked.lost, *lost})))
        place(session)
        made = await again(session, asked)
        if not approve(made):
            return Report(made, approved=False)
        restoring.save(session.folder, asked)
        return await finish(session, asked, emit, stop)


async def abort(
    name: str,
    *,
    approve: Approve,
    emit: Sink = nowhere,
    stop: StopFlag | None = None,
    folders: Folders | None = None,
) -> Report:
    """Take a restore back: etcd's data and the state here become what they were, then as apply.

    StateError once an API server may have written to the new etcd, or when there was no cluster before.
    """
    folders = folders or Folders()
    asked = _under_way(folders, name)
    _refuse_late(name, asked)
    cluster = load(asked.before, f"record of {name}")
    async with Session(cluster, folders) as session, session.lock(f"restore {name}"):
        asked = _under_way(folders, name)
        _refuse_late(name, asked)
        session.record = session.records.load() or session.record
        placement = Placement(session.folder, session.fence)
        if not asked.epoch:  # no node was touched
            _take_back(session, placement)
            placement.discard()
            return Report(Plan(name, ()))
        facts = await observe_cluster(session)
        made = plan_giving_back(cluster, facts, asked.epoch, (asked.node, PLACE), asked.lost)
        if not approve(made):
            return Report(made, approved=False)
        restoring.save(session.folder, dataclasses.replace(asked, stage=Stage.RETURNING))
        _take_back(session, placement)
        begin(session, asked.before, session.record.source)
        with start_run(session.folder, datetime.now(UTC)) as journal:
            run = Run(session, journal, emit, stop or StopFlag())
            report = await run.recover(made, frozenset(), f"anykube restore --abort -c {name}")
        placement.discard()
        return report


def _take_back(session: Session, placement: Placement) -> None:
    """What was here before the restore is in its place again, and so is what was under way."""
    placement.take_back()
    if old := placement.record_before():
        record = dataclasses.replace(session.record, rotations=old.rotations, upgrade=old.upgrade)
        session.record = session.records.save(record)


def _refuse_other(session: Session, archive: Archive) -> None:
    if session.known and session.record.lineage != archive.manifest.lineage:
        raise PlanError(
            f"The archive is of another cluster than the {session.cluster.name} that is known here.",
            evidence=[f"archive: {archive.manifest.lineage}", f"here: {session.record.lineage}"],
            remedy="destroy that one first, or restore on another machine or with another ANYKUBE_STATE_DIR",
        )


def _under_way(folders: Folders, name: str) -> Restoring:
    found = restoring.load(folder_of(folders.state, name))
    if found is None:
        raise UsageError(f"No restore of {name} is under way.", remedy="anykube restore ARCHIVE")
    return found


def _refuse_late(name: str, asked: Restoring) -> None:
    if asked.stage is Stage.SERVING:
        raise StateError(
            f"The restore of {name} cannot be taken back: API servers have started on the restored etcd.",
            evidence=[f"from {asked.archive}"],
            remedy=f"finish it: anykube restore -c {name}; the data of before is kept on the nodes",
        )
    if not asked.before:
        raise StateError(
            f"There was no {name} here before the restore.",
            remedy=f"remove what was made of it: anykube destroy -c {name}",
        )
