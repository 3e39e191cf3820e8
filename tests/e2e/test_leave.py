"""Workers leave: drained within their budgets, or told what holds them; made anew, alive, dead, cut short."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.e2e.story import MACHINES, VERSION, Object, Story, kill, lines, worker

from anykube.spec.catalog import release

pytestmark = pytest.mark.e2e

IMAGE = f"anykube.local/pause:{release(VERSION).pause}"
LABELS = {"app": "web"}
BUDGET = "PodDisruptionBudget default/web"
PATIENCE = "3"


def web(replicas: int) -> list[Object]:
    """Pods that spread over the workers, and a budget that lets none of them go."""
    container = {"name": "web", "image": IMAGE, "imagePullPolicy": "Never"}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": LABELS},
    }
    spec: dict[str, Any] = {
        "replicas": replicas,
        "selector": {"matchLabels": LABELS},
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "topologySpreadConstraints": [spread],
                "containers": [container],
            },
        },
    }
    budget = {"minAvailable": replicas, "selector": {"matchLabels": LABELS}}
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec},
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "web"},
            "spec": budget,
        },
    ]


@pytest.fixture(scope="module")
def cluster(story: Story) -> Story:
    """One control plane, two workers, pods on both."""
    story.write(worker(2))
    story.apply()
    items = {"apiVersion": "v1", "kind": "List", "items": web(2)}
    story.kubectl("apply", "-f", "-", stdin=json.dumps(items))
    story.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    story.kubectl("wait", "--for=jsonpath={.status.currentHealthy}=2", "pdb/web", "--timeout=60s")
    return story


def node(cluster: Story, name: str) -> Object:
    (found,) = [item for item in cluster.objects("nodes") if item["metadata"]["name"] == name]
    return found


def machine(cluster: Story, name: str) -> tuple[str, str]:
    """What makes a container this one and no other: its host key, and the uid of its Node."""
    key = (MACHINES / cluster.name / "nodes" / name / "ssh_host_ed25519_key.pub").read_text()
    return key, node(cluster, name)["metadata"]["uid"]


def test_a_drain_keeps_a_budget_and_names_it(cluster: Story) -> None:
    leaver = cluster.node("worker", 2)
    cluster.write(worker(1))
    told = lines(cluster.changes())
    assert [line for line in told if BUDGET in line and "lets none of 1 pod go now" in line], told
    answer = cluster.apply("--drain-timeout", PATIENCE, status=3)
    assert f"{leaver} could not be drained within {PATIENCE} s; it takes pods again" in answer.stderr
    assert f"is held by {BUDGET} (2 healthy, 2 needed)" in answer.stderr
    assert "unschedulable" not in node(cluster, leaver)["spec"]
    assert leaver in cluster.nodes
    assert len(cluster.objects("pods", "-l", "app=web")) == 2


def test_a_worker_leaves_when_its_pods_may(cluster: Story) -> None:
    leaver = cluster.node("worker", 2)
    others = cluster.starts_of(cluster.node("cp"), cluster.node("worker"))
    cluster.kubectl("delete", "pdb", "web")
    cluster.apply()
    assert cluster.nodes == [cluster.node("cp"), cluster.node("worker")]
    assert cluster.ready_nodes() == set(cluster.nodes)
    assert not [name for name in cluster.secrets.names() if leaver in name]
    assert cluster.restarted_since(others) == set()
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    cluster.must_be_settled()
    cluster.write(worker(2))
    cluster.apply()


def test_a_worker_that_lives_is_made_anew(cluster: Story) -> None:
    name = cluster.node("worker", 2)
    others = cluster.starts_of(cluster.node("cp"), cluster.node("worker"))
    before = machine(cluster, name)
    cluster.run("replace", name, "-f", str(cluster.file), "--yes")
    now = machine(cluster, name)
    assert now[0] != before[0]
    assert now[1] != before[1]
    assert cluster.ready_nodes() == set(cluster.nodes)
    assert cluster.restarted_since(others) == set()
    cluster.must_be_settled()


def test_a_worker_that_is_dead_is_made_anew_without_waiting_for_it(cluster: Story) -> None:
    name = cluster.node("worker", 2)
    before = machine(cluster, name)
    cluster.power_off(name)
    answer = cluster.run("replace", name, "-c", cluster.name, "--yes", "--drain-timeout", "200")
    assert "/drain" not in answer.stderr
    assert answer.seconds < 120
    assert machine(cluster, name) != before
    cluster.must_be_settled()


@pytest.mark.parametrize("step", ["drain", "stop", "delete-machine"])
def test_a_replacement_that_is_killed_is_finished_by_apply(cluster: Story, step: str) -> None:
    name = cluster.node("worker", 2)
    process = cluster.begin("replace", name, "-f", str(cluster.file), "--yes", "-o", "json")
    assert process.stdout is not None
    for line in process.stdout:
        happened = json.loads(line)
        if happened["type"] == "StepDone" and happened["step"] == f"{name}/{step}":
            break
    kill(process)
    cluster.apply()
    assert cluster.ready_nodes() == set(cluster.nodes)
    assert "unschedulable" not in node(cluster, name)["spec"]
    cluster.must_be_settled()


def test_the_only_voter_is_not_replaced(cluster: Story) -> None:
    before = cluster.starts()
    answer = cluster.run("replace", cluster.node("cp"), "-f", str(cluster.file), "--yes", status=1)
    assert "it is the last voter of etcd" in answer.stderr
    assert cluster.restarted_since(before) == set()
