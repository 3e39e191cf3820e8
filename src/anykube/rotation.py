"""The call behind `certs rotate-ca` and `rotate-key`: from one stage to the next, each an ordinary run.

It stands before workflow.py, whose begin it shares. The record asks for a stage (plan/stages.py), the plan
makes it so (plan/rotation.py), and only when nothing is left to do anywhere the next one is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from anykube.errors import PlanError, StateError
from anykube.events import Sink, nowhere
from anykube.execute.engine import StopFlag
from anykube.facts.record import Record, Stage
from anykube.plan.model import Plan
from anykube.plan.rotation import AUTHORITIES, KEYS
from anykube.plan.stages import backwards, further, settled, tokens_end
from anykube.run import Report, Run, look
from anykube.session import Folders, Session
from anykube.spec.model import Cluster
from anykube.state import restoring
from anykube.state.journal import start_run
from anykube.workflow import begin

TRIES = 2
"""Runs for one stage. One is enough, unless the world moves meanwhile."""


class Goal(StrEnum):
    """How far to go."""

    NEXT = "next"
    """One stage further, and no more."""
    FINISH = "finish"
    """Until the old key is gone."""
    BACK = "back"
    """Until the new key is gone, as if nothing had been."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """How it ended. `report`: of the last run. `waiting`: until when the old key must stay, None if it is not
    that which is waited for."""

    report: Report
    record: Record
    waiting: datetime | None = None


async def rotate(  # noqa: PLR0913  all but three by name
    cluster: Cluster,
    names: Sequence[str],
    goal: Goal,
    *,
    text: str,
    source: str = "",
    at_once: bool = False,
    approve: Callable[[Plan], bool],
    emit: Sink = nowhere,
    stop: StopFlag | None = None,
    folders: Folders | None = None,
) -> Rotated:
    """Replace the keys of these secrets, stage by stage; `approve` is asked for each. Killed, run it again.

    PlanError when the cluster is not in order, so that a stage could not be complete on every node.
    `at_once`: do not wait until the last token of an old service-account key has ended.
    """
    if cluster.spec.security.external_authorities and any(name.startswith("ca/") for name in names):
        raise PlanError(f"The authorities of {cluster.name} are not anykube's: it cannot replace them.")
    if cluster.spec.security.external_authorities and {*names}.intersection(AUTHORITIES.values()):
        raise PlanError(
            f"{cluster.name} has authorities of yours; anykube has no keys that it could replace.",
            remedy="have certificates signed by new ones: anykube certs requests, then anykube certs import",
        )
    stages = _Stages(names, goal, at_once=at_once)
    ended: Rotated | None = None
    while ended is None:
        async with Session(cluster, folders) as session, session.lock(f"rotate keys of {cluster.name}"):
            made = await stages.ask(session)
            if not isinstance(made, Plan):
                ended = made
            elif not approve(made):
                ended = Rotated(Report(made, approved=False), session.record)
            else:
                begin(session, text, source)
                with start_run(session.folder, datetime.now(UTC)) as journal:
                    run = Run(session, journal, emit, stop or StopFlag())
                    stages.done = await run.apply(made, None)
    return ended


class _Stages:
    """Which stage is next. `done`: how the last one ended."""

    def __init__(self, names: Sequence[str], goal: Goal, *, at_once: bool) -> None:
        self.done: Report | None = None
        self._tries = 0
        self._names = tuple(names)
        self._goal = goal
        self._at_once = at_once

    async def ask(self, session: Session) -> Plan | Rotated:
        """What is to be done next, with the record in the session that asks for it; or how it ended."""
        restoring.refuse(session.folder, "replacing keys")
        session.record = session.records.load() or session.record
        if not session.known:
            raise StateError(f"There is no record of {session.cluster.name} here.", remedy="anykube apply")
        made, seen = await look(session)
        if not made.empty:
            # A stage that was begun is finished first; but not tried for ever.
            if self._tries == TRIES or not self._begun(session.record):
                raise _not_in_order(made)
            self._tries += 1
            return made
        session.note_upgraded()
        before = session.record
        session.record = settled(before, datetime.now(UTC))
        if session.record != before:
            session.record = session.records.save(session.record)
        wanted = self._next(session, finished=before.rotations.keys() - session.record.rotations.keys())
        if wanted is None:
            report = self.done or Report(made)
            report.status = seen
            return Rotated(report, session.record, self._waiting(session.record))
        session.record, self._tries = wanted, 1
        made = (await look(session))[0]
        if made.empty:
            # Nothing changes with this stage.
            session.record = session.records.save(wanted)
            return await self.ask(session)
        return made

    def _next(self, session: Session, finished: set[str]) -> Record | None:
        record, under_way = session.record, self._begun(session.record)
        if self._goal is Goal.BACK:
            return backwards(record, self._names) if under_way else None
        over = finished.intersection(self._names) or (self.done and not under_way)
        enough = self._goal is Goal.NEXT and self.done and not self._between(record)
        if over or enough or self._waiting(record):
            return None
        return further(record, session.secrets.facts(), self._names)

    def _begun(self, record: Record) -> bool:
        return any(name in record.rotations for name in self._names)

    def _between(self, record: Record) -> bool:
        """The two last stages are one for users: kubeconfigs of before end with the first of them."""
        return any(
            record.rotations[name].stage is Stage.SHOW for name in self._names if name in record.rotations
        )

    def _waiting(self, record: Record) -> datetime | None:
        """Until when tokens of the old key are in use."""
        if self._at_once or self._goal is Goal.BACK or not self._begun(record):
            return None
        end = tokens_end(record) if KEYS["service-account"] in self._names else None
        return end if end and end > datetime.now(UTC) else None


def _not_in_order(made: Plan) -> PlanError:
    found = [f"{step.target}: {step.title}, {step.reason}" for step in made.pending]
    found += [f"{obstacle.target} {obstacle.brief}" for obstacle in made.obstacles]
    return PlanError(
        f"{made.cluster} is not as its object says; keys are replaced when it is.",
        evidence=found[:5],
        remedy="first: anykube apply",
    )
