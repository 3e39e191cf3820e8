"""Every point at which a run can be killed or cut, as cases; found by a dry run, so none is forgotten."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.simulated.site import DryRun

SEED = int(os.environ.get("ANYKUBE_TEST_SEED") or time.time())
"""Chooses the sample; the same number chooses the same one again."""
MOMENTS = (0.0, 0.02, 0.1)
"""Seconds after a command has reached its host: before it does anything, in its middle, and about its end."""


@dataclass(frozen=True, slots=True)
class Case:
    """One point. kind: 'step' (event and step), 'command' (number, seconds after it began), 'cut before',
    'cut after' (host, its command's number) or 'cut at byte' (host, bytes)."""

    kind: str
    point: tuple[str, str] | tuple[int, float] | tuple[str, int]

    def __str__(self) -> str:
        return f"{self.kind} {self.point}"


def kill_cases(dry: DryRun) -> list[Case]:
    """Before and after every step, and in every command."""
    return [
        *(Case("step", event) for event in dry.events),
        *command_cases(dry, MOMENTS),
    ]


def command_cases(dry: DryRun, moments: Sequence[float]) -> list[Case]:
    """In every command."""
    numbers = range(1, sum(dry.commands.values()) + 1)
    return [Case("command", (number, moment)) for number in numbers for moment in moments]


def cut_cases(dry: DryRun) -> list[Case]:
    """Around every command that each host got."""
    return [
        Case(kind, (name, number))
        for name, count in dry.commands.items()
        for number in range(1, count + 1)
        for kind in ("cut before", "cut after")
    ]


BYTES = (1, 600, 5_000, 30_000, 200_000, 1_200_000)
"""Inside a manifest, between files, inside a large file."""


def byte_cases(dry: DryRun) -> list[Case]:
    """Inside what is sent to each host."""
    return [Case("cut at byte", (name, count)) for name in dry.commands for count in BYTES]


def sample(cases: Sequence[Case], count: int) -> list[Case]:
    """Some of them, by the seed."""
    chosen = random.Random(SEED).sample(list(cases), min(count, len(cases)))
    print(f"ANYKUBE_TEST_SEED={SEED} chose of {len(cases)}: {', '.join(map(str, chosen))}")
    return chosen
