"""Nodes that are to be made anew: whether they may go, and the world as it is once they have gone. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from anykube.errors import PlanError
from anykube.facts.cluster import Facts
from anykube.facts.etcd import View
from anykube.facts.host import HostFacts, LedgerFacts, Unreachable, WrongHostKey
from anykube.facts.kubernetes import KubernetesFacts
from anykube.plan.blueprint import Blueprint
from anykube.plan.model import PhasePlan
from anykube.plan.rules import NEW_HOST_KEY
from anykube.spec.nodes import Node


def refuse_replacing(names: Collection[str], wanted: Sequence[Node], facts: Facts, leave: PhasePlan) -> None:
    """PlanError if data would be lost with one of these nodes, or if what answers is another machine."""
    for node in wanted:
        if node.name not in names:
            continue
        if isinstance(host := facts.hosts.get(node.name), WrongHostKey):
            raise PlanError(f"{node.name} may be another machine: {host.reason}.", remedy=NEW_HOST_KEY)
        answering = [h for h in facts.hosts.values() if isinstance(h, HostFacts) and h.etcd is not None]
        if node.etcd and not answering:
            raise PlanError(
                f"{node.name} cannot be replaced: no member of etcd answers, it may have the only copy.",
                remedy="start its machine, or another one with the role etcd: anykube apply",
            )
    for obstacle in leave.obstacles:
        raise PlanError(f"{obstacle.target} {obstacle.brief}.", remedy=obstacle.remedy)


def as_if_gone(names: Collection[str], wanted: Sequence[Node], facts: Facts, blueprint: Blueprint) -> Facts:
    """The facts after these nodes have left: what the phases behind REPLACE are planned on."""
    if not names:
        return facts
    site, hosts = facts.site, dict(facts.hosts)
    if blueprint.creates:
        machines = {name: machine for name, machine in site.machines.items() if name not in names}
        site = replace(site, machines=machines)
        hosts = {name: host for name, host in hosts.items() if name not in names}
    members = {
        view.member_id
        for name, host in facts.hosts.items()
        if name in names and isinstance(host, HostFacts) and (view := host.etcd)
    }
    return replace(
        facts,
        site=site,
        hosts={name: _host(host, names, members) for name, host in hosts.items()},
        secrets={name: secret for name, secret in facts.secrets.items() if not _belongs(name, names)},
        kubernetes=_kubernetes(names, wanted, facts.kubernetes),
    )


def _host(
    host: HostFacts | Unreachable, names: Collection[str], members: Collection[int]
) -> HostFacts | Unreachable:
    if isinstance(host, Unreachable):
        return host
    if host.name in names:
        bare = HostFacts(host.name, host.system)
        return replace(bare, ledger=LedgerFacts(), tools=host.tools)
    return host if host.etcd is None else replace(host, etcd=_view(host.etcd, names, members))


def _view(view: View, names: Collection[str], members: Collection[int]) -> View:
    left = tuple(one for one in view.members if one.name not in names and one.id not in members)
    return replace(view, members=left)


def _kubernetes(names: Collection[str], wanted: Sequence[Node], facts: KubernetesFacts) -> KubernetesFacts:
    if all(node.name in names for node in wanted if node.control_plane):
        return KubernetesFacts()
    return replace(facts, nodes={name: node for name, node in facts.nodes.items() if name not in names})


def _belongs(secret: str, names: Collection[str]) -> bool:
    return any(secret.startswith(f"nodes/{name}/") for name in names)
