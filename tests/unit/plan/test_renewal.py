"""Certificates that ended, or that are asked for: what is made anew, in which order, and what restarts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from tests.unit.plan.world import World

from anykube.content.certificates import certificate_requests
from anykube.errors import PlanError, UsageError
from anykube.facts.cluster import Facts
from anykube.facts.host import HostFacts, Unreachable
from anykube.plan.contexts import endpoint, known_hosts
from anykube.plan.effects import IssueCertificates, PutFiles, SetUnit, WaitFor
from anykube.plan.model import Phase, PhasePlan, Step
from anykube.plan.renewal import plan_renewal, selected
from anykube.spec.load import load
from anykube.spec.nodes import nodes

OBJECT = """
apiVersion: anykube.dev/v1alpha1
kind: Cluster
metadata: {name: demo}
spec:
  kubernetes: {version: "1.36.3"}
  machines:
    provider: {lxc: {}}
    pools:
    - {name: cp, roles: [control-plane, etcd], count: 3}
    - {name: worker, roles: [worker], count: 1}
"""
LEAVES = 3 * (2 + 6 + 3) + 3 + 2
"""Of a control plane two of etcd, six of servers and three of kubelet and kube-proxy; a worker; users."""


@pytest.fixture(scope="module")
def settled() -> World:
    world = World(load(OBJECT, "test"))
    for _ in range(10):
        pending = world.plan().pending
        if not pending:
            return world
        for step in next(phase for phase in world.plan().phases if phase.pending).pending:
            _perform(world, step)
    raise AssertionError("it does not settle")


@pytest.fixture
def world(settled: World) -> World:
    return replace(
        settled, hosts=dict(settled.hosts), secrets=dict(settled.secrets), machines=dict(settled.machines)
    )


def _perform(world: World, step: Step) -> None:
    for effect in step.effects:
        world.perform(effect)


def _later(world: World, days: float) -> None:
    """Time passes, here and on the nodes."""
    world.now += timedelta(days=days)
    for name, host in world.hosts.items():
        assert isinstance(host, HostFacts)
        world.hosts[name] = replace(host, system=replace(host.system, clock=world.now.timestamp()))


def _asked(world: World, *names: str, everything: bool = False, facts: Facts | None = None) -> PhasePlan:
    facts, blueprint = facts or world.facts(), world.blueprint()
    api = endpoint(world.cluster, blueprint)
    requests = certificate_requests(world.cluster, nodes(world.cluster), blueprint.addresses, api)
    chosen = selected(requests, facts.secrets, facts.now, names, everything=everything)
    return plan_renewal(world.cluster, facts, world.record, blueprint, known_hosts(facts, blueprint), chosen)


def _issued(phase: PhasePlan) -> list[str]:
    return [
        request.secret
        for step in phase.pending
        for effect in step.effects
        if isinstance(effect, IssueCertificates)
        for request in effect.requests
    ]


def _turned(phase: PhasePlan) -> dict[str, str]:
    return {
        f"{effect.node} {effect.unit.removesuffix('.service')}": effect.state
        for step in phase.pending
        for effect in step.effects
        if isinstance(effect, SetUnit)
    }


def test_nothing_is_due_on_a_fresh_cluster(world: World) -> None:
    assert not world.plan().pending
    assert not _asked(world).pending


def test_apply_renews_with_a_third_left_and_not_before(world: World) -> None:
    _later(world, 365 * 2 / 3 - 1)
    assert not world.plan().pending
    _later(world, 2)
    made = world.plan()
    assert not made.phase(Phase.RENEW).pending, "nothing has ended: the nodes roll as with any change"
    assert len(_issued(made.phase(Phase.BOOTSTRAP))) == LEAVES
    restarted = {unit for unit, state in _turned(made.phase(Phase.BOOTSTRAP)).items() if state == "restarted"}
    assert {unit.split()[1] for unit in restarted}.isdisjoint({"etcd", "kube-apiserver"})


def test_when_they_have_ended_apply_renews_before_it_looks_at_anything_else(world: World) -> None:
    _later(world, 366)
    made = world.plan()
    assert [phase.phase for phase in made.phases if phase.pending] == [Phase.RENEW]
    assert all(phase.provisional for phase in made.phases[1:])
    renewal = made.phase(Phase.RENEW)
    assert len(_issued(renewal)) == LEAVES, "also those of users: with them the API is asked"
    turned = _turned(renewal)
    assert turned["demo-cp-1 etcd"] == "reloaded", (
        "it reads them for each handshake: the quorum is left alone"
    )
    assert turned["demo-cp-1 kube-apiserver"] == "restarted"
    assert turned["demo-worker-1 kubelet"] == "restarted"


def test_all_nodes_have_their_files_before_a_process_takes_them_over(world: World) -> None:
    _later(world, 366)
    steps = {step.id: step for step in world.plan().phase(Phase.RENEW).pending}
    places = {name for name, step in steps.items() if any(isinstance(e, PutFiles) for e in step.effects)}
    assert len(places) == 4
    for step in steps.values():
        if any(isinstance(effect, SetUnit) for effect in step.effects):
            assert places <= set(step.needs), step.id


def test_servers_restart_one_after_another_each_ready_before_the_next(world: World) -> None:
    _later(world, 366)
    servers = [step for step in world.plan().phase(Phase.RENEW).pending if step.title == "kube-apiserver"]
    assert len(servers) == 3
    for before, after in pairwise(servers):
        assert before.id in after.needs
        assert any(isinstance(e, WaitFor) and e.condition == "server-ready" for e in before.effects)


def test_asked_for_all_no_etcd_and_no_server_restarts(world: World) -> None:
    phase = _asked(world, everything=True)
    assert len(_issued(phase)) == LEAVES
    for unit, state in _turned(phase).items():
        assert state == ("reloaded" if unit.endswith((" etcd", " kube-apiserver")) else "restarted"), unit


def test_every_server_is_seen_to_serve_its_new_certificate(world: World) -> None:
    waits = {
        effect.subject.partition(" at ")[0]
        for step in _asked(world, everything=True).pending
        for effect in step.effects
        if isinstance(effect, WaitFor) and effect.condition == "served"
    }
    own = {f"nodes/demo-cp-{n}/{use}" for n in (1, 2, 3) for use in ("apiserver", "etcd-server", "etcd-peer")}
    kubelets = {f"nodes/{node.name}/kubelet-server" for node in nodes(world.cluster)}
    assert waits == own | kubelets


def test_one_node_or_one_certificate(world: World) -> None:
    of_node = _asked(world, "demo-worker-1")
    assert {name.split("/")[1] for name in _issued(of_node)} == {"demo-worker-1"}
    assert {unit.split()[0] for unit in _turned(of_node)} == {"demo-worker-1"}
    one = _asked(world, "nodes/demo-cp-2/scheduler")
    assert _turned(one) == {"demo-cp-2 kube-scheduler": "restarted"}
    assert _issued(_asked(world, "users/admin")) == ["users/admin"]


def test_a_name_that_is_neither_is_refused(world: World) -> None:
    with pytest.raises(UsageError, match="no node and no certificate"):
        _asked(world, "demo-cp-9")
    with pytest.raises(UsageError):
        _asked(world, "ca/cluster")


@pytest.mark.parametrize("count", range(0, 24, 3))
def test_killed_after_any_step_the_next_run_finishes(world: World, count: int) -> None:
    """Steps done, then the run dies; etcd does not answer. What was issued must still reach its nodes."""
    world.record = replace(world.record, born=True)
    _later(world, 366)
    for step in world.plan().phase(Phase.RENEW).pending[:count]:
        _perform(world, step)
    for _ in range(4):
        for step in world.plan().phase(Phase.RENEW).pending:
            _perform(world, step)
    assert not world.plan().phase(Phase.RENEW).pending
    kept = {part: name for name, secret in world.secrets.items() for part in secret.parts.values()}
    for name, host in world.hosts.items():
        for path, file in host.files.items():
            if "pki" in path and "ca.crt" not in path and "service-account" not in path:
                assert file.sha256 in kept, f"{name}: {path} is not what is kept"


def test_a_clock_that_no_node_agrees_with_renews_nothing(world: World) -> None:
    world.now += timedelta(days=400)
    assert not world.plan().phase(Phase.RENEW).pending
    assert not _issued(world.plan().phase(Phase.BOOTSTRAP)), "else each jump would make all of them anew"
    assert any("agrees with the clock" in note for note in world.plan().phase(Phase.BOOTSTRAP).notes)
    with pytest.raises(PlanError, match="clock"):
        _asked(world, everything=True)


def test_members_that_are_about_to_serve_are_waited_for(world: World) -> None:
    """After a boot with certificates that have ended: a restart would only hold them up."""
    _later(world, 366)
    host = world.hosts["demo-cp-2"]
    assert isinstance(host, HostFacts)
    starting = replace(host.units["etcd.service"], active="activating")
    world.hosts["demo-cp-2"] = replace(host, units={**host.units, "etcd.service": starting})
    steps = {step.id: step for step in world.plan().phase(Phase.RENEW).pending}
    done = [effect.state for effect in steps["demo-cp-2/etcd"].effects if isinstance(effect, SetUnit)]
    assert done == ["started", "reloaded"]
    assert not steps["demo-cp-2/etcd"].disruption


def test_a_node_that_does_not_answer_is_in_the_way_only_if_it_is_meant(world: World) -> None:
    facts = replace(
        world.facts(), hosts={**world.hosts, "demo-worker-1": Unreachable("demo-worker-1", "no answer")}
    )
    assert [o.target for o in _asked(world, everything=True, facts=facts).obstacles] == ["demo-worker-1"]
    assert not _asked(world, "demo-cp-1", facts=facts).obstacles


def test_a_machine_that_is_off_gets_its_certificates_later(world: World) -> None:
    facts = world.facts()
    facts = replace(facts, hosts={name: host for name, host in facts.hosts.items() if name != "demo-cp-2"})
    phase = _asked(world, "demo-cp-2", facts=facts)
    assert len(_issued(phase)) == 11
    assert phase.notes == ("demo-cp-2 does not run; apply places its certificates once it does",)


def test_units_that_are_down_are_started_again(world: World) -> None:
    _later(world, 366)
    host = world.hosts["demo-cp-2"]
    assert isinstance(host, HostFacts)
    down = {name: replace(unit, active="failed") for name, unit in host.units.items()}
    world.hosts["demo-cp-2"] = replace(host, units=down)
    turned = _turned(world.plan().phase(Phase.RENEW))
    assert turned["demo-cp-2 etcd"] == "restarted"
    assert turned["demo-cp-1 etcd"] == "reloaded"
