"""The engine: order, parallelism, failures that stay local, retries for transient errors only, stopping."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
import stamina

from anykube import events
from anykube.errors import AnykubeError, CommandError, FencedError, TransportError
from anykube.execute.engine import ATTEMPTS, Engine, Outcome, StopFlag
from anykube.plan.effects import RemoveSite
from anykube.plan.model import Phase, Step
from anykube.plan.order import checked


@pytest.fixture(autouse=True)
def no_pauses() -> Iterator[None]:
    """Retries happen at once; how often is still the engine's decision."""
    with stamina.set_testing(True, attempts=ATTEMPTS, cap=True):
        yield


def step(name: str, *needs: str, skipped: bool = False) -> Step:
    effects = () if skipped else (RemoveSite(name),)
    return Step(name, Phase.BOOTSTRAP, name.split("/", maxsplit=1)[0], name, "because", (), effects, needs)


class Work:
    """Records what ran, and fails as told."""

    def __init__(self, errors: dict[str, list[Exception]] | None = None) -> None:
        self.errors = errors or {}
        self.begun: list[str] = []
        self.done: list[str] = []
        self.running = 0
        self.most_at_once = 0

    async def __call__(self, step: Step) -> None:
        self.begun.append(step.id)
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        await asyncio.sleep(0.005)
        self.running -= 1
        if pending := self.errors.get(step.id):
            raise pending.pop(0)
        self.done.append(step.id)


async def run(
    steps: list[Step], work: Work, stop: StopFlag | None = None
) -> tuple[Outcome, list[events.Event]]:
    seen: list[events.Event] = []
    outcome = await Engine(checked(steps), work, seen.append, stop or StopFlag()).run()
    return outcome, seen


async def test_needs_are_done_before_and_the_rest_at_once() -> None:
    work = Work()
    outcome, _ = await run([step("a/1"), step("b/1"), step("c/1"), step("a/2", "a/1", "b/1")], work)
    assert outcome.complete
    assert work.begun[:3] == ["a/1", "b/1", "c/1"]
    assert work.begun[3] == "a/2"
    assert work.most_at_once == 3


async def test_a_skipped_step_passes_its_needs_on() -> None:
    work = Work()
    await run([step("a/1"), step("a/2", "a/1", skipped=True), step("a/3", "a/2")], work)
    assert work.done == ["a/1", "a/3"]


async def test_a_failure_blocks_only_what_needs_it() -> None:
    work = Work({"a/1": [CommandError("a", "start etcd", 1, "boom")]})
    outcome, seen = await run([step("a/1"), step("a/2", "a/1"), step("a/3", "a/2"), step("b/1")], work)
    assert list(outcome.failed) == ["a/1"]
    assert sorted(outcome.blocked) == ["a/2", "a/3"]
    assert outcome.done == ["b/1"]
    assert [event.step for event in seen if isinstance(event, events.StepFailed)] == ["a/1"]
    assert work.begun.count("a/1") == 1, "a permanent error was retried"


async def test_targets_lost_earlier_are_left_alone_with_what_needs_them() -> None:
    work = Work()
    steps = [step("a/1"), step("b/1"), step("cluster/1", "a/1"), step("b/2", "b/1")]
    outcome = await Engine(checked(steps), work, lambda _: None, StopFlag(), frozenset({"a"})).run()
    assert sorted(outcome.blocked) == ["a/1", "cluster/1"]
    assert work.begun == ["b/1", "b/2"]


async def test_transient_errors_are_retried_until_they_end() -> None:
    work = Work({"a/1": [TransportError("cut"), TransportError("cut")]})
    outcome, seen = await run([step("a/1")], work)
    assert outcome.complete
    assert [event.attempt for event in seen if isinstance(event, events.StepRetried)] == [1, 2]


async def test_transient_errors_end_too() -> None:
    work = Work({"a/1": [TransportError(f"cut {number}") for number in range(10)]})
    outcome, _ = await run([step("a/1")], work)
    assert len(work.begun) == ATTEMPTS
    assert isinstance(outcome.failed["a/1"], TransportError)


async def test_a_defect_of_ours_does_not_stop_other_hosts() -> None:
    work = Work({"a/1": [ZeroDivisionError("oops")]})
    outcome, _ = await run([step("a/1"), step("b/1"), step("b/2", "b/1")], work)
    assert outcome.failed["a/1"].code == "BUG-001"
    assert outcome.done == ["b/1", "b/2"]


