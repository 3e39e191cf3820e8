"""anykube scale writes the numbers into the object's file once they are agreed to, and never half."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.command import anykube

from anykube import objectfile, workflow
from anykube.cli import running
from anykube.errors import LockedError, UsageError
from anykube.plan.effects import StartMachine
from anykube.plan.model import Phase, PhasePlan, Plan, Step
from anykube.run import Report
from anykube.spec.model import Cluster
from anykube.state.clusters import folder
from anykube.state.record import RecordStore, new_record

CLUSTER = "no-such-cluster-here"
WORKER = "count: 1   "
"""With a comment behind it; the control plane's has none."""
STEP = Step("x", Phase.PROVISION, "x", "start it", "it is off", effects=(StartMachine("x", "10.0.0.1"),))
PLAN = Plan(CLUSTER, (PhasePlan(Phase.PROVISION, (STEP,)),))


class Applied:
    """What apply was called with; it changes nothing."""

    def __init__(self) -> None:
        self.plan = PLAN
        self.fails: Exception | None = None
        self.clusters: list[Cluster] = []
        self.texts: list[str] = []
        self.files: list[str] = []

    async def __call__(
        self, cluster: Cluster, *, text: str, source: str, approve: Callable[[Plan], bool], **_: Any
    ) -> Report:
        if self.fails:
            raise self.fails
        approved = self.plan.empty or approve(self.plan)
        if approved:
            self.clusters.append(cluster)
            self.texts.append(text)
            self.files.append(Path(source).read_text())
        return Report(self.plan, approved=approved)


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> Applied:
    fake = Applied()
    monkeypatch.setattr(workflow, "apply", fake)
    return fake


def record(file: Path) -> None:
    """As if the file had been applied."""
    home = folder(Path(os.environ["ANYKUBE_STATE_DIR"]), CLUSTER)
    made = replace(new_record(CLUSTER), object=file.read_text(), source=str(file))
    RecordStore(home).save(made)


def test_the_file_is_written_before_anything_is_made(lxc: Path, applied: Applied) -> None:
    lxc.chmod(0o640)
    before = lxc.read_text()
    answer = anykube("scale", "worker=3", "-y")
    assert answer.status == 0
    assert lxc.read_text() == before.replace(WORKER, WORKER.replace("1", "3")) != before
    assert applied.files == applied.texts == [lxc.read_text()]
    assert [pool.count for pool in applied.clusters[0].spec.machines.pools] == [1, 3]
    assert lxc.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in lxc.parent.iterdir()] == ["cluster.yaml"]


def test_no_means_that_the_file_is_as_it_was(
    lxc: Path, applied: Applied, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = lxc.read_text(), lxc.stat().st_ino
    assert anykube("scale", "worker=3").status == 64  # nobody to ask
    monkeypatch.setattr(running, "confirm", lambda _question: False)
    assert anykube("scale", "worker=3").status == 0

    def interrupted(_question: str) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "confirm", interrupted)
    assert anykube("scale", "worker=3").status == 130
    applied.fails = LockedError("another run holds it")
    assert anykube("scale", "worker=3", "-y").status == 4
    assert (lxc.read_text(), lxc.stat().st_ino) == before
    assert applied.clusters == []


def test_a_number_that_is_so_already_is_only_noted(lxc: Path, applied: Applied) -> None:
    applied.plan = Plan(CLUSTER, ())
    assert anykube("scale", "worker=1").status == 0
    before = lxc.read_text()
    assert anykube("scale", "worker=3").status == 0
    assert lxc.read_text() == before.replace(WORKER, WORKER.replace("1", "3"))


def test_by_name_the_file_is_the_one_that_was_applied(lxc: Path, applied: Applied) -> None:
    record(lxc)
    os.chdir("/")
    assert anykube("scale", "worker=2", "-c", CLUSTER, "-y").status == 0
    assert "count: 2" in lxc.read_text()
    # The fake has applied nothing, so the file is ahead of the record now.
    answer = anykube("scale", "worker=3", "-c", CLUSTER, "-y")
    assert answer.status == 64
    assert "is not as it was applied" in answer.err
    assert f"anykube plan -f {lxc}" in answer.err
    lxc.unlink()
    answer = anykube("scale", "worker=3", "-c", CLUSTER, "-y")
    assert answer.status == 64
    assert "cannot be read" in answer.err


def test_a_link_stays_a_link(lxc: Path, applied: Applied) -> None:
    real = lxc.rename(lxc.with_name("real.yaml"))
    lxc.symlink_to(real.name)
    assert anykube("scale", "worker=4", "-y").status == 0
    assert lxc.is_symlink()
    assert "count: 4" in real.read_text()


def test_an_edit_of_another_is_not_lost(lxc: Path) -> None:
    before = lxc.read_text()
    lxc.write_text(before + "# mine\n")
    with pytest.raises(UsageError, match="changed meanwhile"):
        objectfile.rewrite(lxc, before, before + "# yours\n")
    assert lxc.read_text() == before + "# mine\n"


def test_a_write_that_fails_leaves_the_old_file(
    lxc: Path, applied: Applied, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = lxc.read_text()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    answer = anykube("scale", "worker=3", "-y")
    assert answer.status == 1
    assert "No space left" in answer.err
    assert lxc.read_text() == before
    assert [path.name for path in lxc.parent.iterdir()] == ["cluster.yaml"]
    assert applied.clusters == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["worker"], "'worker' is not a pool and a number"),
        (["=3"], "is not a pool and a number"),
        (["worker="], "is not a pool and a number"),
        (["worker=-1"], "is not a pool and a number"),
        (["worker=2.5"], "is not a pool and a number"),
        (["worker=\u0663"], "is not a pool and a number"),
        (["worker=9999999999"], "is not a pool and a number"),
        (["worker=2", "worker=3"], "named twice"),
        (["wroker=2"], "did you mean 'worker'?"),
        (["worker=2", "-f", "-"], "no file to write"),
    ],
)
def test_what_cannot_be_meant(lxc: Path, applied: Applied, arguments: list[str], said: str) -> None:
    before = lxc.read_text()
    answer = anykube("scale", *arguments, "-y", stdin=lxc.read_bytes())
    assert answer.status == 64
    assert said in answer.err
    assert (lxc.read_text(), applied.clusters) == (before, [])


def test_all_problems_of_the_new_object_are_told(lxc: Path, applied: Applied) -> None:
    answer = anykube("scale", "worker=0", "cp=0", "-y")
    assert answer.status == 1
    assert all(code in answer.err for code in ("SPEC-023", "SPEC-024", "SPEC-025"))
    assert applied.clusters == []


def test_machines_that_are_listed_are_not_a_number(metal: Path, applied: Applied) -> None:
    answer = anykube("scale", "node=2", "-y", "-f", str(metal))
    assert answer.status == 64
    assert f"add or remove hosts in {metal}" in answer.err
