"""Going back to a snapshot from any state of a cluster, and on new machines: killed anywhere, run again."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from tests.unit.plan.etcd_world import EtcdWorld
from tests.unit.plan.test_membership import Killed, cluster, run

from anykube.content.etcd import SERVICE
from anykube.content.model import LocalFile
from anykube.errors import PlanError
from anykube.facts.etcd import cluster_of_one
from anykube.facts.host import UnitFacts
from anykube.facts.record import Upgrade
from anykube.facts.snapshot import SnapshotFacts
from anykube.plan import effects
from anykube.plan.assemble import plan
from anykube.plan.giving_back import plan_giving_back
from anykube.plan.model import Phase, Plan
from anykube.plan.recoverable import Recovery
from anykube.plan.restore import BEFORE, Restore, plan_restore
from anykube.spec.load import load

SNAPSHOT = SnapshotFacts("/var/lib/anykube/restore/s.db", 12, 34, 56, "2026-11-20 12:00:00 UTC")
CHANCE = random.Random(7)
SERVERS = ("kube-apiserver.service", "kube-controller-manager.service", "kube-scheduler.service")


def asked(node: str, *, brought: bool = True, token: str = "demo-restored-1") -> Restore:
    recovery = Recovery(node, snapshot=SNAPSHOT, token=token, despite_quorum=True)
    return Restore(recovery, LocalFile("snapshot", "0" * 64) if brought else None, returns=True)


def planned(world: EtcdWorld, what: Restore) -> Plan:
    return plan_restore(world.cluster, world.facts(), world.record, world.blueprint(), None, what)


def restore(world: EtcdWorld, what: Restore, *, kill_after: int = 10**9) -> int:
    """The phases of a restore; the number of effects that were done."""
    done = 0
    for phase in BEFORE:
        for step in planned(world, what).phase(phase).steps:
            for effect in step.effects:
                if done >= kill_after:
                    raise Killed
                world.perform(effect)
                done += 1
    return done


def born(shape: str) -> EtcdWorld:
    world = EtcdWorld(cluster(shape))
    run(world, CHANCE)
    world.record = replace(world.record, born=True)
    return world


def must_be_restored(world: EtcdWorld, node: str) -> None:
    token = asked(node).recovery.token
    assert world.cluster_id == cluster_of_one(f"https://{world.addresses[node]}:2380", token)
    run(world, CHANCE)
    world.must_be_right()
    assert world.plan().empty


def test_the_id_of_a_new_cluster_is_the_one_that_etcd_gives_it() -> None:
    # etcdutl 3.7.3 snapshot restore --initial-cluster-token demo-restored-4 \
    #     --initial-advertise-peer-urls https://192.0.2.1:2380, then endpoint status
    assert cluster_of_one("https://192.0.2.1:2380", "demo-restored-4") == 0xD4B8674970D5279B


@pytest.mark.parametrize("shape", ["one", "three", "separate"])
def test_a_living_cluster_goes_back(shape: str) -> None:
    world = born(shape)
    node = next(iter(world.disks))
    restore(world, asked(node))
    assert set(world.disks) == {node}
    must_be_restored(world, node)


@pytest.mark.parametrize("shape", ["one", "three", "separate"])
def test_new_machines_get_etcd_from_the_snapshot(shape: str) -> None:
    """Nothing is here but secrets, lock and record of the cluster that was."""
    earlier = born("one")
    secrets = {name: secret for name, secret in earlier.secrets.items() if not name.startswith("nodes/")}
    world = EtcdWorld(cluster(shape), record=earlier.record, secrets=secrets)
    node = "demo-db-1" if shape == "separate" else "demo-cp-1"
    restore(world, asked(node))
    assert world.secrets["ca/etcd"] == secrets["ca/etcd"]
    must_be_restored(world, node)


@pytest.mark.parametrize("shape", ["three", "separate one"])
def test_killed_after_any_effect_and_run_again(shape: str) -> None:
    count = restore(born(shape), asked(next(iter(born(shape).disks))))
    for kill_after in range(count):
        world = born(shape)
        node = next(iter(world.disks))
        with pytest.raises(Killed):
            restore(world, asked(node), kill_after=kill_after)
        restore(world, asked(node))
        must_be_restored(world, node)


def test_what_has_begun_is_not_begun_again() -> None:
    world = born("three")
    restore(world, asked("demo-cp-2"))
    assert planned(world, asked("demo-cp-2")).empty
    run(world, CHANCE)
    assert planned(world, asked("demo-cp-2")).empty, "a restored cluster that serves would lose its writes"
    assert planned(world, asked("demo-cp-2", token="another")).pending


def test_everything_is_verified_and_stopped_before_etcd_begins() -> None:
    world = born("three")
    phase = planned(world, asked("demo-cp-1")).phase(Phase.RECOVER)
    steps = {step.id: step for step in phase.pending}
    assert steps["demo-cp-1/unpack"].needs == ("demo-cp-1/snapshot",)
    for node in ("demo-cp-1", "demo-cp-2", "demo-cp-3"):
        stop = steps[f"{node}/stop"]
        assert stop.needs == ("demo-cp-1/unpack",)
        assert stop.effects[0] == effects.HaltUnits(node, (*SERVERS, SERVICE))
    assert any("--abort" in note for note in phase.notes)
    kubelets = [step for step in phase.pending if step.id.endswith("/kubelet")]
    assert len(kubelets) == 4


def test_etcd_gets_what_it_needs_before_but_is_not_started() -> None:
    world = EtcdWorld(cluster("one"))
    phase = planned(world, asked("demo-cp-1")).phase(Phase.RECOVER)
    etcd = next(step for step in phase.steps if step.id == "demo-cp-1/etcd")
    assert etcd.effects
    assert all(isinstance(effect, effects.PutFiles) for effect in etcd.effects)


def test_a_snapshot_that_lies_on_the_node_is_not_brought() -> None:
    world = born("one")
    phase = planned(world, asked("demo-cp-1", brought=False)).phase(Phase.RECOVER)
    assert not {"demo-cp-1/snapshot", "demo-cp-1/tidy"} & {step.id for step in phase.steps}


def test_machines_that_do_not_answer_must_be_named() -> None:
    world = born("three")
    world.dead.add("demo-cp-3")
    with pytest.raises(PlanError, match="second cluster") as caught:
        planned(world, asked("demo-cp-1"))
    assert "the same again with --lost demo-cp-3" in str(caught.value)


def test_members_that_are_down_are_no_obstacle() -> None:
    world = born("three")
    for node in list(world.disks):
        host = world.hosts[node]
        world.hosts[node] = replace(host, units={**host.units, SERVICE: UnitFacts("loaded", "failed", True)})
    world.fewest = 99
    restore(world, asked("demo-cp-1"))
    must_be_restored(world, "demo-cp-1")


def test_taken_back_everything_stops_before_any_data_returns() -> None:
    world = born("three")
    back = plan_giving_back(world.cluster, world.facts(), 7, ("demo-cp-2", "/s.db"))
    steps = {step.id: step for step in back.pending}
    stops = tuple(f"demo-cp-{number}/stop" for number in (1, 2, 3))
    for number in (1, 2, 3):
        node = f"demo-cp-{number}"
        assert steps[f"{node}/stop"].effects == (effects.HaltUnits(node, (*SERVERS, SERVICE)),)
        assert set(steps[f"{node}/return"].needs) == set(stops)
        assert steps[f"{node}/return"].effects[0] == effects.ReturnEtcd(node, 7)
    assert steps["demo-cp-2/return"].effects[1:] == (effects.RemovePaths("demo-cp-2", ("/s.db",)),)
    assert not [name for name in steps if name.startswith("demo-worker")]


def test_nothing_is_taken_back_while_a_node_with_data_is_silent() -> None:
    world = born("three")
    world.dead.add("demo-cp-3")
    with pytest.raises(PlanError, match="while demo-cp-3 does not answer"):
        plan_giving_back(world.cluster, world.facts(), 7, ("demo-cp-1", "/s.db"))
    back = plan_giving_back(world.cluster, world.facts(), 7, ("demo-cp-1", "/s.db"), ("demo-cp-3",))
    assert "demo-cp-3/return" not in {step.id for step in back.pending}


def test_what_runs_now_makes_a_restore_no_downgrade() -> None:
    world = born("three")
    world.record = replace(world.record, upgrade=Upgrade("1.35.4", "1.36.3", 2))
    older = load(world.cluster.model_dump_json(by_alias=True).replace("1.36.3", "1.35.4"), "test")
    with pytest.raises(PlanError, match="downgrade"):
        plan(older, world.facts(), world.record, world.blueprint(), world.cluster)
    what = asked("demo-cp-1")
    made = plan_restore(older, world.facts(), world.record, world.blueprint(), world.cluster, what)
    assert made.phase(Phase.ARTIFACTS).pending
    later = replace(world.record, upgrade=None)
    assert plan(older, world.facts(), later, world.blueprint(), older).pending
