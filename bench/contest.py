"""Ways of doing one thing, run in turn on one machine, and what is told: ratios of the runs of one round."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from bench.figures import Row, Say, by_name, load_average, ratios, spread

Run = dict[str, float]
"""What one run measured, by name: seconds to each line; `cpu` and `load` beside them."""
Ways = Mapping[str, Callable[[], Awaitable[Run]]]


@dataclass
class Contest:
    """All runs of one topology, by way. The n-th runs of all ways were made in one round."""

    name: str
    runs: dict[str, list[Run]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    async def hold(self, ways: Ways, rounds: int, say: Say) -> None:
        """Every way `rounds` times, in turn; the first way changes from round to round."""
        names = tuple(ways)
        self.runs = {name: [] for name in names}
        for number in range(rounds):
            turn, found = number % len(names), dict[str, Run]()
            try:
                for name in names[turn:] + names[:turn]:
                    load = load_average()
                    found[name] = {**await ways[name](), "load": load}
                    say(f"{self.name} {number + 1}/{rounds} {name}: {_shown(found[name])}")
            except (RuntimeError, TimeoutError) as error:
                # The round counts for nobody, the others do.
                self.failures.append(repr(error))
                say(f"{self.name} {number + 1}/{rounds} failed: {error!r}")
                continue
            for name in names:
                self.runs[name].append(found[name])

    def compared(self, ours: str, other: str, measure: str, target: float | None = None) -> Row:
        """The ratio of one measure between two ways."""
        mine, theirs = by_name(self.runs[ours], measure), by_name(self.runs[other], measure)
        load = spread([run["load"] for name in (ours, other) for run in self.runs[name]]).median
        beside = f"{spread(mine).median:.1f} s / {spread(theirs).median:.1f} s, load {load:.1f}"
        what = f"{self.name}: {measure}, {ours} / {other}"
        return Row(what, ratios(mine, theirs), "", target, beside)

    @property
    def rounds(self) -> int:
        """How many rounds count."""
        return min((len(runs) for runs in self.runs.values()), default=0)

    def as_dict(self) -> dict[str, object]:
        """JSON form: every run."""
        return {"topology": self.name, **self.runs, "failures": self.failures}


def _shown(run: Run) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in run.items())
