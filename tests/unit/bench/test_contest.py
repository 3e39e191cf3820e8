"""Rounds of a contest: all ways in turn, and a round that fails counts for nobody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bench.bring_up import FAIR, OURS, SINGLE, THEIRS, report
from bench.contest import Contest, Run


def way(said: list[str], name: str, *seconds: float) -> Callable[[], Awaitable[Run]]:
    """A way that takes so many seconds, run by run; below zero it fails."""
    left = list(seconds)

    async def run() -> Run:
        said.append(name)
        taken = left.pop(0)
        if taken < 0:
            raise RuntimeError(f"{name} failed")
        return {"all": taken}

    return run


async def test_the_first_way_changes_from_round_to_round() -> None:
    order: list[str] = []
    contest = Contest("3+2")
    await contest.hold({"a": way(order, "a", 2, 4, 6), "b": way(order, "b", 4, 4, 4)}, 3, lambda _: None)
    assert order == ["a", "b", "b", "a", "a", "b"]
    row = contest.compared("a", "b", "all", 0.6)
    assert (row.value.median, row.value.least, row.value.most, row.value.runs) == (1.0, 0.5, 1.5, 3)
    assert row.verdict == "NO"
    assert row.what == "3+2: all, a / b"


async def test_a_round_that_fails_counts_for_nobody() -> None:
    contest = Contest("3+2")
    await contest.hold({"a": way([], "a", 1, 2), "b": way([], "b", -1, 8)}, 2, lambda _: None)
    assert contest.failures == ["RuntimeError('b failed')"]
    assert [run["all"] for run in contest.runs["a"]] == [2]
    assert contest.rounds == 1


def test_nothing_is_told_of_a_contest_without_rounds() -> None:
    assert report([Contest("3+2", {OURS: [], THEIRS: []}, ["it failed"])]) == []


def test_several_control_planes_have_targets_of_their_own() -> None:
    def run(seconds: float) -> Run:
        lines = dict.fromkeys(("api", "servers", "nodes", "dns", "all", "cpu"), seconds)
        return {**lines, "load": 1.0}

    contest = Contest("3+2", {OURS: [run(15)], THEIRS: [run(30)], FAIR: [run(20)], SINGLE: [run(9)]})
    aims = {row.what: (row.value.median, row.verdict) for row in report([contest]) if row.target}
    assert aims == {
        "3+2: all, anykube / kubeadm": (0.5, "yes"),
        "3+2: all, anykube / 1 node": (15 / 9, "NO"),
    }
