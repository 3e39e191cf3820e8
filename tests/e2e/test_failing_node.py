"""One machine cannot be made. The others come up, the error says why, and the next apply finishes the job."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.story import Story, telling, worker

pytestmark = pytest.mark.e2e

SHIM = """#!/bin/sh
case "$*" in *worker-2*) echo 'no space for worker-2' >&2; exit 1 ;; esac
exec {lxc_start} "$@"
"""


@pytest.fixture
def cluster(alone: None, tmp_path: Path) -> Iterator[Story]:
    """A cluster of three on a machine whose lxc-start refuses the second worker, while `broken` is there."""
    shim = tmp_path / "broken" / "lxc-start"
    shim.parent.mkdir()
    shim.write_text(SHIM.format(lxc_start=shutil.which("lxc-start")))
    shim.chmod(0o755)
    path = f"{shim.parent}:{os.environ['PATH']}"
    with telling("e2e-failing", tmp_path) as story:
        broken = Story(story.name, story.folder, {"PATH": path})
        broken.write(worker(2))
        yield broken


def test_a_machine_that_cannot_be_made_stops_no_other(cluster: Story) -> None:
    lost = cluster.node("worker", 2)
    answer = cluster.apply(status=3)
    assert "no space for worker-2" in answer.stderr
    assert f"{lost}/machine" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert cluster.ready_nodes() == {cluster.node("cp"), cluster.node("worker")}
    status = cluster.run("status", "-c", cluster.name, "-o", "json", "--check", status=3).json["status"]
    states = {node["name"]: node["state"] for node in status["nodes"]}
    assert states == {cluster.node("cp"): "Ready", cluster.node("worker"): "Ready", lost: "stopped"}

    before = cluster.starts_of(cluster.node("cp"), cluster.node("worker"))
    shutil.rmtree(cluster.folder / "broken")
    cluster.apply()
    assert lost in cluster.ready_nodes()
    assert cluster.starts_of(cluster.node("cp"), cluster.node("worker")) == before
    cluster.must_be_settled()
