"""How nodes reach the API, as plans: what is reloaded, who waits for a shared address, what goes last."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.unit.plan.test_convergence import run
from tests.unit.plan.world import SYSTEM, World

from anykube.content.haproxy import LOCAL_CONFIG, LOCAL_SERVICE, SHARED_SERVICE
from anykube.content.keepalived import CONFIG as KEEPALIVED_CONFIG
from anykube.facts.host import FileFacts, HostFacts
from anykube.plan.effects import RemovePaths, SetUnit, WaitFor
from anykube.plan.endpoint import ENDPOINT, plan_endpoint, remedy
from anykube.plan.model import Change, Step
from anykube.spec.endpoint import api_endpoint
from anykube.spec.load import load
from anykube.spec.model import Cluster

WORKER = "demo-worker-1"
SHARED = {"kind": "virtual-ip", "address": "10.81.0.250"}


def cluster(planes: int = 2, balancers: int = 0, **spec: object) -> Cluster:
    """Control planes with etcd on a machine of its own, so that their number can change freely here."""
    pools: list[dict[str, object]] = [
        {"name": "etcd", "roles": ["etcd"]},
        {"name": "worker", "roles": ["worker"]},
        {"name": "lb", "roles": ["load-balancer"], "count": balancers},
        # Last, so that the others keep their addresses when another one comes.
        {"name": "cp", "roles": ["control-plane"], "count": planes},
    ]
    pools = [pool for pool in pools if pool.get("count") != 0]
    document = {
        "apiVersion": "anykube.dev/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": "demo"},
        "spec": {
            "kubernetes": {"version": "1.36.3"},
            "machines": {"provider": {"lxc": {}}, "pools": pools},
            **spec,
        },
    }
    return load(json.dumps(document), "test")


def brought_up(wanted: Cluster) -> World:
    world = World(wanted)
    run(world)
    assert world.plan().empty
    return world


def pending(world: World, previous: Cluster | None = None) -> dict[str, Step]:
    return {step.id: step for step in world.plan(previous).pending}


def units(step: Step) -> list[tuple[str, str]]:
    return [(effect.unit, effect.state) for effect in step.effects if isinstance(effect, SetUnit)]


def test_another_server_is_a_reload_for_the_balancers_of_nodes() -> None:
    world = brought_up(cluster(2))
    world.cluster = cluster(3)
    made = pending(world)
    step = made[f"{WORKER}/haproxy"]
    assert units(step) == [(LOCAL_SERVICE, "reloaded")]
    assert Change("reload", "unit", LOCAL_SERVICE, f"runs with another {LOCAL_CONFIG}") in step.changes
    assert not step.disruption
    assert not {f"{WORKER}/kubelet", f"{WORKER}/kube-proxy"} & made.keys()
    run(world)
    assert world.plan().empty


@pytest.mark.parametrize("also", ["unit file", "needs daemon-reload"])
def test_a_reload_is_not_enough_for_another_unit_file(also: str) -> None:
    world = brought_up(cluster(2))
    host = world.hosts[WORKER]
    unit = host.units[LOCAL_SERVICE]
    inputs = {**unit.inputs, LOCAL_CONFIG: "0" * 64}
    if also == "unit file":
        inputs[f"/etc/systemd/system/{LOCAL_SERVICE}"] = "0" * 64
    changed = replace(unit, inputs=inputs, needs_reload=also != "unit file")
    world.hosts[WORKER] = replace(host, units={**host.units, LOCAL_SERVICE: changed})
    assert units(pending(world)[f"{WORKER}/haproxy"]) == [(LOCAL_SERVICE, "restarted")]


def test_nodes_that_work_wait_for_a_shared_address_and_old_balancers_go_last() -> None:
    world = brought_up(cluster(2))
    world.cluster = cluster(2, endpoint=SHARED)
    made = pending(world)
    shared = made[ENDPOINT]
    assert [effect.condition for effect in shared.effects if isinstance(effect, WaitFor)] == [
        "endpoint-ready"
    ]
    assert {"demo-cp-1/haproxy", "demo-cp-2/keepalived", "demo-cp-1/kube-apiserver"} <= set(shared.needs)
    for name in ("kubelet", "kube-proxy"):
        assert ENDPOINT in made[f"{WORKER}/{name}"].needs
    assert {f"{WORKER}/kubelet", f"{WORKER}/kube-proxy"} <= set(made[f"{WORKER}/leftovers"].needs)
    assert (LOCAL_SERVICE, "absent") in units(made[f"{WORKER}/leftovers"])
    run(world)
    assert world.plan().empty


def test_a_new_node_does_not_wait_for_the_shared_address() -> None:
    world = World(cluster(2, endpoint=SHARED))
    made = pending(world)
    assert made[ENDPOINT].effects
    assert ENDPOINT not in made[f"{WORKER}/kubelet"].needs


def test_a_virtual_address_stays_until_all_nodes_have_left_it() -> None:
    world = brought_up(cluster(2, endpoint=SHARED))
    world.cluster = cluster(2)
    made = pending(world)
    assert ENDPOINT not in made
    for plane in ("demo-cp-1", "demo-cp-2"):
        leftovers = made[f"{plane}/leftovers"]
        assert (SHARED_SERVICE, "absent") in units(leftovers)
        removed = [
            path for effect in leftovers.effects if isinstance(effect, RemovePaths) for path in effect.paths
        ]
        assert KEEPALIVED_CONFIG in removed
        assert {f"{WORKER}/kubelet", f"{WORKER}/kube-proxy"} <= set(leftovers.needs)
    assert f"{WORKER}/haproxy" in made[f"{WORKER}/kubelet"].needs
    run(world)
    assert world.plan().empty


def test_machines_that_only_balance_get_just_that() -> None:
    world = brought_up(cluster(2, balancers=2, endpoint=SHARED))
    for name in ("demo-lb-1", "demo-lb-2"):
        started = set(world.hosts[name].units)
        assert started == {"anykube-system.service", SHARED_SERVICE, "anykube-keepalived.service"}
    assert not {SHARED_SERVICE, LOCAL_SERVICE} & set(world.hosts["demo-cp-1"].units)


def test_trouble_with_the_endpoint_is_waited_for_and_said() -> None:
    wanted = cluster(2, endpoint=SHARED)
    world = brought_up(wanted)
    facts = world.facts()
    api = api_endpoint(wanted, {f"demo-{name}": "10.81.0.9" for name in NAMES}, {})
    settled = plan_endpoint(api, (), (), facts)
    assert settled is not None and settled.skipped
    broken = replace(facts, kubernetes=replace(facts.kubernetes, endpoint="it does not answer"))
    step = plan_endpoint(api, (), (), broken)
    assert step is not None and step.reason == "it does not answer" and not step.skipped


NAMES = ("cp-1", "cp-2", "etcd-1", "worker-1")


def test_an_external_balancer_is_told_its_back_ends() -> None:
    addresses = {f"demo-{name}": f"10.81.0.{number}" for number, name in enumerate(NAMES, 11)}
    api = api_endpoint(cluster(endpoint={"kind": "external", "address": "api.example.com"}), addresses, {})
    said = remedy(api)
    for part in ("api.example.com:6443", "10.81.0.11:6443", "10.81.0.12:6443", "/readyz"):
        assert part in said


def test_a_missing_program_is_an_obstacle_with_the_command_that_helps() -> None:
    world = brought_up(cluster(2))
    host = world.hosts[WORKER]
    world.hosts[WORKER] = replace(host, tools=frozenset({"keepalived"}))
    (found,) = world.plan().obstacles
    assert (found.target, found.brief) == (WORKER, "lacks the packages haproxy, nftables")
    assert "apt-get install -y haproxy nftables" in found.remedy
    assert not [step for step in world.plan().pending if step.target == WORKER]


def test_a_program_that_no_component_of_the_node_needs_is_not_missed() -> None:
    world = brought_up(cluster(2))
    host = world.hosts["demo-etcd-1"]
    world.hosts["demo-etcd-1"] = HostFacts(host.name, SYSTEM, host.files, host.units, host.ledger)
    assert not [found for found in world.plan().obstacles if "lacks" in found.brief]


def test_a_file_edited_on_the_node_is_put_back_and_read_again() -> None:
    world = brought_up(cluster(2))
    host = world.hosts[WORKER]
    edited = FileFacts("0" * 64, "644", "root:root")
    world.hosts[WORKER] = replace(host, files={**host.files, LOCAL_CONFIG: edited})
    step = pending(world, world.cluster)[f"{WORKER}/haproxy"]
    assert [change.action for change in step.changes] == ["update"]
