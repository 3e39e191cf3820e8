"""An unfinished upgrade across minor versions goes back to its snapshot: killed anywhere on the way there,
and anywhere on the way back. The world judges the version skew, and that no older etcd meets newer data."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.plan.test_membership import Killed, run, shuffled
from tests.unit.plan.test_upgrade import SHAPES, cluster, rolls, upgrading
from tests.unit.plan.upgrade_world import UpgradeWorld

from anykube.content.etcd import SERVICE
from anykube.content.paths import install_path
from anykube.errors import PlanError
from anykube.facts.record import Record, Upgrade
from anykube.facts.snapshot import SnapshotFacts
from anykube.plan.effects import BeginAnew, HaltUnits, PlaceFiles, StageFiles
from anykube.plan.model import Phase, Plan
from anykube.plan.recoverable import Recovery
from anykube.plan.restore import BEFORE, Restore
from anykube.plan.rollback import AGENTS, plan_rollback
from anykube.plan.upgrade_rules import way_back

OLD, NEW = "1.35.4", "1.36.1"
ETCD = install_path("etcd")
UNFINISHED = Upgrade(OLD, NEW, 2, "demo-cp-1", "/var/lib/anykube/snapshots/2-1.35.4.db")


def begun(shape: str, effects: int, seed: int = 0) -> UpgradeWorld:
    """An upgrade that was killed after so many effects; the object has the old version again."""
    world = upgrading(shape, OLD, NEW)
    with suppress(Killed):
        run(world, random.Random(seed), kill_after=effects)
    assert world.record.upgrade
    world.cluster = cluster(shape, OLD)
    return world


def planned(world: UpgradeWorld) -> Plan:
    upgrade = world.record.upgrade
    assert upgrade
    found = SnapshotFacts(upgrade.file, 12, 34, 56, "2026-11-20 12:00:00 UTC")
    recovery = Recovery(upgrade.node, snapshot=found, token="demo-rollback-3", despite_quorum=True)
    asked = Restore(recovery, returns=True)
    return plan_rollback(world.cluster, world.facts(), world.record, world.blueprint(), world.before, asked)


def go_back(world: UpgradeWorld, chance: random.Random, kill_after: int = 10**9) -> int:
    """The phases before apply; the number of effects. After each one etcd is asked what it would start as."""
    done = 0
    apart = newer_etcd_lies_ready(world)
    for phase in BEFORE:
        for step in shuffled(list(planned(world).phase(phase).steps), chance):
            for effect in step.effects:
                if done >= kill_after:
                    raise Killed
                world.perform(effect)
                assert newer_etcd_lies_ready(world) <= apart
                done += 1
    return done


def newer_etcd_lies_ready(world: UpgradeWorld) -> set[str]:
    """Nodes where a restart of etcd would start another version than runs: as the upgrade left some, and as
    no way back may make any, because an older etcd would meet newer data."""
    return {
        name
        for name, host in world.hosts.items()
        if SERVICE in host.units and host.units[SERVICE].running and name in world.running
        if host.files[ETCD].sha256 != host.units[SERVICE].inputs[ETCD]
    }


def finish(world: UpgradeWorld, chance: random.Random) -> None:
    """The apply that follows."""
    world.record = replace(world.record, upgrade=None)
    world.before = world.cluster
    run(world, chance)


def must_be_old(world: UpgradeWorld) -> None:
    assert world.plan().empty
    world.must_be_right()
    for name, host in world.hosts.items():
        if "kubelet.service" in host.units:
            assert world.runs(name, "kubelet") == (1, 35, 4)


@settings(max_examples=20, deadline=None)
@given(
    shape=st.sampled_from(sorted(SHAPES)),
    cut=st.floats(0.1, 1),
    back=st.lists(st.floats(0, 1), max_size=2),
    seed=st.integers(0, 99),
)
def test_killed_on_the_way_there_and_on_the_way_back(
    shape: str, cut: float, back: list[float], seed: int
) -> None:
    world = begun(shape, int(cut * 80), seed)
    chance = random.Random(seed)
    for share in back:
        with suppress(Killed):
            go_back(world, chance, kill_after=int(share * 30))
    go_back(world, chance)
    finish(world, chance)
    must_be_old(world)


@pytest.mark.parametrize("shape", ["all in one", "three and two"])
def test_every_point_of_the_way_back(shape: str) -> None:
    count = go_back(begun(shape, 60), random.Random(0))
    for kill_after in range(0, count, 3):
        world = begun(shape, 60)
        with pytest.raises(Killed):
            go_back(world, random.Random(0), kill_after)
        go_back(world, random.Random(1))
        finish(world, random.Random(1))
        must_be_old(world)


def at_etcd(shape: str = "one and two") -> UpgradeWorld:
    """All of the control plane is new, the software of before is here."""
    world = upgrading(shape, OLD, NEW)
    for step in (rolls(world)["demo-cp-1"],):
        for effect in world.plan().phase(Phase.BOOTSTRAP).steps:
            if effect.id.endswith("/stage"):
                for one in effect.effects:
                    world.perform(one)
        for one in step.effects:
            world.perform(one)
    world.cluster = cluster(shape, OLD)
    for step in planned(world).phase(Phase.ARTIFACTS).pending:
        for one in step.effects:
            world.perform(one)
    return world


def test_the_old_etcd_lies_ready_and_comes_when_the_newer_has_stopped() -> None:
    steps = {step.id: step for step in planned(at_etcd()).phase(Phase.RECOVER).steps}
    staged = [e for e in steps["demo-cp-1/etcd"].effects if isinstance(e, StageFiles)]
    assert [file.path for effect in staged for file in effect.files] == [ETCD]
    placed, begin = steps["demo-cp-1/recover"].effects
    assert isinstance(placed, PlaceFiles)
    assert [file.path for file in placed.files] == [ETCD]
    assert isinstance(begin, BeginAnew)
    assert "demo-cp-1/stop" in steps["demo-cp-1/recover"].needs


def test_kubelets_stop_before_an_older_server_can_start() -> None:
    phase = planned(at_etcd()).phase(Phase.RECOVER)
    steps = {step.id: step for step in phase.steps}
    for node in ("demo-cp-1", "demo-worker-1", "demo-worker-2"):
        pause = steps[f"{node}/kubelet"]
        assert pause.effects == (HaltUnits(node, AGENTS),)
        assert pause.needs == ("demo-cp-1/unpack",)
        assert pause.id in steps["demo-cp-1/recover"].needs
    told = " ".join(phase.notes)
    assert "everything written after 2026-11-20 12:00:00 UTC is forgotten" in told
    assert "kubelets and kube-proxies stop on all nodes" in told


@pytest.mark.parametrize(
    ("upgrade", "brief"),
    [
        (None, "no upgrade of demo to go back from"),
        (Upgrade("1.36.3", "1.36.1", 2, back=True, finished=True), "no upgrade of demo to go back from"),
        (replace(UNFINISHED, finished=True), "has been finished"),
        (replace(UNFINISHED, file="", node=""), "has no snapshot"),
    ],
)
def test_there_is_no_way_back(upgrade: Upgrade | None, brief: str) -> None:
    with pytest.raises(PlanError, match=brief):
        way_back(Record("demo", "lineage", upgrade=upgrade))


def test_ways_back() -> None:
    patch = Upgrade("1.36.1", "1.36.3", 2, finished=True)
    for upgrade in (UNFINISHED, patch):
        assert way_back(Record("demo", "lineage", upgrade=upgrade)) is upgrade
