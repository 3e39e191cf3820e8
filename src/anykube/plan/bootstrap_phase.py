"""The bootstrap phase: who may be touched, who joins etcd, the steps of each node, and their order. Pure.

plan/assemble.py asks for it. Its parts: rules.py, membership.py, certificates.py, bootstrap.py, rolling.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from anykube.content.certificates import certificate_requests, secret_requests
from anykube.content.context import NodeContext
from anykube.facts.cluster import Facts
from anykube.facts.host import HostFacts, Unreachable, etcd_of
from anykube.facts.record import Record, Upgrade
from anykube.plan.blueprint import Blueprint
from anykube.plan.bootstrap import plan_nodes
from anykube.plan.certificates import plan_certificates, reissued, signing_note
from anykube.plan.contexts import Hosts, asleep, contexts, endpoint, expected_before
from anykube.plan.membership import Electors, Membership, decide, names_of
from anykube.plan.model import Obstacle, Phase, PhasePlan
from anykube.plan.order import checked
from anykube.plan.road import ROLL, Traffic, on_the_road
from anykube.plan.rolling import in_order
from anykube.plan.rotation import plan_rotation, signed
from anykube.plan.rules import missing_programs, notes, obstacles
from anykube.plan.upgrade import snapshot_step
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes


@dataclass(frozen=True, slots=True)
class Way:
    """How nodes that work go from what they are to what they should be; see plan/road.py.

    first: a node to begin with, ''.
    """

    upgrade: Upgrade | None = None
    first: str = ""
    drain_seconds: float = 0.0


def plan_bootstrap(
    cluster: Cluster,
    facts: Facts,
    record: Record,
    blueprint: Blueprint,
    previous: Cluster | None,
    hosts: Hosts,
    way: Way,
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
    requests = signed(certificate_requests(cluster, wanted, known, endpoint(cluster, blueprint)), record)
    turning = plan_rotation(facts.secrets, record, (*secret_requests(cluster), *requests))
    others_sign = cluster.spec.security.external_authorities
    ours = () if others_sign else requests
    unsigned = signing_note(requests, facts.secrets, facts.now) if others_sign else ()
    certificates = plan_certificates(replace(facts, secrets=turning.secrets), secret_requests(cluster), ours)
    certificates = replace(certificates, needs=(turning.step.id,))
    changing = turning.changing | reissued(certificates)
    earlier = expected_before(previous, cluster, facts, record, blueprint, usable) if previous else {}
    made = contexts(cluster, known, blueprint, usable, birth=membership.birth, sealed=facts.sealed)
    alone = plan_nodes(made, usable, facts, changing, earlier)
    saved = snapshot_step(way.upgrade) if way.upgrade else None
    before = (saved,) if saved else ()
    rolled, behind = on_the_road(
        alone, _traffic(cluster, facts, usable, known, membership, way), [step.id for step in before]
    )
    steps, unsafe = in_order(rolled, membership, wanted, usable, known)
    first = before if any(step.id.endswith(ROLL) for step in steps) else ()
    return PhasePlan(
        Phase.BOOTSTRAP,
        checked((turning.step, certificates, *first, *steps)),
        provisional=provisional,
        obstacles=(*blocked, *unsafe, *behind),
        notes=(*notes(usable, facts), *unsigned),
    )


def _traffic(
    cluster: Cluster, facts: Facts, hosts: Hosts, known: Mapping[str, str], membership: Membership, way: Way
) -> Traffic:
    """What the order of nodes that roll depends on."""
    leader = names_of(membership.etcd, known).get(membership.etcd.leader, "")
    policy = cluster.spec.upgrade.drain_timeout
    return Traffic(
        cluster=cluster,
        wanted=nodes(cluster),
        hosts=hosts,
        addresses=known,
        kubernetes=facts.kubernetes,
        lock=facts.lock,
        upgrade=way.upgrade,
        leader=leader,
        first=way.first,
        fixed={*membership.joining, *membership.moving, *membership.yielding},
        drain_seconds=float(policy or way.drain_seconds),
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
