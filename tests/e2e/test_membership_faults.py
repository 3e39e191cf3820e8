"""Faults while members join and leave, on real nodes, with writers running. Part of `make soak`.

After each, one more command finishes the job or says what to do, and nothing acknowledged is lost.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import pytest
from tests.e2e import faults
from tests.e2e.proof import Proof, proving
from tests.e2e.shapes import lead_from, replace_node, shape, shaped
from tests.e2e.story import Story, eventually

pytestmark = pytest.mark.soak

SEED = int(os.environ.get("ANYKUBE_E2E_SEED") or time.time())
SAMPLES = int(os.environ.get("ANYKUBE_E2E_SAMPLES") or 4)
"""Kills in each operation."""
STEPS = 90
"""About how many beginnings and ends of steps a change of members has."""


@pytest.fixture(scope="module")
def cluster(story: Story) -> Story:
    """Three control planes and one worker."""
    shape(story, planes=3)
    story.apply()
    return story


@pytest.fixture(scope="module")
def proof(cluster: Story) -> Iterator[Proof]:
    """Writers run all the time."""
    with proving(cluster) as made:
        yield made


def apply_file(story: Story) -> tuple[str, ...]:
    """The arguments of an apply."""
    return ("apply", "-f", str(story.file), "--yes")


def moments(what: str) -> list[int]:
    """At which steps to kill; another seed, other steps."""
    print(f"ANYKUBE_E2E_SEED={SEED}")
    chosen = random.Random(f"{SEED} {what}")
    return sorted(chosen.sample(range(1, STEPS), SAMPLES))


def must_be_refused(proof: Proof, node: str, arguments: Sequence[str]) -> None:
    """Quorum would be lost with this node: the command says so, and this node serves on untouched."""
    cluster = proof.story
    members, started = proof.members.listed(node), cluster.starts_of(node)
    refused = cluster.run(*arguments, status=None)
    assert refused.status in (1, 3), refused.stderr
    assert "quorum" in refused.stderr or "voters" in refused.stderr, refused.stderr
    assert proof.members.listed(node) == members
    assert cluster.starts_of(node) == started
    states = cluster.on(node, "systemctl", "is-active", "etcd", "kube-apiserver", "kubelet", check=False)
    assert set(states.split()) == {"active"}
    assert proof.cordoned() == set()


@pytest.mark.parametrize("planes", [1, 3], ids=["leave", "join"])
def test_killed_at_sampled_steps_of_a_change_of_members(proof: Proof, planes: int) -> None:
    cluster = shaped(proof, planes=4 - planes)
    shape(cluster, planes=planes)
    with proof.operation(f"{4 - planes} to {planes} control planes, killed -9 again and again"):
        for moment in moments(f"to {planes}"):
            print("killed at", faults.killed_at(cluster, apply_file(cluster), moment) or "its end")
        cluster.apply()


def test_killed_at_sampled_steps_of_a_replacement(proof: Proof) -> None:
    cluster = shaped(proof, planes=3)
    node = cluster.node("cp", 1)
    argv = ("replace", node, "-f", str(cluster.file), "--yes")
    with proof.operation("replace, killed -9 again and again", renewed={node}):
        for moment in moments("replace"):
            killed = faults.killed_at(cluster, argv, moment)
            print("killed at", killed or "its end")
            # The next apply finishes what was begun, whichever way.
            cluster.apply()
        if proof.identity().nodes[node]:
            replace_node(cluster, node)


def test_a_joining_machine_loses_its_power_in_its_bootstrap(proof: Proof) -> None:
    cluster = shaped(proof, planes=1)
    shape(cluster, planes=3)
    joining = cluster.node("cp", 2)
    with proof.operation("power cut of a joining node"):
        status, told = faults.when(
            cluster,
            apply_file(cluster),
            lambda event: (
                event["type"] == "StepStarted"
                and event["target"] == joining
                and event["phase"] == "bootstrap"
                and "etcd" in event["step"]
            ),
            lambda: cluster.power_off(joining),
        )
        assert status in (1, 3), told
        assert joining in told
        cluster.apply()


@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_etcd_of_another_node_dies_or_hangs_during_a_replacement(proof: Proof, fault: str) -> None:
    """Two of three must agree: while one is replaced, no other may be missing. So it waits, or stops."""
    cluster = shaped(proof, planes=3)
    node, other = cluster.node("cp", 2), cluster.node("cp", 3)
    lead_from(proof, cluster.node("cp", 1))
    trouble: dict[str, Callable[[], AbstractContextManager[None]]] = {
        "killed": lambda: faults.again_and_again(lambda: faults.kill_etcd(cluster, other), 4.0),
        "frozen": lambda: faults.frozen_etcd(cluster, other),
    }
    before = proof.identity()
    begun = time.monotonic()
    with trouble[fault]():
        done = replace_node(cluster, node, status=None)
        print(f"etcd {fault} meanwhile: exit status {done.status} after {done.seconds:.0f} s")
        assert done.status in (0, 1, 3), done.stderr
        assert "Traceback" not in done.stderr
    proof.measure(f"replace while etcd of another node is {fault}", begun, time.monotonic())
    cluster.apply()
    if done.status != 0 and proof.identity().nodes[node] == before.nodes[node]:
        replace_node(cluster, node)
    proof.hold(before, renewed={node})
    proof.settled()


def test_a_machine_with_the_same_name_and_address_and_an_empty_disk(proof: Proof) -> None:
    cluster = shaped(proof, planes=3)
    node = cluster.node("cp", 1)
    with proof.operation("a machine made again with an empty disk", renewed={node}):
        key = faults.host_key(cluster, node)
        faults.reinstall(cluster, node, new_key=True)
        members = proof.members.listed()
        refused = cluster.apply(status=3)
        assert "host key" in refused.stderr
        assert cluster.on(node, "ls", "/etc/kubernetes", check=False) == "", "it was touched all the same"
        assert proof.members.listed() == members

        faults.give_host_key(cluster, node, key)
        refused = cluster.apply(status=3)
        assert f"anykube replace {node}" in refused.stderr, refused.stderr
        assert proof.members.listed() == members
        assert proof.members.clusters() == {proof.identity().etcd}

        replace_node(cluster, node)


def test_the_data_of_a_member_vanish(proof: Proof) -> None:
    cluster = shaped(proof, planes=3)
    node = cluster.node("cp", 2)
    with proof.operation("the data folder of a member vanishes", renewed={node}):
        cluster.on(node, "sh", "-c", "rm -rf /var/lib/etcd/member; systemctl kill -s KILL etcd.service")
        end = time.monotonic() + 8
        while time.monotonic() < end:
            assert len(proof.members.clusters()) == 1, "it founded a cluster of its own"
            time.sleep(0.5)
        refused = cluster.apply(status=3)
        assert f"anykube replace {node}" in refused.stderr, refused.stderr
        assert len(proof.members.clusters()) == 1
        replace_node(cluster, node)


def test_a_machine_burns_down(proof: Proof) -> None:
    cluster = shaped(proof, planes=3)
    node = cluster.node("cp", 3)
    with proof.operation("a machine is gone altogether", renewed={node}):
        faults.lose_machine(cluster, node)
        replace_node(cluster, node)


def test_one_control_plane_is_cut_off(proof: Proof) -> None:
    cluster = shaped(proof, planes=3)
    node = cluster.node("cp", 1)
    lead_from(proof, node)
    others = [cluster.node("cp", 2), cluster.node("cp", 3)]
    with proof.operation("the leading control plane is cut off for a while"):
        members = proof.members.listed()
        with faults.cut_off(cluster, node, [*others, cluster.node("worker")]):
            eventually(lambda: "" if proof.members.leader() in others else "no other leads", 30)
            done = cluster.run(*apply_file(cluster), status=None)
            print(f"apply while {node} is cut off: exit status {done.status}")
            assert "Traceback" not in done.stderr
            assert proof.members.listed(others[0]) == members
            must_be_refused(proof, others[0], ("replace", others[0], "-f", str(cluster.file), "--yes"))


def test_one_too_many_is_not_taken_away(proof: Proof) -> None:
    cluster = shaped(proof, planes=3)
    dead, node = cluster.node("cp", 3), cluster.node("cp", 2)
    before = proof.identity()
    cluster.power_off(dead)
    eventually(lambda: "" if proof.members.leader() not in ("", dead) else "no other leads", 30)
    must_be_refused(proof, node, ("replace", node, "-f", str(cluster.file), "--yes"))
    faults.power_on(cluster, dead)
    proof.hold(before)
    proof.settled()


def test_without_quorum_nothing_is_changed(proof: Proof) -> None:
    cluster = shaped(proof, planes=3)
    dead = [cluster.node("cp", 2), cluster.node("cp", 3)]
    before = proof.identity()
    started = cluster.starts_of(cluster.node("cp", 1))
    for node in dead:
        cluster.power_off(node)
    shape(cluster, planes=1)
    for arguments in (apply_file(cluster), ("replace", dead[0], "-f", str(cluster.file), "--yes")):
        shape(cluster, planes=1 if arguments[0] == "apply" else 3)
        refused = cluster.run(*arguments, status=None)
        assert refused.status in (1, 3), refused.stderr
        assert "quorum" in refused.stderr, refused.stderr
        assert cluster.nodes == sorted([*dead, cluster.node("cp", 1), cluster.node("worker")])
    again = cluster.starts_of(cluster.node("cp", 1))
    assert {u for u in started if started[u] != again[u] and "etcd" in u} == set()
    shape(cluster, planes=3)
    cluster.apply()
    proof.hold(before)
    proof.settled()
