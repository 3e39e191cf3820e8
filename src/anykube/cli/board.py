"""What is known of a run at a moment, and how it reads: progress.py shows it live or as plain lines."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from anykube import events

WIDTH = 88
"""Columns of a line; times stand at its right end."""
INDENT = 11
"""Columns of a phase's name."""
SHOWN = 3
"""Names that a line lists one by one."""
MIB = 1024 * 1024
CLUSTER = "cluster"
PLACES = {"local": "this machine", CLUSTER: "Kubernetes API"}
"""Names for people of the targets that are not nodes."""


@dataclass(slots=True)
class Row:
    """One target: what runs there now, how many steps are done, whether one failed."""

    running: list[str] = field(default_factory=list)
    done: int = 0
    failed: bool = False

    def __str__(self) -> str:
        if self.running:
            return ", ".join(self.running)
        return "failed" if self.failed else f"{self.done} {'step' if self.done == 1 else 'steps'} done"


class Board:
    """The phase that runs, its targets, and details of long work. `take` it the events, in order."""

    def __init__(self) -> None:
        self.phase = ""
        self.total = 0
        self.done = 0
        self.rows: dict[str, Row] = {}
        self.details: dict[str, tuple[str, str]] = {}
        """Item of long work: the step it belongs to, and what it does now."""
        self._titles: list[tuple[str, str]] = []
        self._running: dict[str, tuple[str, float]] = {}
        self._phase_began = time.monotonic()

    def take(self, event: events.Event) -> None:
        """Update by one event."""
        match event:
            case events.PhaseStarted(phase, steps):
                self.phase, self.total, self.done = phase, steps, 0
                self._phase_began = time.monotonic()
                self.rows.clear()
                self.details.clear()
                self._titles.clear()
            case events.StepStarted(step, _, target, title):
                self._running[step] = (title, time.monotonic())
                self.rows.setdefault(target, Row()).running.append(title)
                self._titles.append((target, title))
            case events.StepProgress(step, item, _):
                self.details[item] = (step, amount(event))
            case events.StepDone(step, _, target):
                self.done += 1
                self._settle(step, target, failed=False)
            case events.StepFailed(step, _, target):
                self._settle(step, target, failed=True)

    def _settle(self, step: str, target: str, *, failed: bool) -> None:
        title, _ = self._running.pop(step, ("", 0.0))
        row = self.rows.setdefault(target, Row())
        if title in row.running:
            row.running.remove(title)
        row.done += not failed
        row.failed |= failed
        self.details = {item: detail for item, detail in self.details.items() if detail[0] != step}

    @property
    def seconds(self) -> float:
        """How long the phase runs by now."""
        return time.monotonic() - self._phase_began

    @property
    def idle(self) -> bool:
        """Whether nothing runs."""
        return not self._running

    def busiest(self) -> str:
        """What has been running longest, for a heartbeat."""
        if self.idle:
            return ""
        step, (_, began) = min(self._running.items(), key=lambda item: item[1][1])
        more = f" and {len(self._running) - 1} more" if len(self._running) > 1 else ""
        detail = next((f": {item} {text}" for item, (of, text) in self.details.items() if of == step), "")
        return f"{step} for {time.monotonic() - began:.0f} s{more}{detail}"

    def scope(self) -> str:
        """Where the phase works, or on what: 'demo-cp-1, demo-worker-1' or 'flannel, dns'."""
        nodes = [target for target in self.rows if target not in PLACES]
        through_api = [title for target, title in self._titles if target == CLUSTER]
        titles = dict.fromkeys(through_api if len(through_api) * 2 > len(self._titles) else ())
        plain = [title for title in titles if "/" not in title]
        return listed(plain or nodes)


def listed(names: list[str]) -> str:
    """Some names, and how many more."""
    more = len(names) - SHOWN - 1
    if more < 1:
        return ", ".join(names)
    return f"{', '.join(names[:SHOWN])} and {more + 1} more"


def amount(event: events.StepProgress) -> str:
    """What long work does now and how far it is."""
    done, total, unit = event.done, event.total, event.unit
    if done is None or not unit:
        return event.message
    if unit == "s":
        return f"{event.message} in {done:.0f} s"
    if unit == "bytes":
        done, total, unit = done / MIB, total / MIB if total else None, "MiB"
    of = f" of {total:.0f}" if total else ""
    return event.message if done == total else f"{event.message}, {done:.0f}{of} {unit}"


def timed(text: str, seconds: float) -> str:
    """A line with its time at the right end."""
    return f"{text:<{WIDTH - 9}} {seconds:>6.1f} s"


def line_for(event: events.Event, board: Board) -> str | None:
    """The line of an event, or None for those that only matter to a live view."""
    match event:
        case events.PhaseStarted(phase, steps):
            return f"{phase:<{INDENT}}{steps} {'step' if steps == 1 else 'steps'}"
        case events.PhaseDone(phase, seconds):
            return timed(f"{phase:<{INDENT}}{board.scope()}", seconds)
        case events.StepProgress(_, item):
            return f"{'':<{INDENT}}{item}: {amount(event)}"
        case events.StepDone(step, _, _, seconds):
            return timed(f"{'':<{INDENT}}{step}", seconds)
        case events.StepRetried(step, _, attempt, error):
            return f"{'':<{INDENT}}{step}: try {attempt} failed, again: {error}"
        case events.StepFailed(step, _, _, code, error):
            return f"{'':<{INDENT}}{step}: FAILED [{code}] {error.splitlines()[0]}"
        case events.Stopping(running):
            what = ", ".join(running) or "nothing"
            return f"stopping after what runs now ({what}); press Ctrl-C again to stop at once"
        case _:
            return None
