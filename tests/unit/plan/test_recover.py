"""Recovering an etcd without quorum: only when it has none, never beside members that could come back."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

import pytest
from tests.unit.plan.world import NOW, SYSTEM

from anykube.errors import AnykubeError, PlanError, UsageError
from anykube.facts.cluster import Facts
from anykube.facts.etcd import Member, View
from anykube.facts.host import HostFacts, LedgerFacts, UnitFacts, Unreachable
from anykube.facts.machines import MachineFacts, MachineState, SiteFacts
from anykube.facts.snapshot import SnapshotFacts, parse
from anykube.plan import effects
from anykube.plan.blueprint import Blueprint, MachineBlueprint
from anykube.plan.model import Phase, Plan
from anykube.plan.recover import plan_recover
from anykube.plan.recoverable import Recovery
from anykube.spec.load import load
from anykube.spec.model import Cluster

NAMES = ("demo-cp-1", "demo-cp-2", "demo-cp-3")
ONE, TWO, THREE = NAMES
SERVERS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
SNAPSHOT = SnapshotFacts("/root/snap.db", 12, 34, 56, "2026-11-20 12:00:00 UTC")
MEMBERS = tuple(Member(n, name, (f"https://10.0.0.{n}:2380",), ("x",)) for n, name in enumerate(NAMES, 1))


def cluster(count: int = 3) -> Cluster:
    pools = [
        {"name": "cp", "roles": ["control-plane", "etcd"], "count": count},
        {"name": "worker", "roles": ["worker"]},
    ]
    spec = {"kubernetes": {"version": "1.36.3"}, "machines": {"provider": {"lxc": {}}, "pools": pools}}
    head = {"apiVersion": "anykube.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "demo"}}
    return load(json.dumps({**head, "spec": spec}), "test")


def view(number: int, *, leader: int = 0, index: int = 9, members: tuple[Member, ...] = MEMBERS) -> View:
    return View(7, number, leader, 2, index, index, members)


def host(name: str, seen: View | None = None, *, data: bool = True, units: Collection[str] = ()) -> HostFacts:
    names = [f"{unit}.service" for unit in (*SERVERS, "etcd", "kubelet", *units)]
    found = {unit: UnitFacts("loaded", "active", True) for unit in names}
    ledger = LedgerFacts("lineage", 1, frozenset(), frozenset(names))
    return HostFacts(name, SYSTEM, {}, found, ledger, seen, etcd_data=data, etcd_born=True)


def facts(hosts: Mapping[str, HostFacts | Unreachable], stopped: Collection[str] = ()) -> Facts:
    machines = {
        name: MachineFacts(name, MachineState.STOPPED if name in stopped else MachineState.RUNNING, "")
        for name in (*hosts, *stopped)
    }
    return Facts(NOW, site=SiteFacts({}, machines), hosts=dict(hosts))


def blueprint(*, creates: bool = True) -> Blueprint:
    machines = {name: MachineBlueprint(f"10.0.0.{n}", {}) for n, name in enumerate(NAMES, 1)}
    return Blueprint(machines, creates=creates)


def planned(known: Facts, asked: Recovery, *, creates: bool = True, count: int = 3) -> Plan:
    return plan_recover(cluster(count), known, blueprint(creates=creates), asked)


def done(plan: Plan) -> list[effects.Effect]:
    return [effect for step in plan.pending for effect in step.effects]


ALONE = facts({ONE: host(ONE, view(1))}, stopped=(TWO, THREE))
"""One survivor; the machines of the others are off."""
EMPTY = facts({name: host(name, data=False) for name in NAMES})
"""All machines run, and no disk holds anything."""


def test_a_survivor_begins_anew_after_all_is_stopped() -> None:
    plan = planned(ALONE, Recovery(ONE, frozenset({TWO, THREE})))
    units = tuple(f"{unit}.service" for unit in (*SERVERS, "etcd"))
    assert done(plan) == [effects.HaltUnits(ONE, units), effects.BeginAnew(ONE, unpacked=False)]
    phase = plan.phase(Phase.RECOVER)
    assert phase.steps[-1].needs == (f"{ONE}/stop",)
    assert "deleted and made anew" in " ".join(phase.notes)


def test_others_that_answer_are_stopped_and_their_data_is_moved_aside_first() -> None:
    known = facts({ONE: host(ONE, view(1)), TWO: host(TWO, view(2)), THREE: host(THREE)})
    plan = planned(known, Recovery(ONE))
    steps = {step.id: step for step in plan.pending}
    assert set(steps[f"{ONE}/recover"].needs) == {f"{name}/stop" for name in NAMES}
    for name in (TWO, THREE):
        halt, aside = steps[f"{name}/stop"].effects
        assert isinstance(halt, effects.HaltUnits)
        assert "etcd.service" in halt.units
        assert aside == effects.SetAsideEtcd(name)
    assert effects.SetAsideEtcd(ONE) not in done(plan)


def test_a_snapshot_is_verified_before_anything_is_stopped() -> None:
    plan = planned(EMPTY, Recovery(ONE, snapshot=SNAPSHOT, token="demo-recovered-4"))
    first = plan.pending[0]
    unpack = effects.UnpackSnapshot(ONE, "/root/snap.db", "https://10.0.0.1:2380", "demo-recovered-4")
    assert first.effects == (unpack,)
    stops = [step for step in plan.pending if step.id.endswith("/stop")]
    assert len(stops) == 3
    assert all(step.needs == (first.id,) for step in stops)
    assert effects.BeginAnew(ONE, unpacked=True) in done(plan)
    kubelets = [effects.SetUnit(name, "kubelet.service", "restarted") for name in NAMES]
    assert done(plan)[-3:] == kubelets
    assert "everything written after 2026-11-20 12:00:00 UTC is forgotten" in plan.phases[0].notes


def refusal(known: Facts, asked: Recovery, *, creates: bool = True) -> AnykubeError:
    with pytest.raises((PlanError, UsageError)) as caught:
        planned(known, asked, creates=creates)
    return caught.value


def test_nothing_is_recovered_while_there_is_a_quorum() -> None:
    known = facts({ONE: host(ONE, view(1, leader=2)), TWO: host(TWO, view(2, leader=2))}, stopped=(THREE,))
    for snapshot in (None, SNAPSHOT):
        error = refusal(known, Recovery(ONE, frozenset({THREE}), snapshot))
        assert "There is nothing to recover" in str(error)


def test_a_member_that_follows_a_leader_that_is_not_seen_proves_a_quorum() -> None:
    """This machine is cut off from the two others; they are not."""
    known = facts(
        {ONE: host(ONE, view(1, leader=2)), TWO: Unreachable(TWO, "x"), THREE: Unreachable(THREE, "x")}
    )
    assert "There is nothing to recover" in str(refusal(known, Recovery(ONE, frozenset({TWO, THREE}))))


@pytest.mark.parametrize("lost", [frozenset(), frozenset({TWO})])
def test_machines_that_could_come_back_must_be_named(lost: frozenset[str]) -> None:
    error = refusal(ALONE, Recovery(ONE, lost))
    assert "second cluster" in error.brief
    assert f"{THREE}: its machine is stopped" in error.evidence
    assert f"--lost {TWO} --lost {THREE} -c demo" in str(error)


def test_a_machine_that_its_provider_does_not_have_cannot_come_back() -> None:
    known = facts({ONE: host(ONE, view(1))})
    assert done(planned(known, Recovery(ONE)))
    assert "second cluster" in str(refusal(known, Recovery(ONE), creates=False))


def test_a_member_of_another_machine_than_the_objects_is_not_forgotten() -> None:
    stranger = Member(9, "old-db", ("https://10.0.0.9:2380",), ("x",))
    members = (MEMBERS[0], stranger)
    known = facts({ONE: host(ONE, view(1, members=members))})
    error = refusal(known, Recovery(ONE))
    assert "old-db: its machine does not exist" in error.evidence
    assert done(planned(known, Recovery(ONE, frozenset({"old-db"}))))


def test_a_machine_that_answers_is_not_lost() -> None:
    known = facts({ONE: host(ONE, view(1)), TWO: host(TWO)}, stopped=(THREE,))
    assert "answers, and so is not lost" in str(refusal(known, Recovery(ONE, frozenset({TWO, THREE}))))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Recovery("nosuch"), "no node 'nosuch' with the role etcd"),
        (Recovery("demo-worker-1"), "with the role etcd"),
        (Recovery(ONE, frozenset({ONE})), "cannot be lost and be recovered from"),
        (Recovery(ONE, frozenset({TWO, THREE, "nosuch"})), "nosuch is not known"),
        (Recovery(TWO, frozenset({THREE})), f"{TWO} cannot be recovered from: its machine is stopped"),
    ],
)
def test_names_are_checked(asked: Recovery, said: str) -> None:
    assert said in str(refusal(ALONE, asked))


def test_a_survivor_needs_data() -> None:
    known = facts({ONE: host(ONE, data=False), TWO: host(TWO), THREE: host(THREE)})
    error = refusal(known, Recovery(ONE))
    assert "has no data" in error.brief
    assert f"nodes with data: {TWO}, {THREE}" in str(error)


def test_the_survivor_that_knows_most_is_taken() -> None:
    known = facts({ONE: host(ONE, view(1, index=9)), TWO: host(TWO, view(2, index=12))}, stopped=(THREE,))
    error = refusal(known, Recovery(ONE, frozenset({THREE})))
    assert f"{TWO} knows more than {ONE}" in error.brief
    assert done(planned(known, Recovery(TWO, frozenset({THREE}))))


def test_what_was_recovered_already_goes_on_as_with_apply() -> None:
    """A recover that was interrupted after etcd served, and is run again."""
    serves = view(1, leader=1, members=MEMBERS[:1])
    known = facts({ONE: host(ONE, serves), TWO: host(TWO, data=False)}, stopped=(THREE,))
    assert planned(known, Recovery(ONE, frozenset({THREE}))).empty
    assert "nothing to recover" in str(refusal(known, Recovery(ONE, frozenset({THREE}), SNAPSHOT)))
    alone = facts({ONE: host(ONE, serves)})
    with pytest.raises(PlanError, match="nothing to recover"):
        planned(alone, Recovery(ONE), count=1)


def test_machines_that_nobody_can_make_anew_are_left_alone() -> None:
    silent = {name: Unreachable(name, "timeout") for name in (TWO, THREE)}
    known = facts({ONE: host(ONE, view(1)), **silent})
    plan = planned(known, Recovery(ONE, frozenset({TWO, THREE})), creates=False)
    assert any("left alone" in note for note in plan.phases[0].notes)


def test_what_etcdutl_says_of_a_snapshot() -> None:
    text = (
        '2026-11-20 12:00:00 UTC\n{"hash":1,"revision":12,"totalKey":34,"totalSize":56,"version":"3.7.0"}\n'
    )
    assert parse("/root/snap.db", text) == SNAPSHOT


@pytest.mark.parametrize("text", ["", "\n{}", "x\n", 'x\n{"revision":"1"}', "x" * 50 + "\n{}", "\x1b[2J\n{}"])
def test_garbage_in_place_of_a_status(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse("f", text)
