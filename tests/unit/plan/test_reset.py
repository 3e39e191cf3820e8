"""A machine is given back: its node leaves in order, or is only cleaned when forced; what goes is shown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.plan.test_leave import RECORD, blueprint, host, stacked

from anykube.errors import PlanError
from anykube.facts.cluster import Facts
from anykube.facts.host import HostFacts, LedgerFacts, Unreachable
from anykube.facts.record import Record
from anykube.plan.effects import CleanNode, DeleteMachine, ForgetNode
from anykube.plan.model import Phase, Plan
from anykube.plan.remove import plan_remove
from anykube.plan.render import lines
from anykube.plan.reset import plan_clean, plan_reset
from anykube.spec.load import load

NAMES = ("demo-cp-1", "demo-cp-2", "demo-cp-3")
OBJECT = """{
    "apiVersion": "anykube.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "demo"},
    "spec": {
        "kubernetes": {"version": "1.36.3"},
        "machines": {
            "provider": {"lxc": {}},
            "pools": [{"name": "cp", "roles": ["control-plane", "etcd", "worker"], "count": 3}]
        }
    }
}"""
CLUSTER = load(OBJECT, "object")


def reset(facts: Facts, name: str = NAMES[1], *, force: bool = False, record: Record = RECORD) -> Plan:
    return plan_reset(CLUSTER, name, facts, record, blueprint(NAMES), force=force)


def pending(plan: Plan) -> list[str]:
    return [step.id.partition("/")[2] for step in plan.pending]


def with_ledger(facts: Facts, name: str, ledger: LedgerFacts) -> Facts:
    found = facts.hosts[name]
    assert isinstance(found, HostFacts)
    return replace(facts, hosts={**facts.hosts, name: replace(found, ledger=ledger)})


def test_a_node_leaves_as_with_replace_but_its_machine_stays() -> None:
    plan = reset(stacked(NAMES))
    assert pending(plan) == ["drain", "stop", "etcd-member", "node", "clean", "forget"]
    effects = [effect for step in plan.pending for effect in step.effects]
    assert CleanNode(NAMES[1]) in effects
    assert not [effect for effect in effects if isinstance(effect, DeleteMachine)]


def test_a_node_that_etcd_cannot_spare_is_refused_unless_forced() -> None:
    facts = stacked(NAMES, ill=NAMES[2:])
    with pytest.raises(PlanError, match="cannot leave") as caught:
        reset(facts)
    assert "--force" in (caught.value.remedy or "")
    forced = reset(facts, force=True)
    assert pending(forced) == ["clean", "forget"]
    assert any("to the others it has failed" in line for line in lines(forced))


def test_the_last_api_server_is_not_taken_unasked() -> None:
    facts = stacked(NAMES[:1])
    with pytest.raises(PlanError):
        plan_reset(CLUSTER, NAMES[0], facts, RECORD, blueprint(NAMES[:1]))


@pytest.mark.parametrize("force", [False, True])
def test_a_machine_that_does_not_answer_cannot_be_cleaned(force: bool) -> None:
    facts = stacked(NAMES)
    silent = Unreachable(NAMES[1], "no route to host")
    facts = replace(facts, hosts={**facts.hosts, NAMES[1]: silent})
    with pytest.raises(PlanError, match="no route to host"):
        reset(facts, force=force)


@pytest.mark.parametrize("force", [False, True])
def test_the_machine_of_another_cluster_is_left_alone(force: bool) -> None:
    facts = with_ledger(stacked(NAMES), NAMES[1], LedgerFacts("other", 9, frozenset({"/etc/x"})))
    with pytest.raises(PlanError, match="belongs to another cluster"):
        reset(facts, force=force)


@pytest.mark.parametrize("force", [False, True])
def test_containers_of_others_are_in_the_way(force: bool) -> None:
    ledger = LedgerFacts("lineage", 1, others=frozenset({"moby/a", "default/b"}))
    facts = with_ledger(stacked(NAMES), NAMES[1], ledger)
    with pytest.raises(PlanError, match="2 containers of others") as caught:
        reset(facts, force=force)
    assert "ctr -n default task kill -s KILL b" in (caught.value.remedy or "")


def test_containers_of_others_are_in_the_way_of_destroy_too() -> None:
    facts = with_ledger(stacked(NAMES), NAMES[1], LedgerFacts("lineage", 1, others=frozenset({"moby/a"})))
    plan = plan_remove("demo", facts, RECORD, blueprint(NAMES, creates=False))
    assert [obstacle.target for obstacle in plan.obstacles] == [NAMES[1]]
    assert [step.id for step in plan.pending] == [f"{name}/clean" for name in (NAMES[0], NAMES[2])]


def test_a_second_time_there_is_nothing_to_do() -> None:
    facts = with_ledger(stacked(NAMES), NAMES[1], LedgerFacts())
    facts = replace(facts, secrets={}, kubernetes=replace(facts.kubernetes, nodes={}))
    bare = facts.hosts[NAMES[1]]
    assert isinstance(bare, HostFacts)
    hosts = {**facts.hosts, NAMES[1]: replace(bare, units={}, etcd=None)}
    assert pending(reset(replace(facts, hosts=hosts), force=True)) == []


def test_what_goes_and_what_comes_back_is_shown() -> None:
    traces = {
        "original /etc/theirs",
        "device cni0",
        "sysctl net.ipv4.ip_forward 0",
        "mode /etc/cni 750 root:root",
    }
    paths, units = frozenset({"/etc/theirs", "/etc/ours"}), frozenset({"etcd.service"})
    facts = with_ledger(stacked(NAMES), NAMES[1], LedgerFacts("lineage", 1, paths, units, frozenset(traces)))
    shown = [" ".join(line.split()) for line in lines(reset(facts, force=True))]
    assert {
        "- path /etc/ours anykube put it there",
        "~ file /etc/theirs as it was before",
        "- device cni0 left by what ran there",
        "~ setting net.ipv4.ip_forward 0 as it was before",
        "- unit etcd.service anykube put it there",
    } <= set(shown)
    assert not [line for line in shown if line.startswith("- path /etc/theirs")]


def test_without_a_record_the_lineage_must_be_named() -> None:
    found = host("10.0.0.1", ("etcd",), lineage="abc")
    for named in ("", "other"):
        with pytest.raises(PlanError, match="not known here") as caught:
            plan_clean(found, named)
        assert caught.value.remedy == "if it may go: --lineage abc"
    plan = plan_clean(found, "abc")
    assert [step.effects for step in plan.phase(Phase.REMOVE).pending] == [(CleanNode("10.0.0.1"),)]
    assert plan_clean(replace(found, ledger=LedgerFacts()), "").empty


def test_what_is_kept_here_of_a_reset_node_goes() -> None:
    (forget,) = [step for step in reset(stacked(NAMES), force=True).pending if step.title == "forget"]
    assert forget.effects == (ForgetNode(NAMES[1]),)
