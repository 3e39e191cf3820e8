"""What happens during a run, as values: progress, JSON output and logs all consume this one stream.

A producer gets a `Sink` and calls it; it never knows who listens. Events carry no secrets and no remote
output other than error text. `as_dict` gives the JSON form; `type` names are stable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A command that may change something begins. `run` is the id of its folder under runs/."""

    cluster: str
    run: str
    command: str


@dataclass(frozen=True, slots=True)
class PhaseStarted(Event):
    """The steps of a phase begin; `steps` is how many are to be done."""

    phase: str
    steps: int


@dataclass(frozen=True, slots=True)
class PhaseDone(Event):
    """A phase ended well. `seconds` is its wall time."""

    phase: str
    seconds: float
    steps: int


@dataclass(frozen=True, slots=True)
class StepStarted(Event):
    """A step begins on a target ('local', 'cluster' or a node)."""

    step: str
    phase: str
    target: str
    title: str


@dataclass(frozen=True, slots=True)
class StepProgress(Event):
    """Long work says what it does now: a download, a build. `done` and `total` are in `unit`, if known."""

    step: str
    item: str
    message: str
    done: float | None = None
    total: float | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class StepDone(Event):
    """A step ended well."""

    step: str
    phase: str
    target: str
    seconds: float


@dataclass(frozen=True, slots=True)
class StepRetried(Event):
    """A transient error; the step is tried again."""

    step: str
    target: str
    attempt: int
    error: str


@dataclass(frozen=True, slots=True)
class StepFailed(Event):
    """A step failed for good. Steps that need it are not run."""

    step: str
    phase: str
    target: str
    code: str
    error: str


@dataclass(frozen=True, slots=True)
class StepReturning(Event):
    """A step failed; its target is returned to what it ran before."""

    step: str
    target: str
    error: str


@dataclass(frozen=True, slots=True)
class StepReturned(Event):
    """The target of a step that failed runs again what it ran before."""

    step: str
    target: str


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """Something that a person should know, though nothing failed."""

    text: str


@dataclass(frozen=True, slots=True)
class Stopping(Event):
    """A stop was asked for; what runs is finished first."""

    running: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunDone(Event):
    """The run ended. `outcome` is done, failed or interrupted."""

    outcome: str
    done: int
    total: int
    seconds: float


Sink = Callable[[Event], None]


def nowhere(_event: Event) -> None:
    """A sink for callers who do not listen."""


def as_dict(event: Event) -> dict[str, Any]:
    """The event as a JSON-ready mapping, with its name under `type`."""
    return {"type": type(event).__name__, **asdict(event)}
