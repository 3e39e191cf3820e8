"""The plan for people: what, where, why, and what it costs. Pure text; colours are the command line's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from anykube.plan.forecast import FORECAST
from anykube.plan.model import CLUSTER, LOCAL, Change, PhasePlan, Plan, Step

SIGNS = {
    **dict.fromkeys(("create", "join", "promote"), "+"),
    **dict.fromkeys(("delete", "leave", "drain", "stop"), "-"),
    **dict.fromkeys(("update", "restart", "reload", "apply", "move"), "~"),
    "start": ">",
    "wait": ".",
}
SUBJECT_WIDTH = 46
COLLAPSE = 5
"""Changes of one kind and reason on one target from which on only their number is shown."""


def summary(plan: Plan) -> str:
    """How many changes, where, and what users will notice; below it what is under way."""
    return "\n".join((_headline(plan), *(f"  note: {line}" for line in plan.under_way)))


def _headline(plan: Plan) -> str:
    told = [change for step in plan.pending for change in step.changes if change.kind != FORECAST]
    changes = [change for change in told if change.action != "wait"]
    if plan.empty:
        return f"{plan.cluster}: 0 changes; the cluster is as the object says."
    targets = {step.target for step in plan.pending} - {LOCAL, CLUSTER}
    parts = [f"{len(changes)} {_plural('change', len(changes))}"]
    if targets:
        parts[0] += f" on {len(targets)} {_plural('node', len(targets))}"
    if restarts := sum(change.action == "restart" for change in changes):
        parts.append(f"{restarts} {_plural('restart', restarts)}")
    if drains := sum(change.action == "drain" for change in changes):
        parts.append(f"{drains} {_plural('drain', drains)}")
    if waits := len(told) - len(changes):
        parts.append(f"{waits} {_plural('wait', waits)}")
    if plan.obstacles:
        parts.append(f"{len(plan.obstacles)} in the way")
    return f"{plan.cluster}: {', '.join(parts)}"


def lines(plan: Plan, *, full: bool = False) -> Iterator[str]:
    """The plan, phase by phase. `full` shows every change, also those that look alike."""
    yield summary(plan)
    for phase in plan.phases:
        if phase.pending or phase.obstacles:
            yield ""
            yield from _phase_lines(phase, full)


def _phase_lines(phase: PhasePlan, full: bool) -> Iterator[str]:
    provisional = "  (provisional: planned on machines as they will be)" if phase.provisional else ""
    yield f"{phase.phase}{provisional}"
    for obstacle in phase.obstacles:
        yield f"  {obstacle.target}"
        yield f"    ! {obstacle.brief}"
        yield f"      do: {obstacle.remedy}"
    for target in dict.fromkeys(step.target for step in phase.pending):
        steps = [step for step in phase.pending if step.target == target]
        yield f"  {target}"
        for step in steps:
            yield from _step_lines(step, full)
    for note in phase.notes:
        yield f"  note: {note}"


def _step_lines(step: Step, full: bool) -> Iterator[str]:
    for change in _collapsed(step.changes, full):
        line = (
            f"    {SIGNS[change.action]} {change.kind:<11} {change.subject:<{SUBJECT_WIDTH}} {change.reason}"
        )
        yield line.rstrip()
    if step.disruption:
        yield f"      ({step.disruption})"


def _collapsed(changes: Sequence[Change], full: bool) -> Iterator[Change]:
    """Long runs of alike changes become one line with their number."""
    groups: dict[tuple[str, str, str], list[Change]] = {}
    for change in changes:
        groups.setdefault((change.action, change.kind, change.reason), []).append(change)
    for (action, kind, reason), group in groups.items():
        if full or len(group) < COLLAPSE:
            yield from group
        else:
            yield Change(action, kind, f"{len(group)} of them, {group[0].subject} …", reason)


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"
