"""Nodes leave in order and completely, and no sequence of removals ever costs etcd its quorum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.plan.test_convergence import Killed, cluster, run
from tests.unit.plan.world import NOW, SYSTEM, World

from anykube.errors import PlanError
from anykube.facts.cluster import Facts
from anykube.facts.etcd import Member, View, quorum
from anykube.facts.host import HostFacts, LedgerFacts, UnitFacts, Unreachable, WrongHostKey
from anykube.facts.kubernetes import KubernetesFacts, NodeFacts, PodFacts
from anykube.facts.machines import MachineFacts, MachineState, SiteFacts
from anykube.facts.record import Record
from anykube.facts.secrets import SecretFacts
from anykube.plan import effects
from anykube.plan.assemble import plan
from anykube.plan.blueprint import Blueprint, MachineBlueprint
from anykube.plan.forecast import forecast
from anykube.plan.leave import plan_leave, surplus
from anykube.plan.model import Phase, PhasePlan, Step
from anykube.plan.replacing import as_if_gone, refuse_replacing
from anykube.spec.model import Role
from anykube.spec.nodes import Node

RECORD = Record("demo", "lineage", epoch=3)
SERVERS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
BOTH = (Role.CONTROL_PLANE, Role.ETCD)


def host(
    name: str, units: Sequence[str] = (), view: View | None = None, lineage: str = "lineage"
) -> HostFacts:
    found = {f"{unit}.service": UnitFacts("loaded", "active", True) for unit in units}
    ledger = LedgerFacts(lineage, 1, frozenset({"/etc/x"}), frozenset(found))
    return HostFacts(name, SYSTEM, {}, found, ledger, etcd=view)


def stacked(names: Sequence[str], ill: Sequence[str] = (), learners: Sequence[str] = ()) -> Facts:
    """Control planes with etcd, in one cluster; machines of the ill are off. The first well one leads."""
    well = [name for name in names if name not in ill]
    number = {name: index for index, name in enumerate(names, start=1)}
    members = tuple(
        Member(number[name], name, (f"https://10.0.0.{number[name]}:2380",), ("x",), name in learners)
        for name in names
    )
    voters = [name for name in names if name not in learners]
    voting = [name for name in voters if name in well]
    leader = number[voting[0]] if len(voting) >= quorum(len(voters)) else 0
    views = {name: View(7, number[name], leader, 1, 9, 9, members, learner=name in learners) for name in well}
    machines = {
        name: MachineFacts(
            name, MachineState.RUNNING if name in well else MachineState.STOPPED, f"10.0.0.{number[name]}"
        )
        for name in names
    }
    return Facts(
        now=NOW,
        site=SiteFacts({}, machines),
        hosts={name: host(name, ("etcd", "kubelet", *SERVERS), views[name]) for name in well},
        kubernetes=KubernetesFacts(
            True, nodes={name: NodeFacts(name, name in well, "v1", False, pool="cp") for name in names}
        ),
        secrets={f"nodes/{name}/kubelet": SecretFacts("x") for name in names},
    )


def blueprint(names: Sequence[str], *, creates: bool = True) -> Blueprint:
    machines = {name: MachineBlueprint(f"10.0.0.{number}") for number, name in enumerate(names, start=1)}
    return Blueprint(machines, creates=creates)


def leave(
    facts: Facts,
    wanted: Sequence[Node],
    leaving: Sequence[str],
    phase: Phase = Phase.RETIRE,
    *,
    creates: bool = True,
) -> PhasePlan:
    return plan_leave(
        phase, leaving, wanted, facts, RECORD, blueprint([node.name for node in wanted], creates=creates)
    )


def planes(*names: str) -> tuple[Node, ...]:
    return tuple(Node(name, "cp", BOTH) for name in names)


def order(made: PhasePlan) -> list[str]:
    return [step.id for step in made.pending]


def done(step: Step) -> list[str]:
    return [type(effect).__name__ for effect in step.effects]


def test_a_control_plane_leaves_in_this_order() -> None:
    made = leave(stacked("abcd"), planes("a", "b", "c"), ["d"])
    assert order(made) == ["d/drain", "d/stop", "d/etcd-member", "d/node", "d/delete-machine", "d/forget"]
    for before, after in zip(made.steps, made.steps[1:], strict=False):
        assert after.needs == (before.id,)
    stops = [effect.unit for effect in made.steps[1].effects if isinstance(effect, effects.SetUnit)]
    assert stops == [
        "kube-scheduler.service",
        "kube-controller-manager.service",
        "kube-apiserver.service",
        "kubelet.service",
    ]
    (removal,) = made.steps[2].effects
    assert removal == effects.RemoveMember("d", 4, ("a", "b", "c"))
    assert made.steps[2].changes[0].reason == "then voters a, b, c; quorum 2 of 3, survives 1 failure"


def test_one_after_another_the_dead_first_and_the_leader_last() -> None:
    made = leave(stacked("abcde", ill="d"), planes("b", "c"), ["a", "d", "e"])
    removed = [step.target for step in made.pending if step.id.endswith("/etcd-member")]
    assert removed == ["d", "e", "a"], "a leads"
    needs = {step.id: step.needs for step in made.steps}
    assert needs["e/drain"] == ("d/forget",)
    assert needs["a/drain"] == ("e/forget",)


def test_workers_leave_at_once() -> None:
    facts = stacked("a")
    machines = {name: MachineFacts(name, MachineState.RUNNING, "") for name in ("w1", "w2")}
    nodes = {name: NodeFacts(name, True, "v1", False, pool="w") for name in machines}
    facts = replace(
        facts,
        site=SiteFacts({}, machines),
        hosts={**facts.hosts, "w1": host("w1", ["kubelet"]), "w2": host("w2", ["kubelet"])},
        kubernetes=replace(facts.kubernetes, nodes={**facts.kubernetes.nodes, **nodes}),
    )
    made = leave(facts, planes("a"), ["w1", "w2"])
    assert [step.needs for step in made.steps if step.id.endswith("/drain")] == [(), ()]
    assert not made.obstacles


def test_a_dead_machine_is_not_drained_and_nothing_is_stopped_there() -> None:
    made = leave(stacked("abcd", ill="d"), planes("a", "b", "c"), ["d"])
    assert order(made) == ["d/etcd-member", "d/node", "d/delete-machine", "d/forget"]
    drain = made.steps[0]
    assert drain.skipped
    assert "does not run" in drain.reason


def test_a_machine_that_was_just_powered_off_is_not_drained_either() -> None:
    """Its Node is Ready for 40 seconds more."""
    facts = stacked("abcd", ill="d")
    nodes = {name: replace(node, ready=True) for name, node in facts.kubernetes.nodes.items()}
    facts = replace(facts, kubernetes=replace(facts.kubernetes, nodes=nodes))
    assert "d/drain" not in order(leave(facts, planes("a", "b", "c"), ["d"]))


def test_a_node_without_ssh_whose_kubelet_reports_is_drained() -> None:
    facts = stacked("abcd")
    facts = replace(facts, hosts={**facts.hosts, "d": Unreachable("d", "no route")})
    assert order(leave(facts, planes("a", "b", "c"), ["d"]))[0] == "d/drain"


def test_the_last_voter_stays() -> None:
    made = leave(stacked("ab", ill="b"), planes("a"), ["b"])
    assert "no quorum" in made.obstacles[0].brief
    made = leave(stacked("a"), (), ["a"])
    assert "last voter" in made.obstacles[0].brief
    assert made.pending == ()


def test_a_removal_that_costs_the_quorum_is_refused_and_names_who_is_ill() -> None:
    made = leave(stacked("abc", ill="c"), planes("a", "c"), ["b"])
    assert made.pending == ()
    (obstacle,) = made.obstacles
    assert obstacle.target == "b"
    assert "not healthy: c" in obstacle.brief
    assert "replace the nodes that are not healthy" in obstacle.remedy


def test_the_last_api_server_stays_until_its_successors_serve() -> None:
    facts = stacked("abc")
    facts = replace(
        facts,
        site=replace(facts.site, machines={"old": MachineFacts("old", MachineState.RUNNING, "")}),
        hosts={
            name: host(name, ["etcd"], found.etcd)
            for name, found in facts.hosts.items()
            if isinstance(found, HostFacts)
        }
        | {"old": host("old", SERVERS)},
    )
    etcd = tuple(Node(name, "etcd", (Role.ETCD,)) for name in "abc")
    wanted = (Node("new", "cp", (Role.CONTROL_PLANE,)), *etcd)
    made = leave(facts, wanted, ["old"])
    assert made.pending == ()
    assert "no other API server runs" in made.obstacles[0].brief
    served = replace(facts, hosts={**facts.hosts, "new": host("new", SERVERS)})
    assert not leave(served, wanted, ["old"]).obstacles


def test_a_learner_may_always_go() -> None:
    made = leave(stacked("abc", learners="c"), planes("a", "b"), ["c"])
    assert not made.obstacles
    change = next(change for step in made.pending for change in step.changes if change.action == "leave")
    assert (change.kind, change.reason) == (
        "etcd learner",
        "then voters a, b; quorum 2 of 2, survives no failure",
    )


NAMES = st.integers(1, 7).map(lambda size: [f"n{number}" for number in range(1, size + 1)])


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_sequence_ever_leaves_too_few_healthy_voters(data: st.DataObject) -> None:
    names = data.draw(NAMES)
    ill = data.draw(st.sets(st.sampled_from(names), max_size=len(names) - 1))
    learners = data.draw(st.sets(st.sampled_from(names), max_size=1).filter(lambda some: some != set(names)))
    leaving = sorted(data.draw(st.sets(st.sampled_from(names), min_size=1)))
    facts = stacked(names, sorted(ill), sorted(learners))
    made = leave(facts, planes(*(name for name in names if name not in leaving)), leaving)
    voters = {name: name not in ill for name in names if name not in learners}
    quorate = sum(voters.values()) >= quorum(len(voters))
    for step in made.pending:
        for effect in step.effects:
            if isinstance(effect, effects.RemoveMember):
                assert quorate, "nothing is removed without a quorum"
                voters.pop(effect.node, None)
                assert voters, "the last voter stays"
                assert sum(voters.values()) >= quorum(len(voters)), f"{effect.node} goes, {voters} are left"
                assert set(effect.through).isdisjoint(leaving)
    removed = {step.target for step in made.pending}
    assert removed | {obstacle.target for obstacle in made.obstacles} == set(leaving)
    assert removed.isdisjoint(obstacle.target for obstacle in made.obstacles)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_what_is_safe_is_not_refused(data: st.DataObject) -> None:
    """All healthy: every node may go as long as a voter stays."""
    names = data.draw(NAMES)
    leaving = sorted(data.draw(st.sets(st.sampled_from(names), max_size=len(names) - 1)))
    made = leave(stacked(names), planes(*(name for name in names if name not in leaving)), leaving)
    assert not made.obstacles


# existing machines


def existing(found: HostFacts | Unreachable) -> PhasePlan:
    facts = stacked("a")
    machine = MachineFacts("w", MachineState.RUNNING, "")
    facts = replace(facts, site=SiteFacts({}, {"w": machine}), hosts={**facts.hosts, "w": found})
    return leave(facts, planes("a"), ["w"], creates=False)


def test_an_existing_machine_is_cleaned_not_deleted() -> None:
    made = existing(host("w", ["kubelet"]))
    assert [name for step in made.pending for name in done(step)] == ["SetUnit", "CleanNode"]
    assert made.notes == ()


def test_one_that_does_not_answer_is_told_of() -> None:
    made = existing(Unreachable("w", "no route"))
    assert made.pending == ()
    assert "nothing was cleaned on w: it does not answer" in made.notes[0]
    assert "host key is another one" in existing(WrongHostKey("w", "other key")).notes[0]


def test_a_machine_of_another_cluster_is_left_alone() -> None:
    assert existing(host("w", ["kubelet"], lineage="other")).pending == ()


# who leaves


def test_every_trace_of_a_node_makes_it_leave() -> None:
    facts = Facts(
        now=NOW,
        site=SiteFacts({}, {"machine": MachineFacts("machine", MachineState.BROKEN, "")}),
        secrets={"nodes/secret/kubelet": SecretFacts("x"), "ca/cluster": SecretFacts("y")},
        kubernetes=KubernetesFacts(
            True,
            nodes={
                "node": NodeFacts("node", True, "", False, pool="worker"),
                "foreign": NodeFacts("foreign", True, "", False),
            },
        ),
    )
    record = replace(RECORD, addresses={"address": "10.0.0.9"}, departing={"listed": "{}"})
    found = surplus(facts, record, blueprint(["kept"]))
    assert found == ("address", "listed", "machine", "node", "secret")


def test_what_is_only_remembered_is_only_forgotten() -> None:
    facts = replace(stacked("a"), secrets={"nodes/gone/kubelet": SecretFacts("x")})
    made = leave(facts, planes("a"), ["gone"])
    assert [name for step in made.pending for name in done(step)] == ["ForgetNode"]


# replacing


def test_what_may_not_be_replaced() -> None:
    def refuse(facts: Facts, names: str, node: str, *, creates: bool = True) -> None:
        wanted = planes(*names)
        made = leave(facts, wanted, [node], Phase.REPLACE, creates=creates)
        refuse_replacing({node}, wanted, facts, made)

    refuse(stacked("abc"), "abc", "a")
    refuse(stacked("abc", ill="a"), "abc", "a")
    with pytest.raises(PlanError, match="last voter"):
        refuse(stacked("a"), "a", "a")
    with pytest.raises(PlanError, match="quorum"):
        refuse(stacked("abc", ill="bc"), "abc", "b")
    with pytest.raises(PlanError, match="not healthy: b"):
        refuse(stacked("abc", ill="b"), "abc", "a")
    with pytest.raises(PlanError, match="only copy"):
        refuse(replace(stacked("a"), hosts={}), "a", "a")
    facts = stacked("abc")
    changed = replace(facts, hosts={**facts.hosts, "c": WrongHostKey("c", "another key")})
    with pytest.raises(PlanError, match="may be another machine") as refused:
        refuse(changed, "abc", "c", creates=False)
    assert "pin its new key" in (refused.value.remedy or "")


def test_the_only_api_server_of_several_machines_can_be_replaced() -> None:
    """etcd is elsewhere, so nothing is lost; there is no API to drain or delete the Node with."""
    facts = stacked("abc")
    wanted = (Node("p", "cp", (Role.CONTROL_PLANE,)), *(Node(name, "etcd", (Role.ETCD,)) for name in "abc"))
    facts = replace(
        facts,
        site=replace(
            facts.site, machines={**facts.site.machines, "p": MachineFacts("p", MachineState.RUNNING, "")}
        ),
        hosts={**facts.hosts, "p": host("p", SERVERS)},
        kubernetes=KubernetesFacts(True, nodes={"p": NodeFacts("p", True, "", False, pool="cp")}),
    )
    made = leave(facts, wanted, ["p"], Phase.REPLACE)
    assert order(made) == ["p/stop", "p/delete-machine"]
    assert as_if_gone({"p"}, wanted, facts, blueprint("pabc")).kubernetes == KubernetesFacts()


def test_the_later_phases_see_the_world_without_it() -> None:
    facts = stacked("abc")
    gone = as_if_gone({"b"}, planes("a", "b", "c"), facts, blueprint("abc"))
    assert set(gone.hosts) == {"a", "c"}
    assert set(gone.site.machines) == {"a", "c"}
    assert set(gone.kubernetes.nodes) == {"a", "c"}
    assert set(gone.secrets) == {"nodes/a/kubelet", "nodes/c/kubelet"}
    seen = gone.hosts["a"]
    assert isinstance(seen, HostFacts)
    assert seen.etcd
    assert [member.name for member in seen.etcd.members] == ["a", "c"]


def test_an_existing_machine_is_bare_then() -> None:
    gone = as_if_gone({"b"}, planes("a", "b", "c"), stacked("abc"), blueprint("abc", creates=False))
    bare = gone.hosts["b"]
    assert isinstance(bare, HostFacts)
    assert (bare.units, bare.etcd, bare.ledger) == ({}, None, LedgerFacts())


# the forecast


def test_a_forecast_says_what_is_lost_and_what_blocks() -> None:
    pods = (
        PodFacts("default/web-1", "ReplicaSet", budgets=("default/web",)),
        PodFacts("default/web-2", "ReplicaSet", budgets=("default/web",)),
        PodFacts("default/debug", scratch=True),
    )
    told = [f"{change.subject}: {change.reason}" for change in forecast(pods, {"default/web": 0}, 300)]
    assert told == [
        "2 pods: made again on other nodes",
        "1 pod: lost: no controller makes them again: default/debug",
        "1 pod: lose the data of their emptyDir volumes: default/debug",
        "PodDisruptionBudget default/web: lets none of 2 pods go now; waits for it, at most 300 s",
    ]
    assert len(forecast(pods, {"default/web": 1}, 300)) == 3
    assert forecast((), {}, 300) == ()


# killed anywhere


def up(workers: int) -> World:
    world = World(cluster(workers))
    run(world)
    return world


def removing_kill_points() -> int:
    world = up(2)
    world.cluster = cluster(1)
    return run(world)


@pytest.mark.parametrize("point", range(removing_kill_points()))
def test_a_scale_down_that_is_killed_is_finished_by_the_next_run(point: int) -> None:
    world = up(2)
    world.cluster = cluster(1)
    with pytest.raises(Killed):
        run(world, kill_after=point)
    run(world)
    assert world.plan().empty
    assert sorted(world.machines) == ["demo-cp-1", "demo-worker-1"]
    assert not [name for name in world.secrets if "worker-2" in name]


def replacement(world: World) -> PhasePlan:
    made = plan(
        world.cluster, world.facts(), world.record, world.blueprint(), replacing=frozenset({"demo-worker-1"})
    )
    return made.phase(Phase.REPLACE)


@pytest.mark.parametrize("point", range(1, 7))
def test_a_replacement_that_is_killed_is_finished_by_a_plain_apply(point: int) -> None:
    world = up(1)
    before = world.secrets["nodes/demo-worker-1/kubelet"].parts
    counter = count(1)
    for step in replacement(world).pending:
        for effect in step.effects:
            if next(counter) > point:
                break
            world.perform(effect)
    run(world)
    assert world.plan().empty
    assert sorted(world.machines) == ["demo-cp-1", "demo-worker-1"]
    if point >= 5:
        assert world.secrets["nodes/demo-worker-1/kubelet"].parts != before


def uncordoned(nodes: Mapping[str, NodeFacts], world: World) -> list[str]:
    facts = world.facts()
    facts = replace(facts, kubernetes=replace(facts.kubernetes, nodes=nodes))
    made = plan(world.cluster, facts, world.record, world.blueprint())
    return [
        effect.node
        for step in made.pending
        for effect in step.effects
        if isinstance(effect, effects.UncordonNode)
    ]


def test_only_what_we_cordoned_is_uncordoned() -> None:
    world = up(1)
    nodes = {name: replace(node, unschedulable=True) for name, node in world.facts().kubernetes.nodes.items()}
    assert uncordoned(nodes, world) == []
    ours = {**nodes, "demo-worker-1": replace(nodes["demo-worker-1"], draining=True)}
    assert uncordoned(ours, world) == ["demo-worker-1"]
