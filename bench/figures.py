"""Numbers from repeated runs: median and spread, ratios of pairs, and tables of them."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

Say = Callable[[str], None]
"""Told what was measured as it is measured."""


@dataclass(frozen=True, slots=True)
class Spread:
    """What repeated measurements of one thing gave."""

    median: float
    least: float
    most: float
    runs: int

    def as_dict(self) -> dict[str, float]:
        """JSON form."""
        return asdict(self)


def spread(values: Sequence[float]) -> Spread:
    """Median, least and most."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Ours to theirs, run by run: both of a pair were measured one after the other."""
    return spread([mine / other for mine, other in zip(ours, theirs, strict=True)])


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the report. `target` is what `value` should not exceed; None if there is no target."""

    what: str
    value: Spread
    unit: str
    target: float | None = None
    beside: str = ""

    @property
    def verdict(self) -> str:
        """Whether the median keeps to the target."""
        if self.target is None:
            return ""
        return "yes" if self.value.median <= self.target else "NO"

    def as_dict(self) -> dict[str, object]:
        """JSON form."""
        return {**asdict(self), "met": self.verdict}


HEAD = ("measure", "median", "min", "max", "n", "target", "met", "beside")


def table(rows: Sequence[Row]) -> str:
    """All rows, in columns."""
    lines = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cells(row: Row) -> tuple[str, ...]:
    def number(value: float) -> str:
        return f"{value:.3g}{row.unit}" if abs(value) < 1000 else f"{value:.0f}{row.unit}"

    value = row.value
    target = "" if row.target is None else f"<= {row.target:g}{row.unit}"
    numbers = (number(value.median), number(value.least), number(value.most), str(value.runs))
    return (row.what, *numbers, target, row.verdict, row.beside)


def load_average() -> float:
    """How busy this machine is: the mean number of processes that want to run, over a minute."""
    return os.getloadavg()[0]


def by_name(runs: Sequence[Mapping[str, float]], name: str) -> list[float]:
    """One measure of all runs."""
    return [run[name] for run in runs]
