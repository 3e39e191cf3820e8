"""etcd on machines of its own, and the ways from stacked etcd there and back, while writers run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.e2e.faults import power_on
from tests.e2e.proof import Proof, proving
from tests.e2e.shapes import lead_from, replace_node, shape, shaped
from tests.e2e.story import Story

E2E = pytest.mark.e2e
SOAK = pytest.mark.soak
PLANES, MEMBERS = 2, 3


@pytest.fixture(scope="module")
def cluster(story: Story) -> Story:
    """Two control planes, three members of etcd on machines of their own, one worker."""
    shape(story, planes=PLANES, etcd=MEMBERS)
    story.apply()
    return story


@pytest.fixture(scope="module")
def proof(cluster: Story) -> Iterator[Proof]:
    """Writers run all the time."""
    with proving(cluster) as made:
        yield made


@E2E
def test_all_come_up_at_once_and_a_second_apply_changes_nothing(proof: Proof) -> None:
    cluster = shaped(proof, planes=PLANES, etcd=MEMBERS)
    members = [cluster.node("etcd", number) for number in range(1, MEMBERS + 1)]
    assert sorted(name for _, name in proof.members.listed()) == members
    assert cluster.ready_nodes() == set(cluster.nodes) - set(members), "no kubelet runs beside etcd"
    for member in members:
        units = cluster.on(member, "systemctl", "list-units", "--plain", "--state=running", "--no-legend")
        running = {line.split()[0] for line in units.splitlines()}
        assert "etcd.service" in running
        assert not running & {"kubelet.service", "kube-apiserver.service", "containerd.service"}
    proof.hold(proof.identity())
    proof.settled()


@E2E
def test_a_member_without_power_is_replaced(proof: Proof) -> None:
    cluster = shaped(proof, planes=PLANES, etcd=MEMBERS)
    dead = cluster.node("etcd", 1)
    with proof.operation("replace a separate etcd member that lost its power"):
        cluster.power_off(dead)
        replace_node(cluster, dead)


@SOAK
def test_a_control_plane_without_etcd_is_replaced(proof: Proof) -> None:
    cluster = shaped(proof, planes=PLANES, etcd=MEMBERS)
    node = cluster.node("cp", 1)
    members = proof.members.listed()
    with proof.operation("replace a control plane without etcd", renewed={node}):
        replace_node(cluster, node)
    assert proof.members.listed() == members


@SOAK
def test_the_leader_of_separate_etcd_is_replaced_and_power_fails(proof: Proof) -> None:
    cluster = shaped(proof, planes=PLANES, etcd=MEMBERS)
    node = cluster.node("etcd", 3)
    lead_from(proof, node)
    with proof.operation("replace the leader of separate etcd"):
        replace_node(cluster, node)
    with proof.operation("power cut of a separate member"):
        cluster.power_off(node)
        power_on(cluster, node)


@SOAK
def test_from_separate_etcd_to_stacked_and_back(proof: Proof) -> None:
    cluster = shaped(proof, planes=PLANES, etcd=MEMBERS)
    shape(cluster, planes=3)
    with proof.operation("separate etcd to stacked"):
        cluster.apply()
    assert not [node for node in cluster.nodes if "-etcd-" in node]
    shape(cluster, planes=3, etcd=MEMBERS)
    with proof.operation("stacked etcd to separate"):
        cluster.apply()
    assert sorted(name for _, name in proof.members.listed()) == [
        cluster.node("etcd", number) for number in range(1, MEMBERS + 1)
    ]
    for number in range(1, 4):
        state = cluster.on(cluster.node("cp", number), "systemctl", "is-active", "etcd", check=False)
        assert state.strip() != "active"
