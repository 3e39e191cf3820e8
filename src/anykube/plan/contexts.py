"""What content is made from: the wanted machines as they are or will be, and the way to the API. Pure.

The ground of plan/assemble.py; observe/ asks it for the endpoint too.
"""

from __future__ import annotations

from collections.abc import Mapping

from anykube.content.context import NodeContext
from anykube.content.model import Text, expected_sha256
from anykube.content.node import components
from anykube.facts.backup import SealedFacts
from anykube.facts.cluster import Facts
from anykube.facts.host import HostFacts, Unreachable
from anykube.facts.machines import MachineState
from anykube.facts.record import Record
from anykube.plan.blueprint import Blueprint
from anykube.plan.bootstrap import fresh_host
from anykube.spec.endpoint import ApiEndpoint, api_endpoint
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes

Hosts = Mapping[str, HostFacts | Unreachable]


def known_hosts(facts: Facts, blueprint: Blueprint) -> Hosts:
    """Every wanted machine as it is, or, where it does not exist, as it will be."""
    known: dict[str, HostFacts | Unreachable] = {}
    for name in blueprint.machines:
        found = facts.hosts.get(name) or fresh_host(name, facts, blueprint.baked)
        known[name] = found or Unreachable(name, "it does not exist yet, and its provider cannot say more")
    return known


def asleep(facts: Facts) -> frozenset[str]:
    """Machines that were made and are off."""
    return frozenset(
        name for name, found in facts.site.machines.items() if found.state is MachineState.STOPPED
    )


def endpoint(cluster: Cluster, blueprint: Blueprint) -> ApiEndpoint:
    """How the API is reached once the machines are as the blueprint says."""
    return api_endpoint(cluster, blueprint.addresses, blueprint.choices)


def contexts(
    cluster: Cluster,
    known: Mapping[str, str],
    blueprint: Blueprint,
    hosts: Hosts,
    *,
    birth: bool = False,
    sealed: SealedFacts = SealedFacts(),  # noqa: B008  frozen
) -> tuple[NodeContext, ...]:
    """One per node of the object that can be known. `known`: the address of each of its nodes."""
    wanted = nodes(cluster)
    members = tuple((node.name, known[node.name]) for node in wanted if node.etcd)
    api = api_endpoint(cluster, known, blueprint.choices)
    return tuple(
        NodeContext(cluster, node, known[node.name], host.system, members, api, birth, sealed)
        for node in wanted
        if isinstance(host := hosts.get(node.name), HostFacts)
    )


def expected_before(
    previous: Cluster, cluster: Cluster, facts: Facts, record: Record, blueprint: Blueprint, hosts: Hosts
) -> Mapping[str, Mapping[str, str]]:
    """sha256 of the text files that the object applied last asked for, by node and path.

    Only needed if it differs. Nothing if an address of then is not known any more.
    """
    known = {**blueprint.addresses, **record.addresses}
    if previous == cluster or not {node.name for node in nodes(previous)} <= known.keys():
        return {}
    return {
        context.node.name: {
            file.path: sha256
            for component in components(context)
            for file in component.files
            if isinstance(file.source, Text)
            and (sha256 := expected_sha256(file, facts.secrets, facts.lock)) is not None
        }
        for context in contexts(previous, known, blueprint, hosts, sealed=facts.sealed)
    }
