"""Walks the pending steps of a phase: in parallel, in order of their needs, until done or told to stop.

A step that fails blocks only the steps that need it, and is undone if it says how. Nothing is decided here:
what a step does is in the plan, how an effect is performed is in handlers.py.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from anykube.errors import AnykubeError, DefectError, FencedError
from anykube.events import (
    Sink,
    StepDone,
    StepFailed,
    StepRetried,
    StepReturned,
    StepReturning,
    StepStarted,
    Stopping,
)
from anykube.plan.model import Step
from anykube.plan.order import pending_needs

ATTEMPTS = 4
"""Times a step is tried when its error is transient (errors.AnykubeError.retryable)."""
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 3.0

Perform = Callable[[Step], Awaitable[None]]


@dataclass(slots=True)
class Outcome:
    """What became of the steps: every pending step is in exactly one of the four."""

    done: list[str] = field(default_factory=list)
    failed: dict[str, AnykubeError] = field(default_factory=dict)
    blocked: list[str] = field(default_factory=list)
    not_begun: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every step is done."""
        return not (self.failed or self.blocked or self.not_begun)


class StopFlag:
    """Asks the engine to stop at the next safe point: what runs is finished, nothing new begins."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Ask to stop. A second call changes nothing."""
        self._event.set()

    @property
    def stopping(self) -> bool:
        """Whether a stop was asked for."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Return when a stop is asked for."""
        await self._event.wait()


class Engine:
    """One run of one phase."""

    def __init__(
        self,
        steps: Sequence[Step],
        perform: Perform,
        emit: Sink,
        stop: StopFlag,
        lost: frozenset[str] = frozenset(),
    ) -> None:
        """`lost`: targets that failed in an earlier phase; their steps and what needs them are blocked."""
        self._steps = {step.id: step for step in steps if not step.skipped}
        waits = pending_needs(steps)
        self._waiting = {name: set(found.every) for name, found in waits.items()}
        self._one_of = {name: found.alternatives for name, found in waits.items() if found.alternatives}
        self._perform = perform
        self._emit = emit
        self._stop = stop
        self._outcome = Outcome()
        self._running: dict[asyncio.Task[AnykubeError | None], str] = {}
        for name in [name for name, step in self._steps.items() if step.target in lost]:
            if self._waiting.pop(name, None) is not None:
                self._outcome.blocked.append(name)
                self._block(name)

    async def run(self) -> Outcome:
        """Walk until nothing runs and nothing can begin. On cancellation running steps are cancelled."""
        announced = False
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            self._begin_ready()
            while self._running:
                watched: set[asyncio.Future[object]] = {*self._running}  # type: ignore[arg-type]
                if not announced:
                    watched.add(stopping)  # type: ignore[arg-type]
                done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                if self._stop.stopping and not announced:
                    announced = True
                    self._emit(Stopping(tuple(self._running.values())))
                for task in [task for task in self._running if task in done]:
                    self._finish(task)
                self._begin_ready()
        finally:
            stopping.cancel()
            await self._cancel_running()
        self._outcome.not_begun = list(self._waiting)
        return self._outcome

    def _begin_ready(self) -> None:
        if self._stop.stopping:
            return
        ready = [name for name, needs in self._waiting.items() if not needs and name not in self._one_of]
        for name in ready:
            del self._waiting[name]
            task = asyncio.ensure_future(self._attempt(self._steps[name]))
            self._running[task] = name

    def _finish(self, task: asyncio.Task[AnykubeError | None]) -> None:
        name = self._running.pop(task)
        error = task.result()
        if error is None:
            self._outcome.done.append(name)
            for needs in self._waiting.values():
                needs.discard(name)
            left = {
                step: tuple(some for some in sets if name not in some) for step, sets in self._one_of.items()
            }
            self._one_of = {step: sets for step, sets in left.items() if sets}
        else:
            self._outcome.failed[name] = error
            self._block(name)

    def _block(self, failed: str) -> None:
        """Give up what can no longer begin: a need has failed, or all steps of which one would have done."""
        blocked = {failed}
        while found := {
            name for name, needs in self._waiting.items() if needs & blocked or self._hopeless(name)
        }:
            for name in found:
                del self._waiting[name]
            self._outcome.blocked.extend(sorted(found))
            blocked |= found

    def _hopeless(self, name: str) -> bool:
        lost = {*self._outcome.failed, *self._outcome.blocked}
        return any(some <= lost for some in self._one_of.get(name, ()))

    async def _attempt(self, step: Step) -> AnykubeError | None:
        self._emit(StepStarted(step.id, step.phase, step.target, step.title))
        started = time.monotonic()
        try:
            await self._with_retries(step)
        except Exception as error:  # a defect must not stop the other hosts
            failure = _as_deliberate(step, error)
            await self._undo(step, failure)
            return self._failed(step, failure)
        self._emit(StepDone(step.id, step.phase, step.target, time.monotonic() - started))
        return None

    def _failed(self, step: Step, error: AnykubeError) -> AnykubeError:
        self._emit(StepFailed(step.id, step.phase, step.target, error.code, str(error)))
        return error

    async def _undo(self, step: Step, failure: AnykubeError) -> None:
        """Return the target to what it ran before; the error tells how that went. A run that is fenced off
        must not touch it any more."""
        if not step.undo or isinstance(failure, FencedError):
            return
        self._emit(StepReturning(step.id, step.target, failure.brief))
        try:
            await self._with_retries(replace(step, effects=step.undo, undo=()))
        except Exception as error:
            why = _as_deliberate(step, error)
            failure.evidence += (f"{step.target} could not be returned to what it ran before: {why.brief}",)
            failure.evidence += why.evidence
        else:
            self._emit(StepReturned(step.id, step.target))
            failure.evidence += (f"{step.target} runs again what it ran before",)

    async def _with_retries(self, step: Step) -> None:
        import stamina  # here, because loading it is only worth it when something runs

        attempts = stamina.retry_context(
            on=lambda error: isinstance(error, AnykubeError) and error.retryable and not self._stop.stopping,
            attempts=ATTEMPTS,
            timeout=None,
            wait_initial=FIRST_PAUSE,
            wait_max=LONGEST_PAUSE,
        )
        async for attempt in attempts:
            with attempt:
                try:
                    await self._perform(step)
                except AnykubeError as error:
                    if error.retryable and attempt.num < ATTEMPTS:
                        self._emit(StepRetried(step.id, step.target, attempt.num, error.brief))
                    raise

    async def _cancel_running(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


def _as_deliberate(step: Step, error: Exception) -> AnykubeError:
    """The error itself, or for a defect one that says where it is."""
    if isinstance(error, AnykubeError):
        return error
    trace = "".join(traceback.format_exception(error)).rstrip().splitlines()
    return DefectError(f"{step.id}: {error!r}", evidence=trace[-12:])
