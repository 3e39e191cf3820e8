"""What `status` says about who leads, what may still fail, and the endpoint: from facts, for people. Pure.

Called by plan/status.py. What is done about it is decided elsewhere (plan/membership.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from anykube.facts.cluster import Facts
from anykube.facts.etcd import Etcd, Member, margin, quorum, survives
from anykube.facts.host import HostFacts, etcd_of
from anykube.facts.kubernetes import LeaseFacts
from anykube.plan.blueprint import Blueprint
from anykube.plan.membership import names_of
from anykube.spec.endpoint import ApiEndpoint
from anykube.spec.model import EndpointKind
from anykube.spec.nodes import Node

LEASE_SECONDS = 60.0
"""A lease that was not renewed for so long has no holder; clocks of nodes differ, so it is not cut finer."""


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """How the API is reached. `trouble` is '' when it answers there."""

    kind: str
    url: str
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """A member of etcd. `role` is voter or learner; `state` is leader, follower, or what is wrong with it."""

    node: str
    role: str
    state: str

    @property
    def healthy(self) -> bool:
        """Whether nothing need be done about it."""
        return self.role == "voter" and self.state in ("leader", "follower")


@dataclass(frozen=True, slots=True)
class EtcdStatus:
    """etcd as a whole. `margin`: how many more voters may fail; `summary` says it in words."""

    leader: str
    quorum: int
    margin: int
    summary: str
    members: tuple[MemberStatus, ...] = ()
    alarms: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether every member takes part, and none complains."""
        return bool(self.members) and all(one.healthy for one in self.members) and not self.alarms


def endpoint_status(endpoint: ApiEndpoint, facts: Facts) -> EndpointStatus:
    """The endpoint, and what is wrong with it."""
    trouble = facts.kubernetes.endpoint or ("" if facts.kubernetes.ready else "no API server is ready")
    return EndpointStatus(str(endpoint.kind), endpoint.url, trouble)


def where(endpoint: EndpointStatus) -> str:
    """The URL for people: the one of node-local is every node's own."""
    return f"{endpoint.url} on every node" if endpoint.kind == EndpointKind.NODE_LOCAL else endpoint.url


def leaders(leases: Mapping[str, LeaseFacts], now: datetime) -> dict[str, str]:
    """Component and the node whose instance leads; '' while none does."""
    return {
        name: lease.holder if (now - lease.renewed).total_seconds() < LEASE_SECONDS else ""
        for name, lease in leases.items()
    }


def etcd_status(wanted: tuple[Node, ...], facts: Facts, blueprint: Blueprint) -> EtcdStatus | None:
    """The members, expected and found. None while no machine is there that could run one."""
    expected = [node.name for node in wanted if node.etcd]
    hosts = [host for name in expected if isinstance(host := facts.hosts.get(name), HostFacts)]
    if not hosts:
        return None
    etcd = etcd_of(facts.hosts)
    names = names_of(etcd, blueprint.addresses)
    voters, healthy = len(etcd.voters), len(etcd.healthy)
    return EtcdStatus(
        leader=names.get(etcd.leader, ""),
        quorum=quorum(voters) if voters else 0,
        margin=margin(voters, healthy) if voters else 0,
        summary=_summary(voters, healthy),
        members=tuple(_members(etcd, names, expected)),
        alarms=etcd.alarms,
    )


def _members(etcd: Etcd, names: Mapping[int, str], expected: list[str]) -> Iterator[MemberStatus]:
    for member in etcd.members:
        name = names[member.id]
        state = _state(etcd, member)
        if name not in expected and state in ("leader", "follower"):
            state = f"{state}, not in the object"
        yield MemberStatus(name, "learner" if member.learner else "voter", state)
    for name in etcd.strangers:
        yield MemberStatus(name, "stranger", "member of another cluster")
    known = {*names.values(), *etcd.strangers}
    for name in expected:
        if name not in known:
            yield MemberStatus(name, "none", "not a member yet" if etcd.exists else "no answer")


def _state(etcd: Etcd, member: Member) -> str:
    view = next((view for view in etcd.views.values() if view.member_id == member.id), None)
    if view is None:
        return "no answer" if member.started else "never started"
    if not view.healthy:
        return "follows no leader"
    return "leader" if member.id == etcd.leader else "follower"


def _summary(voters: int, healthy: int) -> str:
    """'3 voters, quorum 2, survives 1 failure', or what is lost of it."""
    if not voters:
        return "no member answers"
    needed, spare = quorum(voters), margin(voters, healthy)
    count = f"{voters} voter{'s' if voters > 1 else ''}"
    if healthy < voters:
        count = f"{healthy} of {count} healthy"
    if spare < 0:
        return f"quorum lost: {count}, {needed} needed; nothing can be written"
    return f"{count}, quorum {needed}, {survives(spare)}"
