"""A run as it happens: events in, a live table on a terminal, plain lines with a heartbeat elsewhere."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Protocol

from anykube import events
from anykube.cli.board import INDENT, PLACES, Board, line_for
from anykube.cli.options import Output
from anykube.cli.printing import message

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

HEARTBEAT = 15.0
"""Seconds of silence after which a plain line says what still runs."""
PATIENCE = 5.0
"""Seconds between two plain lines about the same piece of long work."""
MOST_ROWS = 20
"""Targets shown one by one; beyond that only their number is shown."""
MOST_DETAILS = 6

LASTING = (events.PhaseDone, events.StepFailed, events.StepRetried, events.Stopping)
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


def is_live() -> bool:
    """Whether stderr is a terminal that can be drawn on."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


def progress(output: Output) -> Progress:
    """The consumer that fits: JSON lines on stdout for -o json, live on a terminal, else plain lines."""
    if output is Output.JSON:
        return JsonLines()
    return LiveTable() if is_live() else PlainLines()


class JsonLines:
    """One JSON document per event on stdout."""

    def __call__(self, event: events.Event) -> None:
        print(json.dumps({"time": time.time(), **events.as_dict(event)}), flush=True)

    def tick(self) -> None:
        """Machines need no heartbeat."""

    def close(self) -> None:
        """Nothing is left open."""


class PlainLines:
    """Lines for logs and CI: one per step, and a heartbeat when nothing else was said for a while."""

    def __init__(self) -> None:
        self._board = Board()
        self._spoken = time.monotonic()
        self._told: dict[str, tuple[float, str]] = {}

    def __call__(self, event: events.Event) -> None:
        self._board.take(event)
        if isinstance(event, events.StepProgress) and not self._news(event):
            return
        if line := line_for(event, self._board):
            self._say(line)

    def _news(self, event: events.StepProgress) -> bool:
        """Whether this was not just said: the same again with a higher number can wait, an end cannot."""
        said, before = self._told.get(event.item, (0.0, ""))
        ended = event.done is not None and event.done == event.total and event.message != before
        if not ended and time.monotonic() - said < PATIENCE:
            return False
        self._told[event.item] = (time.monotonic(), event.message)
        return True

    def tick(self) -> None:
        """Say that we are alive, at most every HEARTBEAT seconds."""
        if not self._board.idle and time.monotonic() - self._spoken > HEARTBEAT:
            self._say(f"{'':<{INDENT}}… {self._board.busiest()}")

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
        if isinstance(event, LASTING) and (line := line_for(event, self._board)):
            bad = isinstance(event, events.StepFailed)
            self._console.print(line, markup=False, soft_wrap=True, style="red" if bad else None)
        if isinstance(event, events.PhaseDone):
            self._board.phase = ""
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
        table = Table.grid(padding=(0, 2, 0, 0))
        for _ in range(3):
            table.add_column(no_wrap=True, overflow="ellipsis")
        if not board.phase:
            return table
        table.add_row(
            f"{board.phase:<{INDENT - 2}}", f"{board.done} of {board.total} steps", f"{board.seconds:.0f} s"
        )
        rows = list(board.rows.items())
        if len(rows) > MOST_ROWS:
            busy = [(target, row) for target, row in rows if row.running or row.failed]
            table.add_row("", f"{len(rows) - len(busy)} of {len(rows)} targets at rest", "")
            rows = busy[:MOST_ROWS]
        for target, row in rows:
            table.add_row("", PLACES.get(target, target), str(row), style="red" if row.failed else None)
        for item, (_, text) in list(board.details.items())[-MOST_DETAILS:]:
            table.add_row("", f"  {item}", text)
        return table
