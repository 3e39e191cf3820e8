"""Bring-up of a topology: anykube against kubeadm, run in turn.

bring-up           one machine, and one control plane with workers
high-availability  three control planes, etcd on them or apart; the former also against our own single machine
"""

from __future__ import annotations

from collections.abc import Sequence

from anykube.facts.artifacts import ArtifactLock
from bench.contest import Contest, Ways
from bench.figures import Row, Say, by_name, spread
from bench.shape import Shape
from bench.sides import anykube, kubeadm

BRING_UP = (Shape(1), Shape(1, 2))
HIGH_AVAILABILITY = (Shape(3, 2), Shape(3, 2, etcd=3))
MEASURES = ("api", "servers", "nodes", "dns", "all", "cpu")
"""The finish lines, and the processor seconds that were used until the last of them."""
OURS, THEIRS, FAIR, WHOLE, SINGLE = "anykube", "kubeadm", "kubeadm, fair", "from nothing", "1 node"
WHOLE_SECONDS = 30.0
"""From the command to the DNS answer, machines included, everything cached."""
DNS_TARGET = 0.7
SEVERAL_TARGET = 0.6
"""With several control planes, where kubeadm joins what we start at once."""
SINGLE_TARGET = 1.5
"""Three control planes and two workers, to one machine."""


async def measure(topologies: Sequence[Shape], runs: int, lock: ArtifactLock, say: Say) -> list[Contest]:
    """One contest a topology."""
    contests = []
    for shape in topologies:
        contest = Contest(shape.name)
        await contest.hold(_ways(shape, lock), runs, say)
        contests.append(contest)
    return contests


def _ways(shape: Shape, lock: ArtifactLock) -> Ways:
    ways: Ways = {
        OURS: lambda: anykube(shape, lock),
        THEIRS: lambda: kubeadm(shape, lock),
        FAIR: lambda: kubeadm(shape, lock, fair=True),
    }
    if shape.planes == 1:
        return {**ways, WHOLE: lambda: anykube(shape, lock, fresh=False)}
    return ways if shape.etcd else {**ways, SINGLE: lambda: anykube(Shape(1), lock)}


def report(contests: Sequence[Contest]) -> list[Row]:
    """All rows of all topologies."""
    return [row for contest in contests if contest.rounds for row in _rows(contest)]


def _rows(contest: Contest) -> list[Row]:
    several = WHOLE not in contest.runs
    target = ("all", SEVERAL_TARGET) if several else ("dns", DNS_TARGET)
    rows = [
        contest.compared(OURS, rival, line, target[1] if (rival, line) == (THEIRS, target[0]) else None)
        for rival in (THEIRS, FAIR)
        for line in MEASURES
    ]
    if several:
        single = [contest.compared(OURS, SINGLE, "all", SINGLE_TARGET)] if SINGLE in contest.runs else []
        return [*rows, *single]
    whole = spread(by_name(contest.runs[WHOLE], "dns"))
    return [*rows, Row(f"{contest.name}: from nothing to dns", whole, " s", WHOLE_SECONDS)]
