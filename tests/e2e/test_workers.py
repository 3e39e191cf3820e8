"""More workers and fewer, other labels, taints, sizes, by editing the object: only what must is touched."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.e2e.story import MACHINES, Object, Story, lines, worker

from anykube.providers.lxc.cgroups import groups
from anykube.providers.lxc.layout import Layout

pytestmark = pytest.mark.e2e

MEBIBYTE = 1024 * 1024
DISK = {"e2e.example.com/disk": "ssd"}
TAINT = {"key": "e2e.example.com/only", "value": "batch", "effect": "NoSchedule"}


@pytest.fixture(scope="module")
def cluster(story: Story) -> Story:
    """One control plane and one worker."""
    story.write(worker(labels=DISK))
    story.apply()
    return story


def node_object(cluster: Story, name: str) -> Object:
    """A Node."""
    (found,) = [node for node in cluster.objects("nodes") if node["metadata"]["name"] == name]
    return found


def memory_limit(cluster: Story, node: str) -> int:
    """The memory that the kernel lets a node have now."""
    layout = Layout(MACHINES, Path("/nowhere"), cluster.name)
    limits = [
        group / name
        for group in groups(layout.node(node))
        for name in ("memory.limit_in_bytes", "memory.max")
        if ".node." in str(group) and (group / name).exists()
    ]
    (limit,) = limits
    return int(limit.read_text())


def test_three_workers_then_one_again(cluster: Story) -> None:
    before = cluster.starts()
    new = {cluster.node("worker", 2), cluster.node("worker", 3)}
    cluster.write(worker(3, labels=DISK))
    touched = {line.partition(":")[0] for line in lines(cluster.changes())}
    assert touched <= {"local", "cluster", *new}
    cluster.apply()
    assert cluster.restarted_since(before) == set()
    assert cluster.ready_nodes() == set(cluster.nodes)
    assert len(cluster.nodes) == 4
    assert (
        node_object(cluster, cluster.node("worker", 3))["metadata"]["labels"]["e2e.example.com/disk"] == "ssd"
    )
    cluster.must_be_settled()

    cluster.write(worker(labels=DISK))
    gone = {f"delete machine {node} (not in the object any more)" for node in new}
    shown = {line.partition(": ")[2] for line in lines(cluster.changes())}
    assert gone <= shown
    cluster.apply()
    assert cluster.nodes == [cluster.node("cp"), cluster.node("worker")]
    assert {node["metadata"]["name"] for node in cluster.objects("nodes")} == set(cluster.nodes)
    assert cluster.restarted_since(before) == set()
    cluster.must_be_settled()


def test_labels_of_a_pool_change_on_its_nodes(cluster: Story) -> None:
    node = cluster.node("worker")
    before = cluster.starts()
    cluster.write(worker(labels={"e2e.example.com/disk": "nvme", "team": "data"}))
    cluster.apply()
    labels = node_object(cluster, node)["metadata"]["labels"]
    assert labels["e2e.example.com/disk"] == "nvme"
    assert labels["team"] == "data"
    assert cluster.restarted_since(before) <= {f"{node} kubelet.service"}
    cluster.must_be_settled()

    cluster.write(worker())
    cluster.apply()
    labels = node_object(cluster, node)["metadata"]["labels"]
    assert {"team", "e2e.example.com/disk"} & set(labels) == set()
    cluster.must_be_settled()


def test_a_new_pool_registers_with_its_taints(cluster: Story) -> None:
    before = cluster.starts()
    batch = {"name": "batch", "roles": ["worker"], "taints": [TAINT]}
    cluster.write(worker(), batch)
    cluster.apply()
    assert TAINT in node_object(cluster, cluster.node("batch"))["spec"]["taints"]
    assert cluster.restarted_since(before) == set()
    cluster.write(worker())
    cluster.apply()
    assert cluster.ready_nodes() == {cluster.node("cp"), cluster.node("worker")}


def test_more_memory_is_given_to_a_running_node(cluster: Story) -> None:
    node = cluster.node("worker")
    before = cluster.starts()
    for size in (1024, 2048):
        cluster.write(worker(memory=size))
        assert f"{node}: update machine {node} (its size differs from the object)" in lines(cluster.changes())
        cluster.apply()
        assert memory_limit(cluster, node) == size * MEBIBYTE
        assert "0 changes" in cluster.apply().stderr
    cluster.write(worker())
    cluster.apply()
    assert memory_limit(cluster, node) > 2**50
    assert cluster.restarted_since(before) == set()
