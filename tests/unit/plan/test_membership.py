"""Members of etcd through every edit of the object: never without a quorum, killed anywhere, in any order."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.plan.etcd_world import EtcdWorld

from anykube.content.etcd import SERVICE
from anykube.content.paths import install_path
from anykube.facts.machines import MachineState
from anykube.plan.effects import WaitFor
from anykube.plan.model import Phase, Plan, Step
from anykube.plan.order import pending_needs
from anykube.run import PHASES
from anykube.spec.load import load
from anykube.spec.model import Cluster

SHAPES = {
    "one": {"cp": (["control-plane", "etcd"], 1)},
    "two": {"cp": (["control-plane", "etcd"], 2)},
    "three": {"cp": (["control-plane", "etcd"], 3)},
    "five": {"cp": (["control-plane", "etcd"], 5)},
    "other": {"head": (["control-plane", "etcd"], 3)},
    "separate": {"cp": (["control-plane"], 2), "db": (["etcd"], 3)},
    "separate one": {"cp": (["control-plane"], 3), "db": (["etcd"], 1)},
}
EDITS = [(before, after) for before in SHAPES for after in SHAPES if before != after]


def cluster(shape: str) -> Cluster:
    pools = [{"name": name, "roles": roles, "count": count} for name, (roles, count) in SHAPES[shape].items()]
    pools.append({"name": "worker", "roles": ["worker"]})
    spec = {
        "kubernetes": {"version": "1.36.3"},
        "machines": {"provider": {"lxc": {}}, "pools": pools},
    }
    head = {"apiVersion": "anykube.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "demo"}}
    return load(json.dumps({**head, "spec": spec}), "test")


class Killed(Exception):
    """The run ends here, as by kill -9."""


def run(world: EtcdWorld, chance: random.Random, *, kill_after: int = 10**9) -> int:
    """Apply phase by phase; steps that may run at once run in a random order. The number of effects done."""
    done = 0
    for phase in PHASES:
        made = world.plan().phase(phase)
        assert not made.obstacles, made.obstacles
        for step in shuffled(list(made.steps), chance):
            for effect in step.effects:
                if done >= kill_after:
                    raise Killed
                world.perform(effect)
                done += 1
    return done


def shuffled(steps: list[Step], chance: random.Random) -> list[Step]:
    """One of the orders that the engine could take."""
    by_id = {step.id: step for step in steps}
    waits, order = dict(pending_needs(steps)), list[Step]()
    while waits:
        done = {step.id for step in order}
        ready = [
            name
            for name, wait in waits.items()
            if wait.every <= done and all(some & done for some in wait.alternatives)
        ]
        assert ready, f"nothing can go on: {waits}"
        name = chance.choice(sorted(ready))
        del waits[name]
        order.append(by_id[name])
    return order


@cache
def _up(shape: str) -> EtcdWorld:
    world = EtcdWorld(cluster(shape))
    run(world, random.Random(1))
    world.must_be_right()
    return world


def up(shape: str) -> EtcdWorld:
    """A world in which this was applied."""
    return deepcopy(_up(shape))


@cache
def effects_of(before: str, after: str, seed: int) -> int:
    """How many effects an edit takes."""
    world = up(before)
    world.edit(cluster(after))
    return run(world, random.Random(seed))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_topology_comes_up_and_the_second_run_changes_nothing(shape: str) -> None:
    world = up(shape)
    assert world.plan().empty, world.plan().pending


@pytest.mark.parametrize(("before", "after"), EDITS)
def test_every_topology_becomes_every_other(before: str, after: str) -> None:
    world = up(before)
    world.edit(cluster(after))
    run(world, random.Random(f"{before} {after}"))
    world.must_be_right()
    assert world.plan().empty, [step.id for step in world.plan().pending]


@settings(max_examples=20, deadline=None)
@given(edit=st.sampled_from(EDITS), seed=st.integers(0, 1), point=st.floats(0, 1))
def test_killed_anywhere_the_next_run_finishes(edit: tuple[str, str], seed: int, point: float) -> None:
    before, after = edit
    count = effects_of(before, after, seed)
    world = up(before)
    world.edit(cluster(after))
    with pytest.raises(Killed):
        run(world, random.Random(seed), kill_after=int(point * (count - 1)))
    run(world, random.Random(seed + 1))
    world.must_be_right()
    assert world.plan().empty


@settings(max_examples=10, deadline=None)
@given(
    edits=st.lists(st.tuples(st.sampled_from(sorted(SHAPES)), st.floats(0, 1)), max_size=4),
    seed=st.integers(0, 99),
)
def test_one_edit_after_another_each_cut_short(edits: list[tuple[str, float]], seed: int) -> None:
    """The object changes again before the last change is done."""
    chance = random.Random(seed)
    world = up("three")
    for shape, point in edits:
        world.edit(cluster(shape))
        with pytest.raises(Killed):
            run(world, chance, kill_after=int(point * 60))
            raise Killed
    run(world, chance)
    world.must_be_right()
    assert world.plan().empty


def steps(plan: Plan, phase: Phase) -> dict[str, Step]:
    return {step.id: step for step in plan.phase(phase).pending}


def test_the_plan_shows_each_change_with_voters_and_quorum() -> None:
    world = up("one")
    world.edit(cluster("three"))
    found = steps(world.plan(), Phase.BOOTSTRAP)
    second, third = (found[f"demo-cp-{number}/etcd"].changes[-1] for number in (2, 3))
    assert (second.action, second.kind) == ("join", "etcd member")
    assert second.reason.endswith("voters demo-cp-1, demo-cp-2; quorum 2 of 2, survives no failure")
    assert third.reason.endswith("quorum 2 of 3, survives 1 failure")
    assert "demo-cp-2/etcd" in found["demo-cp-3/etcd"].needs


def test_an_edit_of_the_object_is_not_taken_for_an_edit_on_a_node() -> None:
    world = up("three")
    world.record = replace(world.record, addresses=dict(world.addresses))
    world.edit(cluster("one"))
    made = world.plan(previous=cluster("three")).phase(Phase.BOOTSTRAP)
    reasons = {change.reason for step in made.pending for change in step.changes if change.kind == "file"}
    assert reasons <= {"the object asks for other content", "put here earlier, not wanted any more"}
    assert "the object asks for other content" in reasons


def test_etcd_is_born_with_all_its_members_or_not_at_all() -> None:
    world = EtcdWorld(cluster("three"))
    for phase in (Phase.ARTIFACTS, Phase.PROVISION):
        for step in world.plan().phase(phase).steps:
            for effect in step.effects:
                world.perform(effect)
    world.dead.add("demo-cp-3")
    made = world.plan().phase(Phase.BOOTSTRAP)
    told = {obstacle.target: obstacle for obstacle in made.obstacles}
    assert "demo-cp-3 does not answer" in told["demo-cp-1"].brief
    assert "demo-cp-2" in told


def test_a_machine_with_an_empty_disk_is_refused_while_its_member_is_listed() -> None:
    world = up("three")
    world.wipe("demo-cp-2")
    (obstacle,) = world.plan().phase(Phase.BOOTSTRAP).obstacles
    assert obstacle.target == "demo-cp-2"
    assert obstacle.remedy == "anykube replace demo-cp-2"


def test_an_empty_cluster_is_never_made_in_place_of_a_lost_one() -> None:
    world = up("one")
    world.wipe("demo-cp-1")
    world.members.clear()
    world.record = replace(world.record, born=True)
    (obstacle,) = world.plan().phase(Phase.BOOTSTRAP).obstacles
    assert "would be an empty cluster" in obstacle.brief
    assert "recover" in obstacle.remedy


def test_a_dead_member_that_is_not_wanted_goes_before_anything_joins() -> None:
    world = up("three")
    world.dead.add("demo-cp-3")
    world.machines["demo-cp-3"] = replace(world.machines["demo-cp-3"], state=MachineState.STOPPED)
    world.edit(cluster("two"))
    found = steps(world.plan(), Phase.BOOTSTRAP)
    assert "cluster/etcd-without-demo-cp-3" in found


def test_without_a_quorum_no_member_changes_and_the_way_out_is_told() -> None:
    world = up("three")
    world.dead |= {"demo-cp-2", "demo-cp-3"}
    world.edit(cluster("five"))
    told = {obstacle.target: obstacle for obstacle in world.plan().phase(Phase.BOOTSTRAP).obstacles}
    assert "lost its quorum" in told["demo-cp-4"].brief
    assert "anykube recover" in told["demo-cp-4"].remedy


def test_nothing_joins_while_a_wanted_member_is_down() -> None:
    world = up("three")
    world.dead.add("demo-cp-2")
    world.edit(cluster("five"))
    told = {obstacle.target: obstacle for obstacle in world.plan().phase(Phase.BOOTSTRAP).obstacles}
    assert "demo-cp-2 is not" in told["demo-cp-4"].brief
    assert "anykube replace demo-cp-2" in told["demo-cp-4"].remedy


def with_another_binary(world: EtcdWorld, names: Sequence[str]) -> None:
    """On these nodes etcd runs with something else than it should: its member restarts."""
    for name in names:
        unit = world.hosts[name].units[SERVICE]
        stale = replace(unit, inputs={**unit.inputs, install_path("etcd"): "other"})
        world.hosts[name] = replace(world.hosts[name], units={**world.hosts[name].units, SERVICE: stale})


def test_members_that_run_restart_one_by_one_and_the_leader_last() -> None:
    world = up("three")
    names = ("demo-cp-1", "demo-cp-2", "demo-cp-3")
    with_another_binary(world, names)
    found = steps(world.plan(), Phase.BOOTSTRAP)
    assert "demo-cp-2/roll" in found["demo-cp-3/roll"].needs
    assert "demo-cp-3/roll" in found["demo-cp-1/roll"].needs, "the leader is demo-cp-1"
    for seed in range(5):
        again = deepcopy(world)
        run(again, random.Random(seed))
        assert again.fewest >= 0


def test_a_member_does_not_restart_while_another_is_down() -> None:
    world = up("three")
    with_another_binary(world, ["demo-cp-1"])
    world.dead.add("demo-cp-2")
    made = world.plan().phase(Phase.BOOTSTRAP)
    told = {obstacle.target: obstacle for obstacle in made.obstacles}
    assert "demo-cp-2 does not answer" in told["demo-cp-1"].brief


def test_api_servers_that_run_restart_one_by_one_and_are_waited_for() -> None:
    world = up("three")
    for name in ("demo-cp-1", "demo-cp-2", "demo-cp-3"):
        unit = world.hosts[name].units["kube-apiserver.service"]
        stale = replace(unit, inputs={})
        units = {**world.hosts[name].units, "kube-apiserver.service": stale}
        world.hosts[name] = replace(world.hosts[name], units=units)
    found = steps(world.plan(), Phase.BOOTSTRAP)
    second = found["demo-cp-3/roll"]
    assert "demo-cp-2/roll" in second.needs
    waits = [effect.condition for effect in second.effects if isinstance(effect, WaitFor)]
    assert waits == ["server-ready", "node-ready"]
