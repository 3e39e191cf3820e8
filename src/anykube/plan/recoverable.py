"""Whether an etcd may be made anew from one node: what must be true first, or why not. Pure.

The danger is a second cluster: members that nobody stopped may come back, find each other, and be a quorum.
So every other machine can be stopped and its data moved aside, or it is named as lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from anykube.content.apiserver import SERVICE as API_SERVICE
from anykube.content.etcd import SERVICE, peer_url
from anykube.errors import PlanError, UsageError
from anykube.facts.cluster import Facts
from anykube.facts.etcd import Etcd, View, cluster_of_one, consensus
from anykube.facts.host import HostFacts, Unreachable
from anykube.facts.snapshot import SnapshotFacts
from anykube.plan.blueprint import Blueprint
from anykube.spec.model import Cluster
from anykube.spec.nodes import Node, nodes


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was asked for. lost: machines that are gone for good.

    token: names a snapshot's new cluster.  despite_quorum: the snapshot counts, and not what etcd holds now;
    what was begun with the same token is then known by the id that etcd took from it, and not begun again.
    """

    node: str
    lost: frozenset[str] = frozenset()
    snapshot: SnapshotFacts | None = None
    token: str = ""
    despite_quorum: bool = False


def affected(
    cluster: Cluster, facts: Facts, blueprint: Blueprint, asked: Recovery
) -> Mapping[str, HostFacts] | None:
    """Every machine to be stopped, the chosen one first; None if an earlier recover has come this far.

    PlanError if it could do harm, or if there is nothing to recover.
    """
    wanted = {node.name: node for node in nodes(cluster)}
    _refuse_unknown(cluster.name, wanted, asked)
    chosen = facts.hosts.get(asked.node)
    if not isinstance(chosen, HostFacts):
        raise PlanError(
            f"{asked.node} cannot be recovered from: {_why_silent(asked.node, facts)}.",
            remedy="start it, or choose another node",
        )
    views = _views({name: host for name, host in facts.hosts.items() if isinstance(host, HostFacts)})
    etcd = consensus(views)
    if _begun(views, asked, blueprint) or _serves_alone(etcd, asked, wanted):
        return None
    if not asked.despite_quorum:
        _refuse_quorum(etcd, views)
    others = _others(wanted, facts, views, asked.node)
    _refuse_silent(cluster.name, others, facts, blueprint, asked)
    if asked.snapshot is None:
        _refuse_worse(chosen, others, facts)
    found = {name: host for name in others if isinstance(host := facts.hosts.get(name), HostFacts)}
    return {asked.node: chosen, **found}


def _refuse_unknown(cluster: str, wanted: Mapping[str, Node], asked: Recovery) -> None:
    members = [node.name for node in wanted.values() if node.etcd]
    if asked.node not in members:
        raise UsageError(
            f"{cluster} has no node {asked.node[:60]!r} with the role etcd.",
            remedy=f"nodes with that role: {', '.join(members)}",
        )
    if asked.node in asked.lost:
        raise UsageError(f"{asked.node} cannot be lost and be recovered from.", remedy="name another node")


def _why_silent(name: str, facts: Facts) -> str:
    host = facts.hosts.get(name)
    if isinstance(host, Unreachable):
        return f"it cannot be reached ({host.reason})"
    machine = facts.site.machines.get(name)
    return f"its machine is {machine.state}" if machine else "its machine does not exist"


def _begun(views: Mapping[str, View], asked: Recovery, blueprint: Blueprint) -> bool:
    """Whether etcd has begun anew with this token."""
    view = views.get(asked.node)
    if view is None or not asked.despite_quorum:
        return False
    return view.cluster_id == cluster_of_one(peer_url(blueprint.addresses[asked.node]), asked.token)


def _serves_alone(etcd: Etcd, asked: Recovery, wanted: Mapping[str, Node]) -> bool:
    """Whether an earlier recover came this far. With a snapshot nobody can tell whether it was this one."""
    view = etcd.views.get(asked.node)
    if view is None or not etcd.quorate or asked.snapshot is not None:
        return False
    alone = [member.id for member in etcd.members] == [view.member_id]
    return alone and sum(node.etcd for node in wanted.values()) > 1


