"""The graph of a phase: which steps may run now. Checked once when a plan is made, walked by the engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter

from anykube.errors import PlanError
from anykube.plan.model import Step


def checked(steps: Iterable[Step]) -> tuple[Step, ...]:
    """The steps in an order that respects `needs`. PlanError on a double id, an unknown need or a cycle.

    Needs on steps that are skipped are kept: they hold already.
    """
    by_id: dict[str, Step] = {}
    for step in steps:
        if step.id in by_id:
            raise PlanError(f"two steps are called {step.id}; this is a defect of anykube.")
        by_id[step.id] = step
    for step in by_id.values():
        missing = [need for need in step.needs if need not in by_id]
        if missing:
            raise PlanError(f"{step.id} needs unknown steps {missing}; this is a defect of anykube.")
    try:
        names = tuple(graph(by_id.values()).static_order())
    except CycleError as error:
        raise PlanError(
            f"steps wait for each other: {error.args[1]}; this is a defect of anykube."
        ) from error
    return tuple(by_id[name] for name in names)


def graph(steps: Iterable[Step]) -> TopologicalSorter[str]:
    """The dependency graph of step ids, ready to be walked."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for step in steps:
        sorter.add(step.id, *step.needs)
    return sorter


def pending_needs(steps: Sequence[Step]) -> dict[str, tuple[str, ...]]:
    """For each step that does something, the pending steps it waits for, through skipped ones."""
    by_id = {step.id: step for step in steps}
    resolved: dict[str, tuple[str, ...]] = {}
    for step in steps:
        found: dict[str, None] = {}
        for need in step.needs:
            if by_id[need].skipped:
                found.update(dict.fromkeys(resolved[need]))
            else:
                found[need] = None
        resolved[step.id] = tuple(found)
    return {step.id: resolved[step.id] for step in steps if not step.skipped}
