"""Whether a saved plan is still the plan: the first thing that differs, in words.

A phase that was planned on facts must be equal in all it would do. One that was provisional (its digests and
reasons were not known yet) must make the same changes to the same things; it may have less to wait for, and
an object that was to be created may be there, because Kubernetes makes some itself (a Node registers).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from anykube.plan.forecast import FORECAST
from anykube.plan.model import Change, PhasePlan, Step

WAIT = "wait"
OBJECT = "object"
APPLY = "apply"


def difference(saved: PhasePlan, current: PhasePlan) -> str:
    """'' if both would do the same, else the first difference."""
    essence = _changes if saved.provisional else _everything
    before = _pending(saved, essence)
    now = _pending(current, essence)
    for identity in sorted(before.keys() - now.keys()):
        return f"{identity} is not to be done any more"
    for identity in sorted(now.keys() - before.keys()):
        return f"{identity} is to be done now ({now[identity].reason}), and was not in the plan"
    for identity, step in now.items():
        if found := _step_difference(before[identity], step, essence):
            return f"{identity}: {found}"
    if not saved.provisional and saved.obstacles != current.obstacles:
        return f"what stands in the way of {current.phase} differs"
    return ""


def _pending(phase: PhasePlan, essence: Callable[[Step], Any]) -> dict[str, Step]:
    return {step.id: step for step in phase.pending if essence(step)}


def _everything(step: Step) -> Any:
    """All but the forecast of a drain, which changes with every pod that comes or goes."""
    return replace(step, changes=tuple(change for change in step.changes if change.kind != FORECAST))


def _changes(step: Step) -> Any:
    return [(_action(c), c.kind, c.subject) for c in step.changes if c.action != WAIT and c.kind != FORECAST]


def _action(change: Change) -> str:
    return APPLY if change.kind == OBJECT and change.action in ("create", "update") else change.action


def _step_difference(saved: Step, current: Step, essence: Callable[[Step], Any]) -> str:
    if essence(saved) == essence(current):
        return ""
    for before, now in zip(saved.changes, current.changes, strict=False):
        if before != now:
            return f"{now.action} {now.kind} {now.subject}: {now.reason}"
    return "what would be done differs"