def _refuse_quorum(etcd: Etcd, views: Mapping[str, View]) -> None:
    """A member that follows a leader is part of a quorum, also if not all of it can be seen from here."""
    following = sorted(name for name, view in views.items() if view.healthy)
    if following:
        healthy = f"{len(etcd.healthy)} of {len(etcd.voters)} voters answer from here"
        raise PlanError(
            "There is nothing to recover: etcd has its quorum.",
            evidence=[f"a leader is followed by {', '.join(following)}", healthy],
            remedy="what is amiss with single machines: anykube apply, or anykube replace NODE. For another "
            "state from a snapshot stop etcd on all machines first",
        )


def _others(
    wanted: Mapping[str, Node], facts: Facts, views: Mapping[str, View], chosen: str
) -> tuple[str, ...]:
    """Other machines with a member or an API server: by the object, by their data, by what members say."""
    named = [node.name for node in wanted.values() if node.etcd or node.control_plane]
    found = [
        name
        for name, host in facts.hosts.items()
        if isinstance(host, HostFacts)
        and (host.etcd_data or not host.ledger.units.isdisjoint({SERVICE, API_SERVICE}))
    ]
    members = [member.name for view in views.values() for member in view.members if member.name]
    return tuple(name for name in dict.fromkeys((*named, *found, *members)) if name != chosen)


def _refuse_silent(
    cluster: str, others: tuple[str, ...], facts: Facts, blueprint: Blueprint, asked: Recovery
) -> None:
    """Refuse unless every machine that cannot be stopped is named as lost, and no other is."""
    if wrong := sorted(name for name in asked.lost if isinstance(facts.hosts.get(name), HostFacts)):
        raise PlanError(
            f"{', '.join(wrong)} answers, and so is not lost.",
            remedy="leave it out: its etcd will be stopped and its data moved aside",
        )
    if unknown := sorted(asked.lost - set(others)):
        raise UsageError(
            f"{', '.join(unknown)[:200]} is not known as a machine with etcd or an API server.",
            remedy=f"known: {', '.join(others) or 'none'}",
        )
    silent = [name for name in others if not isinstance(facts.hosts.get(name), HostFacts)]
    # A machine that its provider would make, and does not have, has nothing to come back with.
    gone = {name for name in silent if blueprint.creates and name in blueprint.machines} - set(
        facts.site.machines
    )
    missing = [name for name in silent if name not in asked.lost and name not in gone]
    if missing:
        lost = " ".join(f"--lost {name}" for name in silent if name not in gone)
        again = "the same again with" if asked.despite_quorum else f"anykube recover {asked.node}"
        raise PlanError(
            "Machines cannot be reached that may still have etcd's data. If they came back they could form a "
            "second cluster, beside the recovered one.",
            evidence=[f"{name}: {_why_silent(name, facts)}" for name in missing],
            remedy="start them, so that they can be stopped and their data moved aside; or, if they are gone "
            f"for good: {again} {lost} -c {cluster}",
        )


def _refuse_worse(chosen: HostFacts, others: tuple[str, ...], facts: Facts) -> None:
    """Refuse a survivor without data, or one that knows less than another."""
    known = {
        name: host
        for name in others
        if isinstance(host := facts.hosts.get(name), HostFacts) and host.etcd_data
    }
    if not chosen.etcd_data:
        better = ", ".join(known) or "none that answers"
        raise PlanError(
            f"{chosen.name} has no data of an etcd member.",
            remedy=f"nodes with data: {better}; or give --snapshot FILE, a file on {chosen.name}",
        )
    if chosen.etcd is None:
        return
    if chosen.etcd.learner:
        raise PlanError(f"{chosen.name} is a learner and may not have all data.", remedy="choose a voter")
    ahead = max(
        ((view.term, view.index), name) for name, view in {**_views(known), chosen.name: chosen.etcd}.items()
    )
    if ahead[0] > (chosen.etcd.term, chosen.etcd.index):
        raise PlanError(
            f"{ahead[1]} knows more than {chosen.name}: writes would be lost.",
            evidence=[
                f"{name}: term {view.term}, index {view.index}"
                for name, view in sorted({**_views(known), chosen.name: chosen.etcd}.items())
            ],
            remedy=f"anykube recover {ahead[1]}",
        )


def _views(hosts: Mapping[str, HostFacts]) -> dict[str, View]:
    return {name: host.etcd for name, host in hosts.items() if host.etcd}
