"""What writers did, as it happened: every write that was begun, and how it ended if that is known.

writers.py appends while anykube works on the cluster; checker.py compares it with what the cluster holds.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

Outcome = Literal["begun", "ok", "fail", "unknown"]
"""'fail': surely not done. 'unknown': it may have been done, or may still be."""


@dataclass(frozen=True, slots=True)
class Event:
    """A write begins or ends. `moment` is of this machine's monotonic clock, in seconds."""

    moment: float
    kind: str
    client: str
    number: int
    outcome: Outcome
    revision: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Write:
    """One write: when it was begun, when its end was seen (None: not yet), and the revision it got."""

    kind: str
    client: str
    number: int
    begun: float
    ended: float | None = None
    outcome: Outcome = "unknown"
    revision: int = 0

    @property
    def key(self) -> str:
        """Where it writes; no other write has the same."""
        return key(self.client, self.number)

    @property
    def acknowledged(self) -> bool:
        """Whether the cluster promised to keep it."""
        return self.outcome == "ok"


def key(client: str, number: int) -> str:
    """Name of the object, or end of the etcd key, of a client's write."""
    return f"seq-{client}-{number}"


class History:
    """Events, in memory and in a file that is complete up to the moment when its writer dies.

    A file that is there already is gone on with: what was promised then must be kept now.
    """

    def __init__(self, path: Path) -> None:
        self._events = read(path) if path.exists() else []
        self._file = path.open("a", buffering=1)
        self._lock = threading.Lock()

    def add(
        self, kind: str, client: str, number: int, outcome: Outcome, revision: int = 0, note: str = ""
    ) -> None:
        """Something happened now."""
        with self._lock:
            event = Event(time.monotonic(), kind, client, number, outcome, revision, note)
            self._events.append(event)
            self._file.write(json.dumps(asdict(event)) + "\n")

    def writes(self) -> list[Write]:
        """All writes so far."""
        with self._lock:
            return writes(self._events)

    def last_number(self, client: str) -> int:
        """The highest number that a client used, 0 if none."""
        with self._lock:
            return max((event.number for event in self._events if event.client == client), default=0)

    def close(self) -> None:
        """Nothing is added any more."""
        with self._lock:
            self._file.close()


def read(path: Path) -> list[Event]:
    """The events of a file."""
    return [Event(**json.loads(line)) for line in path.read_text().splitlines()]


def writes(events: Iterable[Event]) -> list[Write]:
    """Each begun write with its end, in the order of their beginnings."""
    found: dict[tuple[str, int], Write] = {}
    for event in events:
        which = (event.client, event.number)
        if event.outcome == "begun":
            assert which not in found, f"{which} begun twice"
            found[which] = Write(event.kind, event.client, event.number, event.moment)
        else:
            begun = found[which].begun
            found[which] = Write(
                event.kind, event.client, event.number, begun, event.moment, event.outcome, event.revision
            )
    return list(found.values())


def longest_gap(done: Sequence[Write], kind: str, begin: float, end: float) -> float:
    """The longest time between `begin` and `end` in which no write of a kind was acknowledged.

    All clients of the kind count as one: it is the time in which nobody could write.
    """
    moments = sorted(w.ended for w in done if w.kind == kind and w.acknowledged and w.ended is not None)
    inside = [begin, *(moment for moment in moments if begin < moment < end), end]
    return max(after - before for before, after in pairwise(inside))
