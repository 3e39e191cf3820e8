"""Whether what was sealed with a backup still describes the cluster that lives: what differs is told. Pure.

Certificates of nodes are not looked at: they can be issued again. What cannot is an authority or a key that
is another one now, and a node or a member that the object does not know.
"""

from __future__ import annotations

from collections.abc import Iterator

from anykube.content.model import SecretPart, expected_sha256
from anykube.content.node import components
from anykube.errors import PlanError
from anykube.facts.cluster import Facts
from anykube.facts.host import HostFacts, Unreachable, etcd_of
from anykube.plan.blueprint import Blueprint
from anykube.plan.contexts import contexts
from anykube.plan.membership import names_of
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes

OF_NODES = "nodes/"


def refuse_outdated(cluster: Cluster, facts: Facts, blueprint: Blueprint, lineage: str) -> None:
    """PlanError with all that changed since, or when no machine of the cluster answers."""
    answering = [host for host in facts.hosts.values() if _is_ours(host, lineage)]
    if not answering:
        raise PlanError(
            f"No machine of {cluster.name} answers as one of this cluster.",
            evidence=[f"{name}: {_why(facts, name)}" for name in blueprint.machines],
            remedy="start one; or, if they are gone: anykube restore ARCHIVE",
        )
    differences = [*_keys(cluster, facts, blueprint), *_members(cluster, facts, blueprint)]
    differences += _nodes(cluster, facts)
    if differences:
        raise PlanError(
            f"What was sealed is older than a change of {cluster.name}.",
            evidence=differences,
            remedy="take a newer archive; where only nodes differ, the object of today: -f FILE",
        )


def _is_ours(host: HostFacts | Unreachable, lineage: str) -> bool:
    return isinstance(host, HostFacts) and host.ledger.lineage == lineage


def _why(facts: Facts, name: str) -> str:
    host = facts.hosts.get(name)
    if isinstance(host, Unreachable):
        return host.reason
    return "nothing of a cluster is there" if host else "its machine does not run"


def _keys(cluster: Cluster, facts: Facts, blueprint: Blueprint) -> Iterator[str]:
    """Authorities and keys of the cluster that nodes hold in another version."""
    seen: set[str] = set()
    for context in contexts(cluster, blueprint.addresses, blueprint, facts.hosts):
        host = facts.hosts[context.node.name]
        files = [file for component in components(context) for file in component.files]
        for file in files:
            source = file.source
            if not isinstance(host, HostFacts) or not isinstance(source, SecretPart):
                continue
            there, kept = host.files.get(file.path), expected_sha256(file, facts.secrets, facts.lock)
            shared = not source.secret.startswith(OF_NODES)
            if shared and there and there.sha256 != kept and source.secret not in seen:
                seen.add(source.secret)
                yield f"{source.secret} on {host.name} ({file.path}) is another one"


def _members(cluster: Cluster, facts: Facts, blueprint: Blueprint) -> Iterator[str]:
    etcd = etcd_of(facts.hosts)
    if not etcd.exists:
        return
    there = set(names_of(etcd, blueprint.addresses).values())
    wanted = {node.name for node in nodes(cluster) if node.etcd}
    yield from (
        f"etcd has a member {name}, which the object does not have" for name in sorted(there - wanted)
    )
    yield from (f"{name} is no member of etcd any more" for name in sorted(wanted - there))


def _nodes(cluster: Cluster, facts: Facts) -> Iterator[str]:
    if not facts.kubernetes.ready:
        return
    there = {node.name for node in facts.kubernetes.nodes.values() if node.pool}
    wanted = {node.name for node in nodes(cluster) if node.kubelet}
    yield from (f"there is a Node {name}, which the object does not have" for name in sorted(there - wanted))
    yield from (f"there is no Node {name} any more" for name in sorted(wanted - there))
