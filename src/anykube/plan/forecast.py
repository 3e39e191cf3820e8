"""What a drain will meet, said before it begins: lines of the plan, from the pods of the node. Pure.

They change with every pod that comes or goes, so a saved plan is not compared by them (plan/stale.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from anykube.facts.kubernetes import PodFacts
from anykube.plan.model import Change

FORECAST = "forecast"
"""The kind of these lines."""
SHOWN = 3


def forecast(pods: Sequence[PodFacts], budgets: Mapping[str, int], seconds: float) -> tuple[Change, ...]:
    """How many pods move, what ends for good, and which PodDisruptionBudgets stand in the way now."""
    return tuple(_lines(pods, budgets, seconds))


def _lines(pods: Sequence[PodFacts], budgets: Mapping[str, int], seconds: float) -> Iterator[Change]:
    moving = [pod for pod in pods if pod.controller]
    if moving:
        yield _line(_count(moving), "made again on other nodes")
    if lost := [pod for pod in pods if not pod.controller]:
        yield _line(_count(lost), f"lost: no controller makes them again: {_names(lost)}")
    if scratch := [pod for pod in pods if pod.scratch]:
        yield _line(_count(scratch), f"lose the data of their emptyDir volumes: {_names(scratch)}")
    for name in sorted({budget for pod in pods for budget in pod.budgets}):
        if budgets.get(name, 0) < 1:
            covered = [pod for pod in pods if name in pod.budgets]
            reason = f"lets none of {_count(covered)} go now; waits for it, at most {seconds:.0f} s"
            yield _line(f"PodDisruptionBudget {name}", reason)


def _line(subject: str, reason: str) -> Change:
    return Change("wait", FORECAST, subject, reason)


def _count(pods: Sequence[PodFacts]) -> str:
    return f"{len(pods)} pod" if len(pods) == 1 else f"{len(pods)} pods"


def _names(pods: Sequence[PodFacts]) -> str:
    more = len(pods) - SHOWN
    return ", ".join(pod.name for pod in pods[:SHOWN]) + (f" and {more} more" if more > 0 else "")
