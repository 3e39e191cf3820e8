"""The graph of a phase: which steps may run now. Checked once when a plan is made, walked by the engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
        missing = [need for need in (*step.needs, *step.needs_any) if need not in by_id]
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
        sorter.add(step.id, *step.needs, *step.needs_any)
    return sorter


@dataclass(frozen=True, slots=True)
class Waits:
    """What a step waits for: all of `every`, and one of each set of `alternatives`."""

    every: frozenset[str]
    alternatives: tuple[frozenset[str], ...] = ()


def pending_needs(steps: Sequence[Step]) -> dict[str, Waits]:
    """For each step that does something, the pending steps it waits for, through skipped ones.

    Of steps of which one will do none is waited for if one is done already. `steps` are in an order that
    respects their needs (`checked`).
    """
    by_id = {step.id: step for step in steps}
    resolved: dict[str, Waits] = {}
    for step in steps:
        behind = [_behind(need, by_id, resolved) for need in step.needs]
        every = frozenset[str]().union(*(waits.every for waits in behind))
        alternatives = [some for waits in behind for some in waits.alternatives]
        some = [_behind(need, by_id, resolved).every for need in step.needs_any]
        if some and all(some):
            alternatives.append(frozenset[str]().union(*some))
        resolved[step.id] = Waits(every, tuple(dict.fromkeys(alternatives)))
    return {step.id: resolved[step.id] for step in steps if not step.skipped}


def _behind(need: str, by_id: Mapping[str, Step], resolved: Mapping[str, Waits]) -> Waits:
    return resolved[need] if by_id[need].skipped else Waits(frozenset({need}))
