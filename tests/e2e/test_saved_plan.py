"""A plan is made, looked at, and run later: exactly that, or nothing when the world has moved."""

from __future__ import annotations

import pytest
from tests.e2e.story import Story, worker

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def cluster(story: Story) -> Story:
    """A cluster made from a saved plan."""
    story.write(worker())
    plan = story.run("plan", "-f", str(story.file), "--out", "birth.json", "--detailed-exitcode", status=2)
    assert "birth.json" in plan.stderr
    assert not story.record.exists(), "plan wrote something"
    story.run("apply", "birth.json", "--yes")
    return story


def test_a_plan_made_on_nothing_brings_the_cluster_up(cluster: Story) -> None:
    cluster.must_be_settled()
    assert cluster.ready_nodes() == set(cluster.nodes)
    assert cluster.run("status", "-c", cluster.name, "--check").status == 0


def test_a_plan_that_was_run_is_refused(cluster: Story) -> None:
    answer = cluster.run("apply", "birth.json", "--yes", status=1)
    assert "not as it was when the plan" in answer.stderr
    assert "is not to be done any more" in answer.stderr
    assert "anykube plan --out" in answer.stderr


def test_a_plan_is_refused_when_the_world_moved_and_nothing_is_touched(cluster: Story) -> None:
    first, second = cluster.node("cp"), cluster.node("worker")
    cluster.on(second, "systemctl", "stop", "kube-proxy")
    cluster.run("plan", "-c", cluster.name, "--out", "repair.json")
    cluster.on(first, "rm", "/opt/cni/bin/portmap")
    before = cluster.starts()
    answer = cluster.run("apply", "repair.json", "--yes", status=1)
    assert f"{first}/cni is to be done now (missing), and was not in the plan" in answer.stderr
    assert cluster.restarted_since(before) == set()
    assert cluster.on(second, "systemctl", "is-active", "kube-proxy", check=False).strip() == "inactive"

    cluster.run("plan", "-c", cluster.name, "--out", "again.json")
    cluster.run("apply", "again.json", "--yes")
    cluster.must_be_settled()


def test_a_plan_that_others_could_have_written_is_refused(cluster: Story) -> None:
    cluster.run("plan", "-c", cluster.name, "--out", "open.json")
    (cluster.folder / "open.json").chmod(0o666)
    answer = cluster.run("apply", "open.json", "--yes", status=1)
    assert "open.json" in answer.stderr
