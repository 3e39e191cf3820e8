"""Upgrades in the planner's world: the order keeps the version skew policy, killed anywhere; a node that
fails goes back; what may not begin is refused with the way that leads there."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.plan.test_membership import Killed, run, shuffled
from tests.unit.plan.upgrade_world import UpgradeWorld

from anykube.errors import PlanError
from anykube.facts.machines import MachineState
from anykube.facts.record import Upgrade
from anykube.plan.effects import DrainNode, KeepFiles, PlaceFiles, SaveSnapshot, SetUnit, StageFiles
from anykube.plan.model import Phase, Step
from anykube.plan.road import lanes
from anykube.plan.upgrade import Asked
from anykube.plan.upgrade_rules import is_open
from anykube.spec.load import load
from anykube.spec.model import Cluster, Window

SHAPES = {
    "all in one": [("all", ["control-plane", "etcd", "worker"], 1)],
    "one and two": [("cp", ["control-plane", "etcd"], 1), ("worker", ["worker"], 2)],
    "three and two": [("cp", ["control-plane", "etcd"], 3), ("worker", ["worker"], 2)],
    "two and three of etcd": [("cp", ["control-plane"], 2), ("db", ["etcd"], 3), ("worker", ["worker"], 3)],
    "three that do all": [("all", ["control-plane", "etcd", "worker"], 3)],
}
WAYS = [("1.35.4", "1.36.1"), ("1.36.1", "1.36.3"), ("1.34.4", "1.35.4")]


def cluster(shape: str, version: str, **spec: object) -> Cluster:
    pools = [{"name": name, "roles": roles, "count": count} for name, roles, count in SHAPES[shape]]
    body = {"kubernetes": {"version": version}, "machines": {"provider": {"lxc": {}}, "pools": pools}, **spec}
    head = {"apiVersion": "anykube.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "demo"}}
    return load(json.dumps({**head, "spec": body}), "test")


@cache
def _up(shape: str, version: str) -> UpgradeWorld:
    world = UpgradeWorld(cluster(shape, version))
    run(world, random.Random(1))
    return world


def up(shape: str, version: str) -> UpgradeWorld:
    """A world in which this version serves."""
    return deepcopy(_up(shape, version))


def upgrading(shape: str, source: str, target: str, **spec: object) -> UpgradeWorld:
    """The moment before the first step."""
    world = up(shape, source)
    world.edit(cluster(shape, target, **spec))
    return world


def rolls(world: UpgradeWorld) -> dict[str, Step]:
    """The steps of nodes that change, once the software is here."""
    for step in world.plan().phase(Phase.ARTIFACTS).pending:
        for effect in step.effects:
            world.perform(effect)
    made = world.plan().phase(Phase.BOOTSTRAP)
    return {step.target: step for step in made.pending if step.id.endswith("/roll")}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("source", "target"), WAYS)
def test_every_topology_is_upgraded_and_the_second_run_changes_nothing(
    shape: str, source: str, target: str
) -> None:
    world = upgrading(shape, source, target)
    run(world, random.Random(0))
    assert world.plan().empty
    assert not world.kept
    for host in world.hosts.values():
        if "kubelet.service" in host.units:
            assert world.runs(host.name, "kubelet") == tuple(map(int, target.split(".")))


@settings(max_examples=8, deadline=None)
@given(
    shape=st.sampled_from(sorted(SHAPES)),
    way=st.sampled_from(WAYS),
    cuts=st.lists(st.floats(0, 1), max_size=3),
    seed=st.integers(0, 99),
    share=st.sampled_from(["1", "2", "50%"]),
)
def test_killed_anywhere_and_begun_again(
    shape: str, way: tuple[str, str], cuts: list[float], seed: int, share: str
) -> None:
    world = upgrading(shape, *way, upgrade={"maxUnavailable": share})
    chance = random.Random(seed)
    for cut in cuts:
        with pytest.raises(Killed):
            run(world, chance, kill_after=int(cut * 60))
            raise Killed
    run(world, chance)
    assert world.plan().empty


@settings(max_examples=8, deadline=None)
@given(
    shape=st.sampled_from(sorted(SHAPES)),
    way=st.sampled_from(WAYS),
    seed=st.integers(0, 99),
    at=st.floats(0, 1),
    killed=st.booleans(),
)
def test_a_node_that_fails_runs_again_what_it_ran(
    shape: str, way: tuple[str, str], seed: int, at: float, killed: bool
) -> None:
    """Any step of any node fails after any of its effects; also where a run before was killed in it."""
    world = upgrading(shape, *way)
    rolls(world)
    chance = random.Random(seed)
    made = shuffled(list(world.plan().phase(Phase.BOOTSTRAP).steps), chance)
    failing = chance.choice([step for step in made if step.undo])
    for step in made:
        if step.id == failing.id:
            break
        for effect in step.effects:
            world.perform(effect)
    before = _processes(world, failing.target)
    for effect in failing.effects[: int(at * (len(failing.effects) - 1))]:
        world.perform(effect)
    if killed:
        again = world.plan().phase(Phase.BOOTSTRAP)
        failing = next((step for step in again.steps if step.id == failing.id), failing)
    for effect in failing.undo:
        world.perform(effect)
    assert _processes(world, failing.target) == before
    run(world, chance)
    assert world.plan().empty


def _processes(world: UpgradeWorld, node: str) -> object:
    """The binaries of a node, and those that its processes started with; not etcd, which may stay."""
    host = world.hosts[node]
    binaries = {path: file.sha256 for path, file in host.files.items() if path.startswith("/usr/local/bin/")}
    started = {
        name: {path: unit.inputs[path] for path in binaries if "etcd" not in path}
        for name, unit in host.units.items()
        if name.startswith("kube")
    }
    return {path: sha256 for path, sha256 in binaries.items() if "etcd" not in path}, started


def test_the_plan_shows_the_whole_upgrade_before_its_software_is_here() -> None:
    world = upgrading("three and two", "1.35.4", "1.36.1")
    made = world.plan().phase(Phase.BOOTSTRAP)
    assert made.provisional
    found = {step.id for step in made.pending}
    assert {f"demo-{node}/roll" for node in ("cp-1", "cp-2", "cp-3", "worker-1", "worker-2")} <= found
    assert [step.target for step in made.pending if step.title == "snapshot"] == ["demo-cp-2"]


def test_control_planes_one_by_one_the_leader_last_then_workers() -> None:
    found = rolls(upgrading("three and two", "1.35.4", "1.36.1"))
    assert list(found) == ["demo-cp-2", "demo-cp-3", "demo-cp-1", "demo-worker-1", "demo-worker-2"]
    for before, after in zip(list(found), list(found)[1:], strict=False):
        assert f"{before}/roll" in found[after].needs


def test_workers_in_lanes() -> None:
    found = rolls(upgrading("two and three of etcd", "1.35.4", "1.36.1", upgrade={"maxUnavailable": 2}))
    assert "demo-worker-1/roll" not in found["demo-worker-2"].needs
    assert "demo-worker-1/roll" in found["demo-worker-3"].needs


def test_the_chosen_node_goes_first_of_its_kind() -> None:
    world = upgrading("three and two", "1.35.4", "1.36.1")
    world.asked = Asked(first="demo-worker-2")
    assert list(rolls(world))[3:] == ["demo-worker-2", "demo-worker-1"]


def test_software_is_everywhere_before_anything_stops() -> None:
    world = upgrading("three and two", "1.35.4", "1.36.1")
    made = rolls(world)
    staged = {step.id: step for step in world.plan().phase(Phase.BOOTSTRAP).pending if step.title == "stage"}
    for step in made.values():
        assert staged.keys() <= {*step.needs}
        assert "demo-cp-2/snapshot" in step.needs
    for step in staged.values():
        assert {type(effect) for effect in step.effects} <= {StageFiles, KeepFiles}


def test_pods_leave_for_another_minor_version_only() -> None:
    def drained(source: str, target: str) -> set[str]:
        found = rolls(upgrading("three and two", source, target))
        return {name for name, step in found.items() if any(isinstance(e, DrainNode) for e in step.effects)}

    assert drained("1.36.1", "1.36.3") == set()
    assert {"demo-worker-1", "demo-worker-2"} <= drained("1.35.4", "1.36.1")


def test_pods_stay_where_no_other_node_takes_them() -> None:
    found = rolls(upgrading("all in one", "1.35.4", "1.36.1"))
    assert not any(isinstance(effect, DrainNode) for effect in found["demo-all-1"].effects)


def test_the_last_member_of_etcd_does_not_go_back_across_minors() -> None:
    """With it all members are of the new version, and write what the old one does not read."""
    world = upgrading("three and two", "1.35.4", "1.36.1")
    rolls(world)
    kept = {
        step.target: {
            path for effect in step.effects if isinstance(effect, KeepFiles) for path in effect.paths
        }
        for step in world.plan().phase(Phase.BOOTSTRAP).pending
        if step.title == "stage"
    }
    assert "/usr/local/bin/etcd" in kept["demo-cp-2"]
    assert "/usr/local/bin/etcd" not in kept["demo-cp-1"]
    assert "/usr/local/bin/kube-apiserver" in kept["demo-cp-1"]


def test_a_node_that_is_not_well_goes_first_when_an_upgrade_goes_on() -> None:
    world = upgrading("three and two", "1.35.4", "1.36.1")
    world.ill.add("demo-worker-2")
    assert list(rolls(world))[3:] == ["demo-worker-2", "demo-worker-1"]


def test_workers_wait_for_a_control_plane_that_cannot_be_reached() -> None:
    world = upgrading("three and two", "1.35.4", "1.36.1")
    world.dead.add("demo-cp-3")
    rolls(world)
    told = {obstacle.target: obstacle for obstacle in world.plan().phase(Phase.BOOTSTRAP).obstacles}
    assert "waits for the upgrade of demo-cp-3" in told["demo-worker-1"].brief
    assert "anykube replace demo-cp-3" in told["demo-worker-1"].remedy


def test_a_dead_control_plane_is_replaced_in_the_middle() -> None:
    world = upgrading("three and two", "1.35.4", "1.36.1")
    done = iter(range(60))
    rolls(world)
    for step in world.plan().phase(Phase.BOOTSTRAP).steps:
        for effect in step.effects:
            if next(done, None) is not None:
                world.perform(effect)
    world.dead.add("demo-cp-3")
    world.replacing = frozenset({"demo-cp-3"})
    for step in world.plan().phase(Phase.REPLACE).steps:
        for effect in step.effects:
            world.perform(effect)
    world.replacing = frozenset()
    run(world, random.Random(3))
    assert world.plan().empty


@pytest.mark.parametrize(
    ("source", "target", "brief", "remedy"),
    [
        ("1.36.1", "1.35.4", "A downgrade to 1.35.4 is refused", "restore"),
        ("1.36.3", "1.36.1", "demo-cp-1 runs 1.36.3", "anykube rollback"),
        ("1.34.4", "1.36.3", "more than one minor version", "first 1.35.4, then 1.36.3"),
    ],
)
def test_a_wrong_way_is_refused_with_the_right_one(source: str, target: str, brief: str, remedy: str) -> None:
    world = up("one and two", source)
    with pytest.raises(PlanError) as caught:
        world.edit(cluster("one and two", target))
    assert brief in str(caught.value)
    assert remedy in (caught.value.remedy or "")


def test_a_cluster_that_is_not_well_does_not_begin() -> None:
    world = up("one and two", "1.35.4")
    world.ill.add("demo-worker-2")
    with pytest.raises(PlanError, match="not well") as caught:
        world.edit(cluster("one and two", "1.36.1"))
    assert "demo-worker-2" in caught.value.evidence[0]


def test_a_patch_goes_back_when_it_is_asked_for() -> None:
    world = upgrading("three and two", "1.36.1", "1.36.3")
    run(world, random.Random(0))
    world.record = replace(world.record, upgrade=Upgrade("1.36.1", "1.36.3", 2, finished=True))
    world.asked = Asked(back=True)
    world.edit(cluster("three and two", "1.36.1"))
    assert world.record.upgrade and world.record.upgrade.back
    run(world, random.Random(0))
    assert world.runs("demo-worker-1", "kubelet") == (1, 36, 1)


def test_what_is_removed_is_told_and_can_be_overridden() -> None:
    world = up("one and two", "1.35.4")
    facts = world.facts()
    used = replace(facts, kubernetes=replace(facts.kubernetes, removed_apis=("x/v1 Thing default/a",)))
    world.facts = lambda: used  # type: ignore[method-assign]
    with pytest.raises(PlanError, match="does not have any more") as caught:
        world.edit(cluster("one and two", "1.36.1"))
    assert caught.value.evidence == ("x/v1 Thing default/a",)
    world.cluster = cluster("one and two", "1.35.4")
    world.asked = Asked(removed_apis=True)
    world.edit(cluster("one and two", "1.36.1"))


@pytest.mark.parametrize(
    ("now", "opened"),
    [
        ("2026-11-20T22:00", True),  # a Friday
        ("2026-11-20T21:59", False),
        ("2026-11-21T01:59", True),
        ("2026-11-21T02:00", False),
        ("2026-11-21T22:30", False),
    ],
)
def test_a_window_that_goes_over_midnight(now: str, opened: bool) -> None:
    window = Window(days=("Fri",), start="22:00", hours=4)
    assert is_open(window, datetime.fromisoformat(now).replace(tzinfo=UTC)) is opened


def test_outside_of_the_window_nothing_begins_but_what_has_begun_goes_on() -> None:
    world = up("one and two", "1.35.4")
    closed = {"upgrade": {"window": {"days": ["Mon"], "start": "03:00", "hours": 1}}}
    with pytest.raises(PlanError, match="window"):
        world.edit(cluster("one and two", "1.36.1", **closed))
    world.cluster = cluster("one and two", "1.35.4", **closed)
    world.asked = Asked(now=True)
    world.edit(cluster("one and two", "1.36.1", **closed))
    world.asked = Asked()
    run(world, random.Random(0))


def test_a_snapshot_comes_first_and_keeps_its_name() -> None:
    world = upgrading("three and two", "1.35.4", "1.36.1")
    names: set[str] = set()
    for _ in range(2):
        found = [e for step in world.plan().pending for e in step.effects if isinstance(e, SaveSnapshot)]
        names.update(effect.file for effect in found)
        world.record = replace(world.record, epoch=world.record.epoch + 1)
    assert len(names) == 1
    assert names.pop().endswith("-1.35.4.db")


@pytest.mark.parametrize(
    ("given", "workers", "count"), [("1", 9, 1), ("3", 9, 3), ("20%", 10, 2), ("20%", 2, 1)]
)
def test_how_many_may_be_missing(given: str, workers: int, count: int) -> None:
    assert lanes(given, workers) == count


def test_a_change_of_configuration_takes_the_same_road() -> None:
    world = up("three and two", "1.36.3")
    world.edit(cluster("three and two", "1.36.3", security={"audit": False}))
    made = world.plan().phase(Phase.BOOTSTRAP)
    found = [step for step in made.pending if step.id.endswith("/roll")]
    assert [step.target for step in found] == ["demo-cp-2", "demo-cp-3", "demo-cp-1"]
    assert not any(isinstance(e, PlaceFiles | SaveSnapshot) for step in made.pending for e in step.effects)
    assert all(step.undo for step in found)
    assert any(isinstance(e, SetUnit) for e in found[0].effects)
    assert MachineState.RUNNING is world.machines["demo-cp-1"].state
