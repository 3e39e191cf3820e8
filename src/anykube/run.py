"""One run: the only loop. For each phase: plan on what is true now, execute, observe again, record.

workflow.py begins it under the cluster's lock, after the plan was approved.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from anykube.errors import AnykubeError, InterruptedRun, PartialError, StalePlanError
from anykube.events import Event, Notice, PhaseDone, PhaseStarted, RunDone, RunStarted, Sink
from anykube.execute.engine import Engine, Outcome, StopFlag
from anykube.execute.evidence import collect, loudest_error
from anykube.execute.handlers import Performer
from anykube.facts.cluster import Facts
from anykube.observe.cluster import observe
from anykube.observe.networks import routes
from anykube.plan.assemble import plan as make_plan
from anykube.plan.bootstrap import API_READY
from anykube.plan.endpoint import ENDPOINT
from anykube.plan.model import CLUSTER, LOCAL, Obstacle, Phase, PhasePlan, Plan
from anykube.plan.restore import BEFORE, with_ghosts_cleared
from anykube.plan.stale import difference
from anykube.plan.status import Status
from anykube.plan.status import status as make_status
from anykube.session import Session
from anykube.spec.nodes import nodes
from anykube.state.journal import Journal

PHASES = (
    Phase.RENEW,
    Phase.REPLACE,
    Phase.ARTIFACTS,
    Phase.PROVISION,
    Phase.RENEW,
    Phase.BOOTSTRAP,
    Phase.ADDONS,
    Phase.RETIRE,
    Phase.BACKUP,
)
"""Renewed is before anything else, and again on machines that have been off until then."""
EVIDENT_UNIT = "kubelet.service"
"""What a node that fails is asked about; a unit that does not start brings its own journal."""


@dataclass(slots=True)
class Report:
    """How a run ended. `seconds`: wall time of each phase that did something; `status`: as seen last."""

    plan: Plan
    approved: bool = True
    done: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    status: Status | None = None

    @property
    def unchanged(self) -> bool:
        """Whether there was nothing to do."""
        return self.plan.empty


class Run:
    """One run: its events, its journal, and what was done so far."""

    def __init__(self, session: Session, journal: Journal | None, emit: Sink, stop: StopFlag) -> None:
        self._session = session
        self._journal = journal
        self._listener = emit
        self._stop = stop
        self._again = "anykube apply"
        """What goes on with what this run leaves undone."""
        self._started = time.monotonic()
        self._lost: set[str] = set()
        """Targets with a failed or blocked step, or an obstacle: later phases leave them alone."""
        self._obstacles: dict[str, Obstacle] = {}

    async def apply(self, first: Plan, saved: Plan | None) -> Report:
        """All phases. The first plan was shown; each phase is planned again on what is then true."""
        self._emit(RunStarted(first.cluster, self._journal.run if self._journal else "", "apply"))
        return await self._all(Report(first), first, [], saved)

    async def recover(self, made: Plan, lost: frozenset[str], again: str) -> Report:
        """The one phase of recover, then all of apply, in which those that are lost are made anew."""
        report = Report(made)
        self._emit(RunStarted(made.cluster, self._journal.run if self._journal else "", "recover"))
        outcome = await self._phase(made.phase(Phase.RECOVER), report)
        if self._stop.stopping or not outcome.complete:
            self._finish(report, made, [outcome], again, 0)
            return report
        self._session.replacing = lost
        current, report.status = await look(self._session)
        if made.empty:
            report.plan = current
        return await self._all(report, current, [outcome], None)

    async def restore(
        self, first: Plan, look_again: Callable[[], Awaitable[Plan]], begun: Callable[[], None], again: str
    ) -> Report:
        """The phases up to etcd's new beginning, each planned anew by `look_again` after the one before; then
        all of apply. `begun` is called between them, before anything can write to the new etcd."""
        self._again = again
        report, current, outcomes = Report(first), first, list[Outcome]()
        self._emit(RunStarted(first.cluster, self._journal.run if self._journal else "", "restore"))
        for phase in BEFORE:
            made = current.phase(phase)
            if not made.pending:
                continue
            outcomes.append(await self._phase(made, report))
            if self._stop.stopping or not outcomes[-1].complete:
                self._finish(report, current, outcomes, again, 0)
                return report
            current = await look_again()
        begun()
        current, report.status = await look(self._session)
        return await self._all(report, current, outcomes, None)

    async def _all(
        self, report: Report, current: Plan, outcomes: list[Outcome], saved: Plan | None
    ) -> Report:
        ahead = 0
        for number, phase in enumerate(PHASES, start=1):
            made = current.phase(phase)
            if phase is not Phase.RENEW:
                # What is to be made anew has left after its phase, also if there was nothing to do for it.
                self._session.replacing = frozenset()
            self._leave_alone(made.obstacles)
            if not made.pending:
                continue
            if phase is Phase.RETIRE and (missing := self._successors_missing()):
                self.note(f"nobody leaves before {missing} is well")
                ahead = len(made.pending)
                break
            refuse_stale(saved, current, (made,))
            outcomes.append(await self._phase(made, report))
            if self._stop.stopping:
                later = set(PHASES[number:]) - {phase}
                ahead = sum(len(current.phase(one).pending) for one in later)
                break
            if not _worth_going_on(phase, outcomes[-1]):
                break
            if phase is Phase.BOOTSTRAP:
                self._session.note_birth()
            current, report.status = await look(self._session)
        self._finish(report, current, outcomes, self._again, ahead)
        self._session.note_upgraded()
        return report

    def note(self, text: str) -> None:
        """Tell those who listen."""
        self._emit(Notice(text))

    async def renew(self, made: Plan) -> Report:
        """The one phase of `certs renew`."""
        report = Report(made)
        self._emit(RunStarted(made.cluster, self._journal.run if self._journal else "", "renew"))
        outcome = await self._phase(made.phase(Phase.RENEW), report)
        self._finish(report, made, [outcome], "anykube certs renew, as before", 0)
        return report

    async def remove(self, made: Plan, again: str = "anykube destroy") -> Report:
        """The one phase of destroy, or of reset."""
        report = Report(made)
        outcome = await self._phase(made.phase(Phase.REMOVE), report)
        self._finish(report, made, [outcome], again, 0)
        return report

    def _leave_alone(self, obstacles: Sequence[Obstacle]) -> None:
        """A host that answers again in a later phase has missed this one: it is for the next run."""
        self._obstacles.update((obstacle.target, obstacle) for obstacle in obstacles)
        self._lost.update(self._obstacles)

    def _successors_missing(self) -> str:
        """Wanted nodes with an API server or etcd on which something failed, or whose turn did not come."""
        servers = (node.name for node in nodes(self._session.cluster) if node.control_plane or node.etcd)
        return ", ".join(name for name in servers if name in self._lost - self._obstacles.keys())

    async def _phase(self, made: PhasePlan, report: Report) -> Outcome:
        started = time.monotonic()
        self._emit(PhaseStarted(made.phase, len(made.pending)))
        performer = Performer(self._session.ports(), self._emit)
        outcome = await Engine(made.steps, performer, self._emit, self._stop, frozenset(self._lost)).run()
        failed = {step.target for step in made.steps if step.id in outcome.failed}
        blocked = {step.target for step in made.steps if step.id in outcome.blocked}
        # Also a node whose turn never came: nothing is there yet that would be worth waiting for.
        self._lost.update(failed, blocked - {CLUSTER, LOCAL})
        await self._keep_evidence(made, outcome)
        report.done += len(outcome.done)
        report.seconds[made.phase] = time.monotonic() - started
        if outcome.complete:
            self._emit(PhaseDone(made.phase, report.seconds[made.phase], len(outcome.done)))
        return outcome

    async def _keep_evidence(self, made: PhasePlan, outcome: Outcome) -> None:
        """Ask the nodes of failed steps what went wrong there; it goes into the run's folder."""
        steps = {step.id: step for step in made.steps}
        for name, error in outcome.failed.items():
            node = steps[name].target
            if self._journal is None or node not in self._session.blueprint.machines:
                continue
            text = await self._evidence_of(node)
            path = self._journal.evidence(node, f"{error}\n\n{text}")
            loudest = loudest_error(text)
            seen = [f"{EVIDENT_UNIT}, {loudest}"] if loudest else []
            error.evidence = (*error.evidence, *seen, f"more in {path}")

    async def _evidence_of(self, node: str) -> str:
        try:
            transport = self._session.transport(node)
        except AnykubeError as error:  # such as a machine that failed before it had a host key
            return str(error)
        return await collect(transport, (EVIDENT_UNIT,))

    def _finish(self, report: Report, current: Plan, outcomes: list[Outcome], again: str, ahead: int) -> None:
        """Say how it ended, as an error unless all is done. `ahead` are steps of phases not reached."""
        self._leave_alone(current.obstacles)
        if self._journal is not None and self._journal.problem:
            self.note(f"the journal of this run is not complete: {self._journal.problem}")
        failures = {name: error for outcome in outcomes for name, error in outcome.failed.items()}
        waiting = ahead + sum(len(outcome.not_begun) + len(outcome.blocked) for outcome in outcomes)
        total = report.done + len(failures) + waiting
        interrupted = self._stop.stopping and waiting > 0
        name = "interrupted" if interrupted else "failed" if failures or self._obstacles else "done"
        self._emit(RunDone(name, report.done, total, time.monotonic() - self._started))
        if interrupted:
            raise InterruptedRun(
                f"Stopped. Nothing is half-written. {report.done} of {total} steps done.",
                remedy=f"go on with: {again}",
            )
        if failures or self._obstacles:
            raise _partial(report, failures, self._obstacles.values(), again)

    def _emit(self, event: Event) -> None:
        if self._journal is not None:
            self._journal(event)
        self._listener(event)


