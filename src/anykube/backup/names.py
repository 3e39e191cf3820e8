"""Names of archives: '<cluster>-<lineage>-<time>-<node>.age', the same from nodes and from here.

The first eight characters of the lineage tell clusters apart that had the same name one after the other, so
that the retention of one never touches the archives of another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

SUFFIX = ".age"
_TIME = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(r"([a-z0-9-]+-[0-9a-f]{8})-([0-9]{8}T[0-9]{6}Z)-([a-z0-9.-]+)\.age")


@dataclass(frozen=True, slots=True)
class Entry:
    """An archive in some place, by what its name says. `size` is in bytes."""

    name: str
    series: str
    taken: datetime
    node: str
    size: int


def series(cluster: str, lineage: str) -> str:
    """What the names of all archives of one cluster begin with."""
    return f"{cluster}-{lineage[:8]}"


def archive_name(of: str, taken: datetime, node: str) -> str:
    """The name of an archive of a series."""
    return f"{of}-{taken.astimezone(UTC):{_TIME}}-{node}{SUFFIX}"


def entry(name: str, size: int) -> Entry | None:
    """What a name says, or None if it is not the name of an archive."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        taken = datetime.strptime(match[2], _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None
    return Entry(name, match[1], taken, match[3], size)


def surplus(entries: Iterable[Entry], keep: int, newest: str = "") -> tuple[Entry, ...]:
    """Those that retention removes from a series: all but the newest `keep`. `newest`, the one just made,
    stays whatever its clock said; the newest of all stays in any case."""
    ordered = sorted(entries, key=lambda item: (item.name == newest, item.taken, item.name))
    return tuple(ordered[: -max(1, keep)])
