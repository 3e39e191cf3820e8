"""anykube certs rotate-ca and rotate-key: what is refused before anything is looked at, and how it ends."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.unit.cli.command import anykube

from anykube import rotation
from anykube.facts.record import Record, Rotation, Stage
from anykube.plan.model import Plan
from anykube.rotation import Goal, Rotated
from anykube.run import Report

CA = ("certs", "rotate-ca")
TOKENS = ("certs", "rotate-key", "service-account")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((*CA, "--abort", "--stage", "next", "-c", "demo"), "all the way back"),
        ((*CA, "--yes"), "does not guess the cluster"),
        ((*CA, "kubelet"), "kubelet"),
        (("certs", "rotate-key"), "Missing argument"),
    ],
)
def test_usage(arguments: tuple[str, ...], word: str) -> None:
    answer = anykube(*arguments)
    assert answer.status == 64
    assert word in answer.err


def test_a_cluster_that_is_not_there_has_no_keys(lxc: Path) -> None:
    answer = anykube(*CA, "-f", str(lxc), "--yes")
    assert answer.status == 1
    assert "There is no record" in answer.err


def ends(
    monkeypatch: pytest.MonkeyPatch, rotations: Mapping[str, Rotation], waiting: datetime | None = None
) -> list[tuple[tuple[str, ...], Goal, bool]]:
    """Rotations end like this; what was asked for."""
    asked: list[tuple[tuple[str, ...], Goal, bool]] = []

    async def rotate(
        _: object, names: tuple[str, ...], goal: Goal, *, at_once: bool, **__: object
    ) -> Rotated:
        asked.append((tuple(names), goal, at_once))
        return Rotated(Report(Plan("demo", ())), Record("demo", "x", rotations=rotations), waiting)

    monkeypatch.setattr(rotation, "rotate", rotate)
    return asked


def test_it_says_where_it_stands_and_how_to_go_on(lxc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ends(monkeypatch, {"ca/etcd": Rotation(Stage.TRUST, "old")})
    answer = anykube(*CA, "etcd", "--stage", "next", "-f", str(lxc), "--yes")
    assert asked == [(("ca/etcd",), Goal.NEXT, False)]
    assert "ca/etcd: the new key is trusted, the old one is used" in answer.err
    assert "anykube certs rotate-ca etcd -c demo --abort" in answer.err


def test_it_says_until_when_tokens_are_waited_for(lxc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end = datetime(2026, 11, 21, 3, 4, tzinfo=UTC)
    ends(monkeypatch, {"service-account": Rotation(Stage.USE, "old")}, end)
    answer = anykube(*TOKENS, "-f", str(lxc), "--yes")
    assert "ends at 03:04 UTC; then: anykube certs rotate-key service-account -c demo" in answer.err
    assert "--now" in answer.err


def test_it_says_that_it_is_over(lxc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ends(monkeypatch, {})
    assert "service-account: replaced" in anykube(*TOKENS, "--now", "-f", str(lxc), "--yes").err
    answer = anykube(*CA, "--abort", "-f", str(lxc), "--yes")
    assert "the old key is the only one" in answer.err
    assert [(goal, at_once) for _, goal, at_once in asked] == [(Goal.FINISH, True), (Goal.BACK, False)]
