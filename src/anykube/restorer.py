"""The parts of a restore: on trial beside what is here, then in its place, then run. For restore.py."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from anykube.backup.archive import Archive
from anykube.backup.layout import lay_out
from anykube.content.model import LocalFile
from anykube.content.paths import STATE
from anykube.events import Sink
from anykube.execute.engine import StopFlag
from anykube.facts.cluster import Facts
from anykube.facts.host import HostFacts
from anykube.facts.record import Record
from anykube.facts.snapshot import SnapshotFacts
from anykube.plan.model import Plan
from anykube.plan.recoverable import Recovery
from anykube.plan.restorable import newest_run, refuse_foreign
from anykube.plan.restore import Restore, plan_restore
from anykube.plan.rollback import plan_rollback
from anykube.run import Report, Run, look, observe_cluster
from anykube.session import Folders, Session
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes
from anykube.state import restoring
from anykube.state.files import make_folder, reported
from anykube.state.journal import start_run
from anykube.state.record import RecordStore
from anykube.state.restoring import OLD, SNAPSHOT, Placement, Restoring, Stage
from anykube.workflow import begin

PLACE = f"{STATE}/restoring.db"
"""Where the snapshot lies on the node until it is unpacked."""


def lay_out_new(session: Session, archive: Archive) -> None:
    """Put what the archive brings beside what is here, as a folder of the cluster that can be opened."""
    placement = Placement(session.folder)
    placement.discard()
    make_folder(placement.new)
    lay_out(archive.state, placement.new, session.folder if session.known else None)
    with reported("written", session.folder / SNAPSHOT):
        shutil.copyfile(archive.snapshot, session.folder / SNAPSHOT)
        (session.folder / SNAPSHOT).chmod(0o600)


async def on_trial(session: Session, archive: Archive, asked: Restoring, node: str) -> tuple[Restoring, Plan]:
    """The journal and the plan as they would be; nothing but the new folder is changed."""
    new = Placement(session.folder).new
    archived = archive.state.record
    record = _with_stages(session.record, archived) if session.known else _record_of(archived)
    RecordStore(new).save(dataclasses.replace(record, serial=0))
    async with Session(session.cluster, Folders(new.parent, session.folders.cache)) as trial:
        site = await trial.provider.observe()
        if not session.known and not site.parts and not record.addresses.keys() & site.machines.keys():
            # Other machines: what was chosen for those of then may be somebody else's here.
            record = dataclasses.replace(record, site={}, addresses={})
            trial.record = trial.records.save(dataclasses.replace(record, serial=trial.record.serial))
        facts = await observe_cluster(trial)
        refuse_foreign(facts, record.lineage)
        asked = dataclasses.replace(asked, node=node or _best(session.cluster, facts))
        previous = session.previous if session.known else None
        made = plan_restore(session.cluster, facts, record, trial.blueprint, previous, _restore(asked))
        trial.records.save(dataclasses.replace(trial.record, epoch=max(record.epoch, newest_run(facts))))
    return asked, made


def _with_stages(record: Record, archived: Record) -> Record:
    """Keys come back in the stage in which they were, and no upgrade is under way."""
    return dataclasses.replace(record, rotations=archived.rotations, upgrade=None)


def _record_of(archived: Record) -> Record:
    """The record of a cluster that is not known here. Machines of the archive's object that are not in the
    object of today are left alone: they may be serving elsewhere."""
    return dataclasses.replace(archived, object="", source="", departing={}, born=True, upgrade=None)


def _best(cluster: Cluster, facts: Facts) -> str:
    """Where etcd begins if nobody said: the first node with that role that answers, else the first."""
    members = [node.name for node in nodes(cluster) if node.etcd]
    return next((name for name in members if isinstance(facts.hosts.get(name), HostFacts)), members[0])


async def finish(session: Session, asked: Restoring, emit: Sink, stop: StopFlag | None) -> Report:
    """Everything from the journal on: whatever of it was done before is found done."""
    place(session)
    made = await again(session, asked)
    begin(session, asked.object, asked.source)
    if not asked.epoch:
        asked = dataclasses.replace(asked, epoch=session.record.epoch)
        restoring.save(session.folder, asked, session.fence)

    def begun() -> None:
        restoring.save(session.folder, dataclasses.replace(asked, stage=Stage.SERVING), session.fence)
        if session.blueprint.creates:
            session.replacing = frozenset(asked.lost) & session.blueprint.machines.keys()

    with start_run(session.folder, datetime.now(UTC)) as journal:
        run = Run(session, journal, emit, stop or StopFlag())
        if asked.stage is Stage.SERVING:
            report = await run.apply(made, None)
        else:
            command = asked.command(session.cluster.name)
            report = await run.restore(made, lambda: again(session, asked), begun, command)
    await asyncio.to_thread(Placement(session.folder, session.fence).finish, f"{OLD}-{asked.epoch}")
    return report


def place(session: Session) -> None:
    """What the archive brought takes its place; the session goes on with it."""
    placement = Placement(session.folder)
    placement.place()
    here, brought = session.records.load(), RecordStore(placement.new).load()
    if here is None and brought is not None:
        session.records.save(dataclasses.replace(brought, serial=0))
    elif here is not None and brought is not None:
        placement.keep_record(here)
        session.records.save(_with_stages(here, brought))
    session.record = session.records.load() or session.record
    session.files[SNAPSHOT] = session.folder / SNAPSHOT
    session.restoring = True


async def again(session: Session, asked: Restoring) -> Plan:
    """What is left to do."""
    if asked.stage is Stage.SERVING:
        return (await look(session))[0]
    facts = await observe_cluster(session)
    make = plan_rollback if asked.file else plan_restore
    return make(session.cluster, facts, session.record, session.blueprint, session.previous, _restore(asked))


def _restore(asked: Restoring) -> Restore:
    found = SnapshotFacts(asked.file or PLACE, asked.revision, asked.keys, asked.size, asked.taken)
    recovery = Recovery(asked.node, frozenset(asked.lost), found, asked.token, despite_quorum=True)
    brought = None if asked.file else LocalFile(SNAPSHOT, asked.sha256)
    return Restore(recovery, brought, returns=bool(asked.before))


def journal_of(
    path: Path, archive: Archive, text: str, source: str, lost: Collection[str], here: Record | None
) -> Restoring:
    """The journal of a restore that begins; `node` is yet to be chosen. `here`: the record of before."""
    snapshot = archive.manifest.snapshot
    return Restoring(
        archive=str(path),
        token=f"{archive.manifest.cluster}-{snapshot.sha256[:12]}-{datetime.now(UTC):%Y%m%dT%H%M%S}",
        node="",
        lost=tuple(sorted(lost)),
        sha256=snapshot.sha256,
        revision=snapshot.revision,
        keys=snapshot.keys,
        size=snapshot.size,
        taken=f"{archive.manifest.when:%Y-%m-%d %H:%M:%S} UTC",
        object=text,
        source=source,
        before=here.object if here else "",
    )