async def test_stop_finishes_what_runs_and_begins_nothing() -> None:
    stop = StopFlag()

    class Stopper(Work):
        async def __call__(self, step: Step) -> None:
            stop.set()
            await super().__call__(step)

    work = Stopper()
    outcome, seen = await run([step("a/1"), step("a/2", "a/1")], work, stop)
    assert outcome.done == ["a/1"]
    assert outcome.not_begun == ["a/2"]
    assert any(isinstance(event, events.Stopping) for event in seen)


async def test_cancellation_ends_running_steps() -> None:
    ended = asyncio.Event()

    async def forever(_step: Step) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    task = asyncio.ensure_future(Engine(checked([step("a/1")]), forever, lambda _: None, StopFlag()).run())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


@pytest.mark.parametrize(
    ("steps", "word"),
    [
        ([step("a/1"), step("a/1")], "two steps"),
        ([step("a/1", "a/0")], "unknown"),
        ([step("a/1", "a/2"), step("a/2", "a/1")], "wait for each other"),
    ],
)
def test_a_broken_graph_is_refused(steps: list[Step], word: str) -> None:
    with pytest.raises(AnykubeError, match=word):
        checked(steps)


def any_of(name: str, *some: str, skipped: bool = False) -> Step:
    return replace(step(name, skipped=skipped), needs_any=some)


async def test_one_of_several_is_enough_to_begin() -> None:
    broken = Work({"a/1": [AnykubeError("no")]})
    outcome, _ = await run(
        [step("a/1"), step("b/1"), any_of("c/1", "a/1", "b/1"), step("c/2", "c/1")], broken
    )
    assert broken.done == ["b/1", "c/1", "c/2"]
    assert (list(outcome.failed), outcome.blocked) == (["a/1"], [])


async def test_none_of_several_blocks_what_needs_one() -> None:
    broken = Work({"a/1": [AnykubeError("no")], "b/1": [AnykubeError("no")]})
    steps = [step("a/1"), step("b/1"), any_of("c/1", "a/1", "b/1"), step("c/2", "c/1"), step("d/1")]
    outcome, _ = await run(steps, broken)
    assert broken.done == ["d/1"]
    assert outcome.blocked == ["c/1", "c/2"]


async def test_one_that_is_done_already_is_one_of_several() -> None:
    work = Work()
    await run([step("a/1"), step("b/1", skipped=True), any_of("c/1", "a/1", "b/1")], work)
    assert work.begun[:2] == ["a/1", "c/1"]


async def test_a_skipped_step_passes_on_what_it_needs_one_of() -> None:
    broken = Work({"a/1": [AnykubeError("no")]})
    steps = [step("a/1"), step("b/1"), any_of("c/1", "a/1", "b/1", skipped=True), step("c/2", "c/1")]
    outcome, _ = await run(steps, broken)
    assert broken.done == ["b/1", "c/2"]
    assert not outcome.blocked


def undoable(name: str) -> Step:
    return replace(step(name), undo=(RemoveSite(f"back of {name}"),))


class Undoing(Work):
    """Records which effects were performed, too."""

    def __init__(self, errors: dict[str, list[Exception]]) -> None:
        super().__init__(errors)
        self.parts: list[str] = []

    async def __call__(self, step: Step) -> None:
        self.parts += [effect.part for effect in step.effects if isinstance(effect, RemoveSite)]
        await super().__call__(step)


async def test_a_step_that_fails_is_undone_and_says_so() -> None:
    work = Undoing({"a/1": [CommandError("a", "start etcd", 1, "boom")]})
    outcome, seen = await run([undoable("a/1"), step("a/2", "a/1")], work)
    assert work.parts == ["a/1", "back of a/1"]
    assert outcome.failed["a/1"].evidence[-1] == "a runs again what it ran before"
    assert outcome.blocked == ["a/2"]
    kinds = [type(event).__name__ for event in seen]
    assert kinds == ["StepStarted", "StepReturning", "StepReturned", "StepFailed"]


async def test_an_undo_that_fails_too_is_told() -> None:
    work = Undoing(
        {"a/1": [CommandError("a", "start etcd", 1, "boom"), CommandError("a", "go back", 1, "no")]}
    )
    outcome, seen = await run([undoable("a/1")], work)
    (error,) = outcome.failed.values()
    assert any("could not be returned" in line and "go back" in line for line in error.evidence)
    assert not any(isinstance(event, events.StepReturned) for event in seen)


async def test_a_run_that_is_fenced_off_undoes_nothing() -> None:
    work = Undoing({"a/1": [FencedError("a newer run")]})
    await run([undoable("a/1")], work)
    assert work.parts == ["a/1"]


async def test_a_step_that_works_is_not_undone() -> None:
    work = Undoing({})
    await run([undoable("a/1")], work)
    assert work.parts == ["a/1"]
