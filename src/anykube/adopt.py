"""The call behind `adopt`: the machine with the record died; the cluster lives, and is known here again.

What cannot be observed again comes from a backup: from an archive, or from the copy that lies sealed on every
node of etcd (content/backup.py). Everything else is observed. Nothing on a node is changed.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from anykube.backup.layout import lay_out
from anykube.backup.state import SavedState, unseal
from anykube.content.backup import STATE
from anykube.errors import BackupError, PlanError
from anykube.facts.cluster import Facts
from anykube.facts.host import HostFacts
from anykube.plan.adoptable import refuse_outdated
from anykube.plan.model import Plan
from anykube.plan.restorable import newest_run, refuse_foreign
from anykube.run import look, observe_cluster
from anykube.secret import Secret
from anykube.session import Folders, Session
from anykube.spec.load import load
from anykube.state import restoring
from anykube.state.files import make_folder
from anykube.state.record import RecordStore
from anykube.state.restoring import Placement
from anykube.transports.base import Endpoint, Transport

SEALED_SECONDS = 60.0
KEPT = "before-adopt"
"""Secrets without a record that were in the folder: kept, under this name."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """A cluster that is known here again. `plan`: what apply would do now."""

    plan: Plan
    lineage: str
    epoch: int


async def adopt(
    saved: SavedState,
    keys: Sequence[Secret],
    *,
    text: str = "",
    source: str = "",
    folders: Folders | None = None,
) -> Adopted:
    """Make the folder of a cluster from what was sealed with a backup and from the cluster as it is.

    keys: the age identities that could read it.  text, source: its object of today, if it is another than
    that of then. PlanError when the cluster is known here, when no machine answers, or when what was sealed
    is older than a change that matters.
    """
    text = text or saved.record.object
    cluster = load(text, source or f"the sealed state of {saved.record.name}")
    if cluster.name != saved.record.name:
        raise PlanError(f"What was sealed is of {saved.record.name}, the object of {cluster.name}.")
    async with Session(cluster, folders) as session, session.lock(f"adopt {cluster.name}"):
        restoring.refuse(session.folder, "adopt")
        _refuse_known(session, saved)
        placement = Placement(session.folder)
        placement.discard()
        make_folder(placement.new)
        try:
            lay_out(saved, placement.new)
            facts = await _on_trial(session, placement.new, saved)
            record = dataclasses.replace(
                saved.record,
                serial=0,
                epoch=newest_run(facts) + 1,
                object=text,
                source=source or saved.record.source,
                born=True,
            )
            placement.place()
            session.record = session.records.save(record)
            placement.finish(KEPT)
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, placement.new, ignore_errors=True)
            raise
        await _keep_sealed(session, facts, keys)
        made, _ = await look(session)
        return Adopted(made, record.lineage, record.epoch)


async def sealed_on_node(endpoint: Endpoint, ssh_key: Secret, keys: Sequence[Secret]) -> SavedState:
    """What the last apply left sealed on a node of etcd. BackupError if there is nothing, or not for us."""
    transport = Session.doors.node(endpoint, ssh_key)
    try:
        sealed = await _sealed(transport)
    finally:
        await transport.close()
    return unseal(sealed, keys, f"{STATE} on {endpoint.address}")


async def _sealed(transport: Transport) -> bytes:
    answer = await transport.run(["base64", STATE], seconds=SEALED_SECONDS)
    if answer.status:
        raise BackupError(
            f"{transport.name} holds no sealed state.",
            evidence=[answer.stderr.strip()[:300]],
            remedy="name a node of etcd of a cluster with spec.backup, or take an archive: --from ARCHIVE",
        )
    return base64.b64decode(answer.stdout)


async def _keep_sealed(session: Session, facts: Facts, keys: Sequence[Secret]) -> None:
    """What nodes hold sealed is kept here too, if it still is the state; else the next apply seals anew."""
    for host in facts.hosts.values():
        if isinstance(host, HostFacts) and STATE in host.files:
            with suppress(BackupError):
                session.adopt_sealed(await _sealed(session.transport(host.name)), keys)
            return


def _refuse_known(session: Session, saved: SavedState) -> None:
    if not session.known:
        return
    name = session.cluster.name
    if session.record.lineage == saved.record.lineage:
        raise PlanError(f"{name} is known here already.", remedy=f"anykube status -c {name}")
    raise PlanError(
        f"Another cluster called {name} is known here.",
        evidence=[f"here: {session.record.lineage}", f"sealed: {saved.record.lineage}"],
        remedy="adopt it on another machine, or with another ANYKUBE_STATE_DIR",
    )


async def _on_trial(session: Session, folder: Path, saved: SavedState) -> Facts:
    """The cluster as it is seen with what was sealed. PlanError unless both fit."""
    RecordStore(folder).save(saved.record)
    async with Session(session.cluster, Folders(folder.parent, session.folders.cache)) as trial:
        facts = await observe_cluster(trial)
        refuse_foreign(facts, saved.record.lineage)
        refuse_outdated(session.cluster, facts, trial.blueprint, saved.record.lineage)
    return facts
