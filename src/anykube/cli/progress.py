"""A run as it happens: events in, a live table on a terminal, plain lines with a heartbeat elsewhere."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Protocol

from anykube import events
from anykube.cli.options import Output
from anykube.cli.printing import message

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

HEARTBEAT = 15.0
"""Seconds of silence after which a plain line says what still runs."""
MOST_ROWS = 20
"""Targets shown one by one; beyond that only their number is shown."""

LASTING = (events.PhaseDone, events.StepFailed, events.StepRetried, events.Notice, events.Stopping)
"""Events that leave a line on a live terminal."""


class Progress(Protocol):
    """Consumes events. `tick` is called a few times per second, `close` at the end."""

    def __call__(self, event: events.Event) -> None:
        """Take one event."""
        ...

    def tick(self) -> None:
        """Time has passed."""
        ...

    def close(self) -> None:
        """The run is over."""
        ...


def progress(output: Output) -> Progress:
    """The consumer that fits: JSON lines on stdout for -o json, live on a terminal, else plain lines."""
    if output is Output.JSON:
        return JsonLines()
    live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")
    return LiveTable() if live else PlainLines()


class JsonLines:
    """One JSON document per event on stdout."""

    def __call__(self, event: events.Event) -> None:
        print(json.dumps({"time": time.time(), **events.as_dict(event)}), flush=True)

    def tick(self) -> None:
        """Machines need no heartbeat."""

    def close(self) -> None:
        """Nothing is left open."""


class Board:
    """What is known of the run now; both the plain and the live form show it."""

    def __init__(self) -> None:
        self.phase = ""
        self.total = 0
        self.done = 0
        self.running: dict[str, tuple[str, float]] = {}
        self.targets: dict[str, str] = {}
        self.details: dict[str, str] = {}

    def take(self, event: events.Event) -> None:
        """Update by one event."""
        match event:
            case events.PhaseStarted(phase, steps):
                self.phase, self.total, self.done = phase, steps, 0
                self.targets.clear()
                self.details.clear()
            case events.StepStarted(step, _, target, title):
                self.running[step] = (target, time.monotonic())
                self.targets[target] = title
            case events.StepProgress(_, item, text):
                self.details[item] = text
            case events.StepDone(step, _, target):
                self.done += 1
                self.running.pop(step, None)
                self._settle(target, "done")
            case events.StepFailed(step, _, target):
                self.running.pop(step, None)
                self._settle(target, "failed")

    def _settle(self, target: str, state: str) -> None:
        if state == "failed" or not any(other == target for other, _ in self.running.values()):
            self.targets[target] = state

    def busiest(self) -> str:
        """What has been running longest, for a heartbeat."""
        if not self.running:
            return ""
        step, (_, started) = min(self.running.items(), key=lambda item: item[1][1])
        more = f" and {len(self.running) - 1} more" if len(self.running) > 1 else ""
        return f"{step} for {time.monotonic() - started:.0f} s{more}"


def line_for(event: events.Event) -> str | None:
    """The plain line of an event, or None for those that only matter to a live view."""
    match event:
        case events.PhaseStarted(phase, steps):
            return f"{phase:<10} {steps} steps"
        case events.PhaseDone(phase, seconds, steps):
            return f"{phase:<10} {steps} steps done{seconds:>44.1f} s"
        case events.StepProgress(_, item, text):
            return f"           {item:<24} {text}"
        case events.StepDone(step, _, _, seconds):
            return f"           {step:<52} done {seconds:>6.1f} s"
        case events.StepRetried(step, _, attempt, error):
            return f"           {step:<52} try {attempt} failed, again: {error}"
        case events.StepFailed(step, _, _, code, error):
            return f"           {step:<52} FAILED [{code}] {error.splitlines()[0]}"
        case events.Notice(text):
            return f"           note: {text}"
        case events.Stopping(running):
            what = ", ".join(running) or "nothing"
            return f"stopping after what runs now ({what}); press Ctrl-C again to stop at once"
        case _:
            return None


class PlainLines:
    """Lines for logs and CI: one per step, and a heartbeat when nothing else was said for a while."""

    def __init__(self) -> None:
        self._board = Board()
        self._spoken = time.monotonic()

    def __call__(self, event: events.Event) -> None:
        self._board.take(event)
        if line := line_for(event):
            self._say(line)

    def tick(self) -> None:
        """Say that we are alive, at most every HEARTBEAT seconds."""
        if self._board.running and time.monotonic() - self._spoken > HEARTBEAT:
            self._say(f"           … {self._board.busiest()}")

    def close(self) -> None:
        """Nothing is left open."""

    def _say(self, line: str) -> None:
        self._spoken = time.monotonic()
        message(line)


class LiveTable:
    """Finished phases as lines, the running one as a table with a row per target."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._board = Board()
        self._console = Console(stderr=True, highlight=False)
        self._live: Live = Live(console=self._console, transient=True, auto_refresh=False)
        self._live.start()

    def __call__(self, event: events.Event) -> None:
        self._board.take(event)
        if isinstance(event, LASTING) and (line := line_for(event)):
            self._console.print(line, markup=False)
        self.tick()

    def tick(self) -> None:
        """Draw again."""
        self._live.update(self._table(), refresh=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._live.update("", refresh=True)
        self._live.stop()

    def _table(self) -> Table:
        from rich.table import Table

        board = self._board
        table = Table.grid(padding=(0, 2))
        if not board.phase:
            return table
        table.add_row(f"{board.phase:<10}", f"{board.done} of {board.total} steps", board.busiest())
        rows = list(board.targets.items())
        if len(rows) > MOST_ROWS:
            settled = sum(state == "done" for _, state in rows)
            table.add_row("", f"{settled} of {len(rows)} targets done", "")
            rows = [(target, state) for target, state in rows if state != "done"][:MOST_ROWS]
        for target, state in rows:
            table.add_row("", target, state)
        for item, text in list(board.details.items())[-MOST_ROWS:]:
            table.add_row("", item, text)
        return table
