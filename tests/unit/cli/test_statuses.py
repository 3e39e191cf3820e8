"""Exit statuses are a promise to scripts: each of them, by a real run."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from tests.unit.cli.command import Terminal, anykube, program

from anykube.state.clusters import folder
from anykube.state.lock import ClusterLock


def test_0_when_done() -> None:
    assert program("version").status == 0


def test_1_on_an_error() -> None:
    answer = program("validate", "-f", "missing.yaml")
    assert answer.status == 1
    assert "missing.yaml:1:1" in answer.err


def test_2_when_changes_are_pending_and_asked_for(lxc: Path) -> None:
    assert anykube("plan", "-f", str(lxc)).status == 0
    assert program("plan", "-f", str(lxc), "--detailed-exitcode").status == 2


def test_3_when_a_node_cannot_be_reached(metal: Path) -> None:
    answer = program("destroy", "-f", str(metal), "--yes")
    assert answer.status == 3, answer.err
    assert "one cannot be cleaned" in answer.err


def test_3_when_a_status_is_not_well(lxc: Path) -> None:
    assert anykube("status", "-f", str(lxc)).status == 0
    assert anykube("status", "-f", str(lxc), "--check").status == 3


def test_4_when_another_run_holds_the_lock(lxc: Path, tmp_path: Path) -> None:
    async def held() -> None:
        async with ClusterLock(folder(tmp_path / "state", "no-such-cluster-here"), "a test"):
            began = time.monotonic()
            answer = await asyncio.to_thread(program, "apply", "-f", str(lxc), "--yes")
            assert answer.status == 4
            assert "a test" in answer.err
            # Told at once. The limit is for machines that are busy with other tests.
            assert time.monotonic() - began < 20

    asyncio.run(held())


@pytest.mark.parametrize(
    "line",
    [
        "nosuch",
        "apply --nosuch",
        "status -o nosuch",
        "exec",
        "logs",
        "logs node --lines 0",
        "plan -f a -c b",
        "plan",
        "plan -c nosuch",
        "apply plan.json -c nosuch",
        "init -y --name UPPER",
        "init -y --workers nosuch",
        "completion nosuch",
        "",
    ],
)
def test_64_when_used_wrongly(line: str) -> None:
    answer = anykube(*line.split())
    assert (answer.status, answer.out) == (64, "")
    assert answer.err
    assert "Traceback" not in answer.err


def test_64_when_the_name_is_empty(metal: Path) -> None:
    """An unset variable in `-c "$NAME"` must not mean the cluster.yaml that lies here."""
    metal.rename("cluster.yaml")
    for command in ("validate", "destroy", "apply"):
        assert anykube(command, "-c", "").status == 64


def test_64_also_from_the_program() -> None:
    assert program("apply", "--nosuch").status == 64


def test_130_when_interrupted_at_the_question(lxc: Path) -> None:
    terminal = Terminal("apply", "-f", str(lxc))
    terminal.expect(r"\[y/N\] ")
    terminal.type("\x03")
    assert terminal.status() == 130
    terminal_again = Terminal("apply", "-f", str(lxc))
    terminal_again.expect(r"\[y/N\] ")
    terminal_again.type("n\r")
    terminal_again.expect("Nothing was changed")
    assert terminal_again.status() == 0


def test_doctor_says_what_it_saw() -> None:
    answer = anykube("doctor", "-o", "json")
    document = json.loads(answer.out)
    assert answer.status == (1 if document["problems"] else 0)
    checks = {check["name"]: check for check in document["checks"]}
    assert {"python", "go", "memory", "disk", "clock", "root", "tools", "cgroup", "kernel"} <= checks.keys()
    assert all(check["remedy"] for check in checks.values() if check["verdict"] != "ok")
    assert anykube("doctor").out.count("\n  ok") >= 1


def test_doctor_ends_with_1_when_a_node_does_not_answer(metal: Path) -> None:
    answer = anykube("doctor", "-f", str(metal))
    assert answer.status == 1
    assert "problem  answers" in answer.out
    assert "do: start the machine" in answer.out
