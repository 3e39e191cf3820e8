"""How a run reads: phases with their time, long work with what is left, an ending with the next commands."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from anykube import events
from anykube.cli import progress as progress_module
from anykube.cli.board import WIDTH, Board, amount, line_for, listed
from anykube.cli.ending import finish, next_commands, program
from anykube.cli.progress import PlainLines
from anykube.cli.target import target
from anykube.plan.model import Plan
from anykube.plan.status import NodeStatus, Status
from anykube.run import Report

PHASE = [
    events.PhaseStarted("bootstrap", 3),
    events.StepStarted("local/certificates", "bootstrap", "local", "certificates"),
    events.StepDone("local/certificates", "bootstrap", "local", 0.1),
    events.StepStarted("cp-1/etcd", "bootstrap", "cp-1", "etcd"),
    events.StepStarted("worker-1/kubelet", "bootstrap", "worker-1", "kubelet"),
]


def test_a_phase_as_it_goes(capsys: pytest.CaptureFixture[str]) -> None:
    lines, board = PlainLines(), Board()
    for event in PHASE:
        lines(event)
        board.take(event)
    assert (board.done, board.total, board.scope()) == (1, 3, "cp-1, worker-1")
    assert {name: str(row) for name, row in board.rows.items()} == {
        "local": "1 step done",
        "cp-1": "etcd",
        "worker-1": "kubelet",
    }
    board.take(events.StepFailed("cp-1/etcd", "bootstrap", "cp-1", "WAIT-001", "late"))
    assert str(board.rows["cp-1"]) == "failed"
    lines(events.PhaseDone("bootstrap", 6.94, 3))
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines()[-1] == f"{'bootstrap  cp-1, worker-1':<{WIDTH - 9}}    6.9 s"


def test_a_phase_through_the_api_tells_what() -> None:
    board = Board()
    board.take(events.PhaseStarted("addons", 3))
    for title in ("flannel", "dns", "Deployment/kube-system/coredns"):
        board.take(events.StepStarted(f"cluster/{title}", "addons", "cluster", title))
    board.take(events.StepStarted("cp-1/ready", "addons", "cp-1", "Ready"))
    assert (line_for(events.PhaseDone("addons", 1.0, 3), board) or "").startswith("addons     flannel, dns ")


def test_names_are_listed_in_bounds() -> None:
    assert listed(["a", "b", "c", "d"]) == "a, b, c, d"
    assert listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


@pytest.mark.parametrize(
    ("done", "total", "unit", "text"),
    [
        (None, None, "", "working"),
        (5 * 2**20, 20 * 2**20, "bytes", "working, 5 of 20 MiB"),
        (5 * 2**20, None, "bytes", "working, 5 MiB"),
        (3, 8, "images", "working, 3 of 8 images"),
        (8, 8, "images", "working"),
        (137.2, 137.2, "s", "working in 137 s"),
    ],
)
def test_long_work_says_how_much_is_left(
    done: float | None, total: float | None, unit: str, text: str
) -> None:
    assert amount(events.StepProgress("step", "item", "working", done, total, unit)) == text


def test_long_work_does_not_flood_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    lines = PlainLines()
    for done in range(1, 1001):
        lines(events.StepProgress("local/artifacts", "kubelet", "downloading", done, 1000, "packages"))
    lines(events.StepProgress("local/artifacts", "kubelet", "downloaded", 1000, 1000, "packages"))
    told = capsys.readouterr().err.splitlines()
    assert 2 <= len(told) <= 3
    assert told[-1].endswith("kubelet: downloaded")


def test_silence_is_broken_by_a_heartbeat(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = PlainLines()
    for event in PHASE:
        lines(event)
    capsys.readouterr()
    lines.tick()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress_module, "HEARTBEAT", -1.0)
    lines.tick()
    assert "cp-1/etcd for 0 s and 1 more" in capsys.readouterr().err


def test_the_ending(lxc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node = NodeStatus("cp-1", ("control-plane",), "v1.36.3", "10.81.0.11", "Ready", {})
    status = Status("x", "ready", "v1.36.3", (node,), (), (), ())
    finish(Report(Plan("x", ()), status=status), target(lxc, None), live=False)
    told = capsys.readouterr()
    assert "0 changes" in told.err
    assert told.out.splitlines()[1].split() == ["cp-1", "control-plane", "v1.36.3", "10.81.0.11", "Ready"]
    assert [line[:10].strip() for line in told.out.splitlines()[3:]] == [
        "Use it:",
        "Look at it",
        "Grow it:",
        "Remove it:",
    ]


def test_next_commands_are_as_typed_here(lxc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(sys, "argv", [str(lxc.parent / ".venv/bin/anykube")])
    use, look, grow, remove = next_commands(target(lxc, None))
    assert use.endswith("export KUBECONFIG=$(.venv/bin/anykube kubeconfig -c no-such-cluster-here --path)")
    assert look.endswith(".venv/bin/anykube status -c no-such-cluster-here")
    assert grow.endswith(".venv/bin/anykube scale worker=2 -c no-such-cluster-here")
    assert remove.endswith(".venv/bin/anykube destroy -c no-such-cluster-here")
    monkeypatch.setattr(sys, "argv", ["/elsewhere/bin/anykube"])
    assert program() == "/elsewhere/bin/anykube"
    monkeypatch.setattr(sys, "argv", ["pytest"])
    assert program() == "anykube"


def test_growing_an_object_without_a_file(lxc: Path) -> None:
    found = replace(target(lxc, None), source="")
    assert "count: 2 for the pool worker in FILE, then: " in next_commands(found)[2]


def test_growing_machines_that_exist_is_another_host(metal: Path) -> None:
    assert "add a host in metal.yaml" in next_commands(target(metal, None))[2]
