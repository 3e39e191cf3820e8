"""Several control planes: topology changes and machines are swapped while writers run; nothing is lost.

Every test asks for the shape that it needs, so each can be run alone. What goes wrong on purpose is in
test_membership_faults.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.e2e.faults import power_on
from tests.e2e.proof import Proof, proving
from tests.e2e.shapes import lead_from, replace_node, shape, shaped
from tests.e2e.story import Story, eventually

E2E = pytest.mark.e2e
SOAK = pytest.mark.soak


@pytest.fixture(scope="module")
def cluster(story: Story) -> Story:
    """One control plane and one worker, to begin with."""
    shape(story, planes=1)
    story.apply()
    return story


@pytest.fixture(scope="module")
def proof(cluster: Story) -> Iterator[Proof]:
    """Writers run all the time."""
    with proving(cluster) as made:
        yield made


@E2E
def test_one_control_plane_becomes_three(proof: Proof) -> None:
    cluster = shaped(proof, planes=1)
    shape(cluster, planes=3)
    with proof.operation("one control plane to three"):
        cluster.apply()


@E2E
def test_the_first_control_plane_is_replaced_alive_while_it_leads(proof: Proof) -> None:
    cluster = shaped(proof, planes=3)
    first = cluster.node("cp", 1)
    lead_from(proof, first)
    others = {node for node in cluster.nodes if node != first}
    started = cluster.starts_of(*others)
    with proof.operation("replace the first control plane, alive and leading", renewed={first}):
        replace_node(cluster, first)
    assert proof.members.leader() != first
    # The servers of the others stay; their lists of members are read again without a restart, or one by one.
    assert cluster.restarted_since({u: t for u, t in started.items() if "etcd.service" in u}) == set()


@E2E
def test_a_control_plane_without_power_is_replaced(proof: Proof) -> None:
    cluster = shaped(proof, planes=3)
    dead = cluster.node("cp", 2)
    with proof.operation("replace a control plane that lost its power", renewed={dead}):
        cluster.power_off(dead)
        replace_node(cluster, dead)


@E2E
def test_all_machines_lose_power_and_come_back_without_anykube(proof: Proof) -> None:
    cluster = shaped(proof, planes=3)
    before = proof.identity()
    for node in cluster.nodes:
        cluster.power_off(node)
    for node in cluster.nodes:
        power_on(cluster, node)

    def asleep() -> str:
        ready = cluster.kubectl("get", "--raw", "/readyz", check=False)
        return "" if ready == "ok" and cluster.ready_nodes() == set(cluster.nodes) else f"API {ready!r}"

    eventually(asleep, 180)
    proof.hold(before)
    proof.settled()


@E2E
def test_three_control_planes_become_one(proof: Proof) -> None:
    cluster = shaped(proof, planes=3)
    shape(cluster, planes=1)
    with proof.operation("three control planes to one"):
        cluster.apply()
    assert cluster.nodes == [cluster.node("cp"), cluster.node("worker")]


@SOAK
def test_three_become_five_and_three_again(proof: Proof) -> None:
    cluster = shaped(proof, planes=3)
    shape(cluster, planes=5)
    with proof.operation("three control planes to five"):
        cluster.apply()
    lead_from(proof, cluster.node("cp", 5))
    shape(cluster, planes=3)
    with proof.operation("five control planes to three, one of those that go leads"):
        cluster.apply()


@SOAK
@pytest.mark.parametrize("number", [1, 2, 3])
def test_every_control_plane_is_replaced(proof: Proof, number: int) -> None:
    cluster = shaped(proof, planes=3)
    node = cluster.node("cp", number)
    with proof.operation(f"replace control plane {number}", renewed={node}):
        replace_node(cluster, node)


@SOAK
def test_a_worker_is_replaced(proof: Proof) -> None:
    cluster = shaped(proof, planes=3)
    node = cluster.node("worker")
    before = cluster.starts_of(*(cluster.node("cp", number) for number in (1, 2, 3)))
    with proof.operation("replace the worker", renewed={node}):
        replace_node(cluster, node)
    assert cluster.restarted_since(before) == set()