async def observe_cluster(session: Session) -> Facts:
    """A fresh snapshot, and with it a fresh blueprint of what the provider should have."""
    blueprint = session.draw([route.network for route in routes()])
    return await observe(session.cluster, session.ports(), blueprint, session.replacing)


async def look(session: Session) -> tuple[Plan, Status]:
    """What is to be done, and how things are: both from one observation."""
    facts = await observe_cluster(session)
    made = make_plan(
        session.cluster,
        facts,
        session.record,
        session.blueprint,
        session.previous,
        replacing=session.replacing,
        drain_seconds=session.drain_seconds,
        asked=session.asked,
    )
    if session.restoring:
        made = with_ghosts_cleared(made, facts, session.blueprint)
    return made, make_status(session.cluster, facts, session.blueprint, made)


def refuse_stale(saved: Plan | None, current: Plan, phases: Sequence[PhasePlan]) -> None:
    """StalePlanError if one of these phases would not do what the saved plan says."""
    if saved is None:
        return
    for phase in phases:
        if found := difference(saved.phase(phase.phase), phase):
            raise StalePlanError(
                f"The world is not as it was when the plan of {current.cluster} was saved.",
                evidence=[found],
                remedy="look again: anykube plan --out FILE",
            )


def _worth_going_on(phase: Phase, outcome: Outcome) -> bool:
    """A node that failed does not stop the others; without software or without an API nobody can go on."""
    if phase in (Phase.RENEW, Phase.REPLACE, Phase.ARTIFACTS):
        return outcome.complete
    return not {API_READY, ENDPOINT} & {*outcome.failed, *outcome.blocked}


def _partial(
    report: Report, failures: dict[str, AnykubeError], obstacles: Iterable[Obstacle], again: str
) -> PartialError:
    for obstacle in obstacles:
        failures[obstacle.target] = AnykubeError(
            f"{obstacle.target} {obstacle.brief}.", remedy=obstacle.remedy
        )
    noun = "step" if len(failures) == 1 else "steps"
    return PartialError(
        f"{len(failures)} {noun} failed, {report.done} are done.",
        failures,
        remedy=f"mend that, then: {again}",
    )
