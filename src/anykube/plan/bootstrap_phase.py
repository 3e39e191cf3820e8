"""The bootstrap phase: who may be touched, who joins etcd, the steps of each node, and their order. Pure.

plan/assemble.py asks for it. Its parts: rules.py, membership.py, certificates.py, bootstrap.py, rolling.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from anykube.content.certificates import certificate_requests, secret_requests
from anykube.content.context import NodeContext
from anykube.facts.cluster import Facts
from anykube.facts.host import HostFacts, Unreachable, etcd_of
from anykube.facts.record import Record
from anykube.plan.blueprint import Blueprint
from anykube.plan.bootstrap import plan_nodes
from anykube.plan.certificates import plan_certificates, reissued
from anykube.plan.contexts import Hosts, asleep, contexts, endpoint, expected_before
from anykube.plan.membership import Electors, decide
from anykube.plan.model import Obstacle, Phase, PhasePlan
from anykube.plan.order import checked
from anykube.plan.rolling import in_order
from anykube.plan.rules import missing_programs, notes, obstacles
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes


def plan_bootstrap(
    cluster: Cluster,
    facts: Facts,
    record: Record,
    blueprint: Blueprint,
    previous: Cluster | None,
    hosts: Hosts,
    *,
    provisional: bool,
) -> PhasePlan:
    """Steps for every node on which something may be done; obstacles tell of the others."""
    wanted, known = nodes(cluster), blueprint.addresses
    blocked = obstacles(wanted, hosts, record, facts)
    blocked = (*blocked, *_unequipped(contexts(cluster, known, blueprint, hosts), hosts, blocked, blueprint))
    off = asleep(facts) & blueprint.machines.keys()
    usable = _without(hosts, {obstacle.target for obstacle in blocked} | off)
    membership = decide(Electors(wanted, known, usable, etcd_of(facts.hosts), off, record.born))
    blocked = (*blocked, *membership.obstacles)
    usable = _without(usable, {obstacle.target for obstacle in blocked})
    requests = certificate_requests(cluster, wanted, known, endpoint(cluster, blueprint))
    certificates = plan_certificates(facts, secret_requests(cluster), requests)
    earlier = expected_before(previous, cluster, facts, record, blueprint, usable) if previous else {}
    made = contexts(cluster, known, blueprint, usable, birth=membership.birth)
    alone = plan_nodes(made, usable, facts, reissued(certificates), earlier)
    steps, unsafe = in_order(alone, membership, wanted, usable, known)
    return PhasePlan(
        Phase.BOOTSTRAP,
        checked((certificates, *steps)),
        provisional=provisional,
        obstacles=(*blocked, *unsafe),
        notes=notes(usable, facts),
    )


def _without(hosts: Hosts, names: set[str]) -> Hosts:
    """The hosts, with nothing known of some."""
    return {name: Unreachable(name, "unknown") if name in names else host for name, host in hosts.items()}


def _unequipped(
    known: Sequence[NodeContext],
    hosts: Hosts,
    blocked: Sequence[Obstacle],
    blueprint: Blueprint,
) -> Iterator[Obstacle]:
    names = {obstacle.target for obstacle in blocked}
    for context in known:
        host = hosts[context.node.name]
        if isinstance(host, HostFacts) and host.name not in names:
            yield from missing_programs(context, host, made=blueprint.creates)
