"""What status says about members, margin, leaders and the endpoint: every state is a case."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.unit.plan.world import NOW, SYSTEM

from anykube.facts.cluster import Facts
from anykube.facts.etcd import Member, View
from anykube.facts.host import HostFacts, Unreachable
from anykube.facts.kubernetes import KubernetesFacts, LeaseFacts
from anykube.plan.availability import MemberStatus, endpoint_status, etcd_status, leaders, where
from anykube.plan.blueprint import Blueprint, MachineBlueprint
from anykube.spec.endpoint import ApiEndpoint
from anykube.spec.model import EndpointKind, Role
from anykube.spec.nodes import Node

ADDRESSES = {f"cp-{number}": f"10.0.0.1{number}" for number in range(1, 6)}
BLUEPRINT = Blueprint(machines={name: MachineBlueprint(address, {}) for name, address in ADDRESSES.items()})
SERVERS = tuple(ADDRESSES.items())


def node(number: int) -> Node:
    return Node(f"cp-{number}", "cp", (Role.CONTROL_PLANE, Role.ETCD))


def member(number: int, *, learner: bool = False, started: bool = True) -> Member:
    url = f"https://10.0.0.1{number}"
    clients = (f"{url}:2379",) if started else ()
    return Member(number, f"cp-{number}" if started else "", (f"{url}:2380",), clients, learner)


def view(number: int, members: tuple[Member, ...], *, leader: int = 1, cluster: int = 7) -> View:
    learner = any(one.id == number and one.learner for one in members)
    return View(cluster, number, leader, 3, 100, 100, members, learner=learner)


def facts_of(*views: View, silent: tuple[str, ...] = ()) -> Facts:
    hosts: dict[str, HostFacts | Unreachable] = {
        f"cp-{one.member_id}": HostFacts(f"cp-{one.member_id}", SYSTEM, etcd=one) for one in views
    }
    return Facts(NOW, hosts=hosts | {name: HostFacts(name, SYSTEM) for name in silent})


def states(facts: Facts, count: int) -> tuple[str, dict[str, tuple[str, str]], bool]:
    found = etcd_status(tuple(map(node, range(1, count + 1))), facts, BLUEPRINT)
    assert found is not None
    return found.summary, {one.node: (one.role, one.state) for one in found.members}, found.healthy


def test_three_that_are_well() -> None:
    members = tuple(map(member, (1, 2, 3)))
    found = etcd_status(
        tuple(map(node, (1, 2, 3))), facts_of(*(view(n, members, leader=2) for n in (1, 2, 3))), BLUEPRINT
    )
    assert found is not None
    assert (found.leader, found.quorum, found.margin, found.alarms) == ("cp-2", 2, 1, ())
    assert found.summary == "3 voters, quorum 2, survives 1 failure"
    assert found.members == (
        MemberStatus("cp-1", "voter", "follower"),
        MemberStatus("cp-2", "voter", "leader"),
        MemberStatus("cp-3", "voter", "follower"),
    )
    assert found.healthy


@pytest.mark.parametrize(
    ("count", "summary"),
    [
        (1, "1 voter, quorum 1, survives no failure"),
        (2, "2 voters, quorum 2, survives no failure"),
        (5, "5 voters, quorum 3, survives 2 failures"),
    ],
)
def test_margin_in_words(count: int, summary: str) -> None:
    numbers = range(1, count + 1)
    members = tuple(map(member, numbers))
    assert states(facts_of(*(view(n, members) for n in numbers)), count)[0::2] == (summary, True)


def test_one_of_three_is_lost() -> None:
    members = tuple(map(member, (1, 2, 3)))
    found = states(facts_of(view(1, members), view(2, members), silent=("cp-3",)), 3)
    assert found[0] == "2 of 3 voters healthy, quorum 2, survives no failure"
    assert found[1]["cp-3"] == ("voter", "no answer")
    assert not found[2]


def test_quorum_is_lost() -> None:
    members = tuple(map(member, (1, 2, 3)))
    summary, members_found, healthy = states(facts_of(view(3, members, leader=0)), 3)
    assert summary == "quorum lost: 0 of 3 voters healthy, 2 needed; nothing can be written"
    assert members_found == {
        "cp-1": ("voter", "no answer"),
        "cp-2": ("voter", "no answer"),
        "cp-3": ("voter", "follows no leader"),
    }
    assert not healthy


def test_a_learner_left_over_and_a_member_that_never_started() -> None:
    members = (member(1), member(2, learner=True), member(3, started=False))
    summary, found, healthy = states(facts_of(view(1, members), view(2, members), silent=("cp-3",)), 3)
    assert summary == "quorum lost: 1 of 2 voters healthy, 2 needed; nothing can be written"
    assert found["cp-2"] == ("learner", "follower")
    assert found["cp-3"] == ("voter", "never started")
    assert not healthy
    only_learner = (member(1), member(2, learner=True))
    summary, _, healthy = states(facts_of(view(1, only_learner), view(2, only_learner)), 2)
    assert summary == "1 voter, quorum 1, survives no failure"
    assert not healthy


def test_strangers_missing_ones_and_those_not_in_the_object() -> None:
    members = (member(1), member(2), member(5))
    views = (view(1, members), view(2, members), view(5, members), view(4, (member(4),), leader=4, cluster=8))
    summary, found, healthy = states(facts_of(*views, silent=("cp-3",)), 4)
    assert found == {
        "cp-1": ("voter", "leader"),
        "cp-2": ("voter", "follower"),
        "cp-5": ("voter", "follower, not in the object"),
        "cp-4": ("stranger", "member of another cluster"),
        "cp-3": ("none", "not a member yet"),
    }
    assert summary == "3 voters, quorum 2, survives 1 failure"
    assert not healthy


def test_an_alarm_is_not_health() -> None:
    members = (member(1),)
    found = etcd_status((node(1),), facts_of(replace(view(1, members), errors=("NOSPACE",))), BLUEPRINT)
    assert found is not None
    assert (found.alarms, found.healthy) == (("NOSPACE",), False)


def test_no_member_answers_or_there_is_no_machine() -> None:
    assert states(facts_of(silent=("cp-1",)), 1) == (
        "no member answers",
        {"cp-1": ("none", "no answer")},
        False,
    )
    assert etcd_status((node(1),), Facts(NOW), BLUEPRINT) is None
    gone = Facts(NOW, hosts={"cp-1": Unreachable("cp-1", "refused")})
    assert etcd_status((node(1),), gone, BLUEPRINT) is None


def test_a_lease_ends_when_nobody_renews_it() -> None:
    held = {"kube-scheduler": LeaseFacts("cp-1", NOW - timedelta(seconds=3))}
    assert leaders(held, NOW) == {"kube-scheduler": "cp-1"}
    assert leaders(held, NOW + timedelta(minutes=2)) == {"kube-scheduler": ""}
    assert leaders(held, NOW - timedelta(minutes=2)) == {"kube-scheduler": "cp-1"}


@pytest.mark.parametrize(
    ("kind", "kubernetes", "trouble"),
    [
        (EndpointKind.SINGLE, KubernetesFacts(ready=True), ""),
        (EndpointKind.NODE_LOCAL, KubernetesFacts(), "no API server is ready"),
        (
            EndpointKind.VIRTUAL_IP,
            KubernetesFacts(ready=True, endpoint="10.0.0.9:8443 is silent"),
            "10.0.0.9:8443 is silent",
        ),
        (EndpointKind.VIRTUAL_IP, KubernetesFacts(), "no API server is ready"),
        (EndpointKind.EXTERNAL, KubernetesFacts(ready=True), ""),
    ],
)
def test_the_endpoint_and_what_is_wrong_with_it(
    kind: EndpointKind, kubernetes: KubernetesFacts, trouble: str
) -> None:
    found = endpoint_status(ApiEndpoint(kind, "10.0.0.9", 8443, SERVERS), Facts(NOW, kubernetes=kubernetes))
    assert (found.kind, found.url, found.trouble) == (str(kind), "https://10.0.0.9:8443", trouble)
    assert where(found).endswith("on every node") == (kind is EndpointKind.NODE_LOCAL)
