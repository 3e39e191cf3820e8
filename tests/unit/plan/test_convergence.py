"""The planner against a simulated world: it converges, from anywhere, and repairs only what is wrong.

The kill tests here are exhaustive: the run is cut before every single effect of a bring-up, planned again
from what is then true, and must end in the same world with the same authorities.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.unit.plan.world import World

from anykube.facts.host import FileFacts, HostFacts, LedgerFacts, UnitFacts, Unreachable
from anykube.facts.machines import MachineState
from anykube.plan.bootstrap import API_READY, UNREACHABLE_API_SECONDS
from anykube.plan.effects import SetUnit, WaitFor
from anykube.plan.model import Phase, Plan, Step
from anykube.plan.order import checked
from anykube.plan.stale import difference
from anykube.run import PHASES
from anykube.spec.load import load
from anykube.spec.model import Cluster

AUTHORITIES = ("ca/cluster", "ca/etcd", "ca/front-proxy", "service-account", "encryption-config")


def cluster(workers: int = 1, **spec: object) -> Cluster:
    document = {
        "apiVersion": "anykube.dev/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": "demo"},
        "spec": {
            "kubernetes": {"version": "1.36.3"},
            "machines": {
                "provider": {"lxc": {}},
                "pools": [
                    {"name": "cp", "roles": ["control-plane", "etcd"]},
                    {"name": "worker", "roles": ["worker"], "count": workers},
                ],
            },
            **spec,
        },
    }
    return load(json.dumps(document), "test")


class Killed(Exception):
    """The run ends here, as by kill -9."""


def run(world: World, plan: Plan | None = None, *, kill_after: int = 10**9) -> int:
    """Apply as the workflow does, phase by phase; returns the number of effects done."""
    done = 0
    for phase in PHASES:
        made = (plan or world.plan()).phase(phase)
        plan = None
        for step in checked(made.steps):
            for effect in step.effects:
                if done >= kill_after:
                    raise Killed
                world.perform(effect)
                done += 1
    return done


@pytest.fixture
def up() -> World:
    world = World(cluster())
    run(world)
    return world


def pending(world: World) -> dict[str, Step]:
    return {step.id: step for step in world.plan().pending}


def test_a_fresh_cluster_comes_up_and_the_second_run_changes_nothing(up: World) -> None:
    assert up.plan().empty
    assert up.plan().phase(Phase.RETIRE).provisional is False


def kill_points() -> Iterator[int]:
    yield from range(run(World(cluster())))


@pytest.mark.parametrize("point", list(kill_points()))
def test_killed_before_any_effect_the_next_run_finishes(point: int) -> None:
    world = World(cluster())
    with pytest.raises(Killed):
        run(world, kill_after=point)
    before = {name: world.secrets[name].parts for name in AUTHORITIES if name in world.secrets}
    run(world)
    assert world.plan().empty, f"not finished after a kill at effect {point}"
    after = {name: world.secrets[name].parts for name in before}
    assert before == after, "an authority was made again"


def test_the_first_plan_already_names_what_is_done_later() -> None:
    """What was shown as provisional is what is planned when its turn comes, but for waits that are over."""
    world = World(cluster())
    first = world.plan()
    for saved in first.phases:
        current = world.plan().phase(saved.phase)
        assert difference(saved, current) == ""
        for step in checked(current.steps):
            for effect in step.effects:
                world.perform(effect)


def test_a_saved_plan_is_stale_when_the_world_moved(up: World) -> None:
    edit(up, "demo-worker-1", KUBELET_CONFIG, sha256="0" * 64)
    saved = up.plan().phase(Phase.BOOTSTRAP)
    assert difference(saved, up.plan().phase(Phase.BOOTSTRAP)) == ""
    edit(up, "demo-cp-1", "/etc/kubernetes/scheduler.conf", sha256="1" * 64)
    assert "demo-cp-1/kube-scheduler is to be done now" in difference(saved, up.plan().phase(Phase.BOOTSTRAP))
    run(up)
    assert "is not to be done any more" in difference(saved, up.plan().phase(Phase.BOOTSTRAP))


def edit(world: World, node: str, path: str, **changes: str) -> None:
    host = world.hosts[node]
    file = replace(host.files[path], **changes)
    world.hosts[node] = replace(host, files={**host.files, path: file})


def set_unit(world: World, node: str, unit: str, **changes: object) -> None:
    host = world.hosts[node]
    found = replace(host.units[unit], **changes)  # type: ignore[arg-type]
    world.hosts[node] = replace(host, units={**host.units, unit: found})


KUBELET_CONFIG = "/var/lib/kubelet/config.yaml"


def test_an_edited_file_is_named_and_repaired_and_its_unit_restarted(up: World) -> None:
    edit(up, "demo-worker-1", KUBELET_CONFIG, sha256="0" * 64)
    found = pending(up)
    assert list(found) == ["demo-worker-1/kubelet"]
    (change,) = found["demo-worker-1/kubelet"].changes
    assert (change.action, change.subject, change.reason) == ("update", KUBELET_CONFIG, "edited on the node")
    run(up)
    assert up.plan().empty


def test_an_edit_that_a_process_already_uses_also_restarts_it(up: World) -> None:
    edit(up, "demo-worker-1", KUBELET_CONFIG, sha256="0" * 64)
    inputs = {**up.hosts["demo-worker-1"].units["kubelet.service"].inputs, KUBELET_CONFIG: "0" * 64}
    set_unit(up, "demo-worker-1", "kubelet.service", inputs=inputs)
    actions = [change.action for change in pending(up)["demo-worker-1/kubelet"].changes]
    assert actions == ["update", "restart"]
    run(up)
    assert up.plan().empty


def test_a_kill_between_placing_a_file_and_the_restart_is_seen(up: World) -> None:
    """The file is right, the process runs with the old one: only the restart is left."""
    inputs = {**up.hosts["demo-cp-1"].units["etcd.service"].inputs, "/etc/etcd/pki/ca.crt": "0" * 64}
    set_unit(up, "demo-cp-1", "etcd.service", inputs=inputs)
    found = pending(up)
    assert [change.action for change in found["demo-cp-1/etcd"].changes] == ["restart"]
    assert found["demo-cp-1/etcd"].disruption


def test_what_a_process_reads_again_by_itself_interrupts_nobody(up: World) -> None:
    inputs = {**up.hosts["demo-cp-1"].units["etcd.service"].inputs, "/etc/etcd/pki/server.crt": "0" * 64}
    set_unit(up, "demo-cp-1", "etcd.service", inputs=inputs)
    found = pending(up)
    assert [change.action for change in found["demo-cp-1/etcd"].changes] == ["reload"]
    assert not found["demo-cp-1/etcd"].disruption


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"active": "failed"}, "is failed"),
        ({"active": "inactive"}, "is inactive"),
        ({"needs_reload": True}, "its unit file changed on the node"),
        ({"enabled": False}, "would not start at boot"),
    ],
)
def test_a_unit_that_is_not_as_it_should_be(up: World, change: dict[str, object], reason: str) -> None:
    set_unit(up, "demo-cp-1", "kube-scheduler.service", **change)
    found = pending(up)
    assert list(found) == ["demo-cp-1/kube-scheduler"]
    assert found["demo-cp-1/kube-scheduler"].changes[0].reason == reason
    run(up)
    assert up.plan().empty


def test_a_unit_that_is_about_to_serve_is_waited_for(up: World) -> None:
    set_unit(up, "demo-cp-1", "etcd.service", active="activating")
    (step,) = pending(up).values()
    assert step.effects == (SetUnit("demo-cp-1", "etcd.service", "started"),)
    set_unit(up, "demo-cp-1", "etcd.service", inputs={})
    assert pending(up)["demo-cp-1/etcd"].effects == (SetUnit("demo-cp-1", "etcd.service", "restarted"),)


def test_a_deleted_file_and_a_wrong_mode(up: World) -> None:
    host = up.hosts["demo-cp-1"]
    files = {path: file for path, file in host.files.items() if path != "/etc/kubernetes/scheduler.conf"}
    up.hosts["demo-cp-1"] = replace(host, files=files)
    edit(up, "demo-cp-1", "/etc/kubernetes/pki/scheduler.key", mode="644")
    reasons = {change.subject: change.reason for change in pending(up)["demo-cp-1/kube-scheduler"].changes}
    assert reasons["/etc/kubernetes/scheduler.conf"] == "missing"
    assert reasons["/etc/kubernetes/pki/scheduler.key"] == "mode is 644, should be 600"
    run(up)
    assert up.plan().empty


def test_a_certificate_about_to_end_is_issued_and_goes_where_it_is_used(up: World) -> None:
    up.now += timedelta(days=340)
    for name, host in up.hosts.items():
        up.hosts[name] = replace(host, system=replace(host.system, clock=up.now.timestamp()))
    found = pending(up)
    assert "local/certificates" in found
    assert {change.kind for change in found["local/certificates"].changes} == {"certificate"}
    assert not [change for change in found["local/certificates"].changes if change.subject in AUTHORITIES]
    run(up)
    assert up.plan().empty


def test_a_stopped_machine_is_started_and_a_half_made_one_made_again(up: World) -> None:
    up.machines["demo-worker-1"] = replace(up.machines["demo-worker-1"], state=MachineState.STOPPED)
    (change,) = pending(up)["demo-worker-1/machine"].changes
    assert change.action == "start"
    up.machines["demo-worker-1"] = replace(up.machines["demo-worker-1"], state=MachineState.BROKEN)
    assert pending(up)["demo-worker-1/machine"].changes[0].reason == "made in part only; made again"
    run(up)
    assert up.plan().empty


def test_machines_that_are_off_are_started_and_nothing_else_is_guessed(up: World) -> None:
    for name, machine in up.machines.items():
        up.machines[name] = replace(machine, state=MachineState.STOPPED)
    shown = [(change.action, change.kind) for step in up.plan().pending for change in step.changes]
    assert sorted(shown) == [("start", "machine"), ("start", "machine"), ("wait", "condition")]
    run(up)
    assert up.plan().empty


def test_more_and_fewer_workers_touch_no_other_node(up: World) -> None:
    up.cluster = cluster(workers=3)
    targets = {step.target for step in up.plan().pending}
    assert targets == {"local", "demo-worker-2", "demo-worker-3"}
    run(up)
    assert up.plan().empty
    up.cluster = cluster(workers=1)
    targets = {step.target for step in up.plan().pending}
    assert targets == {"demo-worker-2", "demo-worker-3"}
    run(up)
    assert up.plan().empty
    assert sorted(up.machines) == ["demo-cp-1", "demo-worker-1"]


def test_what_the_object_no_longer_asks_for_is_removed(up: World) -> None:
    previous = up.cluster
    up.cluster = cluster(security={"audit": False}, addons={"dns": None})
    found = {step.id: step for step in up.plan(previous).pending}
    removed = [
        change.subject for step in found.values() for change in step.changes if change.action == "delete"
    ]
    assert any("audit" in subject for subject in removed)
    assert "Deployment/kube-system/coredns" in removed
    run(up)
    assert up.plan().empty


@pytest.mark.parametrize(
    ("ledger", "word"),
    [(LedgerFacts("other", 1), "another cluster"), (LedgerFacts("lineage", 99), "has seen run 99")],
)
def test_a_node_that_is_not_ours_to_change_is_left_alone(up: World, ledger: LedgerFacts, word: str) -> None:
    host = up.hosts["demo-worker-1"]
    files: dict[str, FileFacts] = {}
    units: dict[str, UnitFacts] = {}
    up.hosts["demo-worker-1"] = HostFacts(host.name, host.system, files, units, ledger)
    made = up.plan()
    assert [obstacle.target for obstacle in made.obstacles] == ["demo-worker-1"]
    assert word in made.obstacles[0].brief
    assert not [step for step in made.pending if step.target == "demo-worker-1"]


def test_a_clock_that_is_far_off_is_refused(up: World) -> None:
    host = up.hosts["demo-worker-1"]
    system = replace(host.system, clock=host.system.clock - 11_520)
    up.hosts["demo-worker-1"] = replace(host, system=system)
    assert "clock differs by -11520 s" in up.plan().obstacles[0].brief


def test_an_unreachable_control_plane_is_not_waited_for() -> None:
    world = World(cluster())
    run(world)
    host = world.hosts["demo-cp-1"]
    world.hosts["demo-cp-1"] = Unreachable("demo-cp-1", "no answer")  # type: ignore[assignment]
    made = world.plan()
    world.hosts["demo-cp-1"] = host
    assert [obstacle.target for obstacle in made.obstacles] == ["demo-cp-1"]
    waits = [effect for step in made.pending for effect in step.effects if step.id == API_READY]
    assert [wait.seconds for wait in waits if isinstance(wait, WaitFor)] == [UNREACHABLE_API_SECONDS]
