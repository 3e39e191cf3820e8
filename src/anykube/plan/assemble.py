"""plan(): object, facts and record in, the whole plan out. Pure; everything else in this room serves it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from anykube.content.certificates import certificate_requests, secret_requests
from anykube.content.context import NodeContext
from anykube.content.model import Text, expected_sha256
from anykube.content.node import components
from anykube.errors import PlanError
from anykube.facts.cluster import Facts
from anykube.facts.etcd import Etcd, consensus
from anykube.facts.host import HostFacts, Unreachable
from anykube.facts.kubernetes import KubernetesFacts
from anykube.facts.machines import MachineState
from anykube.facts.record import Record
from anykube.plan.addons import plan_addons
from anykube.plan.artifacts import plan_artifacts
from anykube.plan.blueprint import Blueprint
from anykube.plan.bootstrap import fresh_host, plan_nodes
from anykube.plan.certificates import plan_certificates, reissued
from anykube.plan.leave import DRAIN_SECONDS, plan_leave, surplus
from anykube.plan.membership import Electors, decide
from anykube.plan.model import Obstacle, Phase, PhasePlan, Plan
from anykube.plan.order import checked
from anykube.plan.provision import plan_provision
from anykube.plan.replacing import as_if_gone, refuse_replacing
from anykube.plan.rolling import in_order
from anykube.plan.rules import missing_programs, notes, obstacles, refuse_forbidden
from anykube.spec.endpoint import ApiEndpoint, api_endpoint
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes


def plan(
    cluster: Cluster,
    facts: Facts,
    record: Record,
    blueprint: Blueprint,
    previous: Cluster | None = None,
    *,
    replacing: frozenset[str] = frozenset(),
    drain_seconds: float = DRAIN_SECONDS,
) -> Plan:
    """What must be done so that the world is as the object says.

    `previous` is the object applied last, `replacing` are nodes to be made anew. A phase behind one with
    pending steps is provisional: it is planned on what a fresh machine will look like, and again on what was
    observed before it runs. What is to be done on a machine that is off is not guessed: it has its content,
    and shows it once it runs.
    """
    refuse_forbidden(cluster, previous)
    wanted = nodes(cluster)
    leave = partial(plan_leave, wanted=wanted, record=record, blueprint=blueprint, seconds=drain_seconds)
    leaving = leave(Phase.REPLACE, sorted(replacing), facts=facts)
    refuse_replacing(replacing, wanted, facts, leaving)
    facts = as_if_gone(replacing, wanted, facts, blueprint)
    coming = _coming(cluster, facts, record, blueprint, previous, provisional=bool(leaving.pending))
    ahead = any(phase.provisional or phase.pending for phase in coming)
    retire = leave(Phase.RETIRE, surplus(facts, record, blueprint), facts=facts, provisional=ahead)
    return Plan(cluster.name, (leaving, *coming, retire))


def _coming(
    cluster: Cluster,
    facts: Facts,
    record: Record,
    blueprint: Blueprint,
    previous: Cluster | None,
    *,
    provisional: bool,
) -> tuple[PhasePlan, ...]:
    """The phases in which the nodes of the object come, and become what they should be."""
    hosts = known_hosts(facts, blueprint)
    steps = checked(plan_artifacts(cluster, facts, architecture(hosts, facts)))
    artifacts = PhasePlan(Phase.ARTIFACTS, steps, provisional)
    ahead = provisional or bool(artifacts.pending)
    provision = PhasePlan(Phase.PROVISION, checked(plan_provision(facts, blueprint)), provisional=ahead)
    ahead = ahead or bool(provision.pending)
    bootstrap = _bootstrap(cluster, facts, record, blueprint, previous, hosts, provisional=ahead)
    ahead = ahead or bool(bootstrap.pending)
    wanted = nodes(cluster)
    if any(node.control_plane and node.name in _asleep(facts) for node in wanted):
        unseen = PhasePlan(Phase.ADDONS, (), provisional=True)
        return artifacts, provision, bootstrap, unseen
    kubernetes = KubernetesFacts() if ahead and not facts.kubernetes.ready else facts.kubernetes
    blocked = frozenset(obstacle.target for obstacle in bootstrap.obstacles)
    steps = checked(plan_addons(cluster, wanted, endpoint(cluster, blueprint), kubernetes, blocked))
    return artifacts, provision, bootstrap, PhasePlan(Phase.ADDONS, steps, provisional=ahead)


def known_hosts(facts: Facts, blueprint: Blueprint) -> Mapping[str, HostFacts | Unreachable]:
    """Every wanted machine as it is, or, where it does not exist, as it will be."""
    known: dict[str, HostFacts | Unreachable] = {}
    for name in blueprint.machines:
        found = facts.hosts.get(name) or fresh_host(name, facts, blueprint.baked)
        known[name] = found or Unreachable(name, "it does not exist yet, and its provider cannot say more")
    return known


def _etcd(facts: Facts) -> Etcd:
    """etcd as all machines see it that answer, those that leave included."""
    return consensus({n: h.etcd for n, h in facts.hosts.items() if isinstance(h, HostFacts) and h.etcd})


def _asleep(facts: Facts) -> frozenset[str]:
    """Machines that were made and are off."""
    return frozenset(
        name for name, found in facts.site.machines.items() if found.state is MachineState.STOPPED
    )


def architecture(hosts: Mapping[str, HostFacts | Unreachable], facts: Facts) -> str:
    """The one architecture of all machines. PlanError if they differ."""
    found = sorted({host.system.arch for host in hosts.values() if isinstance(host, HostFacts)})
    if len(found) > 1:
        raise PlanError(f"machines have different architectures: {', '.join(found)}.")
    if found:
        return found[0]
    return facts.lock.arch if facts.lock else "amd64"


def addresses(blueprint: Blueprint) -> Mapping[str, str]:
    """Name of each machine and its address."""
    return {name: machine.address for name, machine in blueprint.machines.items()}


def endpoint(cluster: Cluster, blueprint: Blueprint) -> ApiEndpoint:
    """How the API is reached once the machines are as the blueprint says."""
    return api_endpoint(cluster, addresses(blueprint), blueprint.choices)


def contexts(
    cluster: Cluster,
    blueprint: Blueprint,
    hosts: Mapping[str, HostFacts | Unreachable],
    *,
    birth: bool = False,
) -> tuple[NodeContext, ...]:
    """What content is made from, for every node that can be known."""
    wanted, known = nodes(cluster), addresses(blueprint)
    members = tuple((node.name, known[node.name]) for node in wanted if node.etcd)
    api = endpoint(cluster, blueprint)
    return tuple(
        NodeContext(cluster, node, known[node.name], host.system, members, api, birth)
        for node in wanted
        if isinstance(host := hosts[node.name], HostFacts)
    )


def _unequipped(
    known: Sequence[NodeContext],
    hosts: Mapping[str, HostFacts | Unreachable],
    blocked: Sequence[Obstacle],
    blueprint: Blueprint,
) -> Iterator[Obstacle]:
    names = {obstacle.target for obstacle in blocked}
    for context in known:
        host = hosts[context.node.name]
        if isinstance(host, HostFacts) and host.name not in names:
            yield from missing_programs(context, host, made=blueprint.creates)


def _bootstrap(
    cluster: Cluster,
    facts: Facts,
    record: Record,
    blueprint: Blueprint,
    previous: Cluster | None,
    hosts: Mapping[str, HostFacts | Unreachable],
    *,
    provisional: bool,
) -> PhasePlan:
    wanted, known = nodes(cluster), addresses(blueprint)
    blocked = obstacles(wanted, hosts, record, facts)
    blocked = (*blocked, *_unequipped(contexts(cluster, blueprint, hosts), hosts, blocked, blueprint))
    names = {obstacle.target for obstacle in blocked}
    asleep = _asleep(facts) & blueprint.machines.keys()
    usable = {
        name: Unreachable(name, "unknown") if name in names | asleep else host for name, host in hosts.items()
    }
    membership = decide(Electors(wanted, known, usable, _etcd(facts), asleep, record.born))
    blocked = (*blocked, *membership.obstacles)
    names |= {obstacle.target for obstacle in membership.obstacles}
    usable = {name: Unreachable(name, "unknown") if name in names else host for name, host in usable.items()}
    requests = certificate_requests(cluster, wanted, known, endpoint(cluster, blueprint))
    certificates = plan_certificates(facts, secret_requests(cluster), requests)
    earlier = {} if previous is None else _expected_before(previous, cluster, facts, blueprint, usable)
    node_contexts = contexts(cluster, blueprint, usable, birth=membership.birth)
    alone = plan_nodes(node_contexts, usable, facts, reissued(certificates), earlier)
    steps, unsafe = in_order(alone, membership, wanted, usable, known)
    return PhasePlan(
        Phase.BOOTSTRAP,
        checked((certificates, *steps)),
        provisional=provisional,
        obstacles=(*blocked, *unsafe),
        notes=notes(usable, facts),
    )


def _expected_before(
    previous: Cluster,
    cluster: Cluster,
    facts: Facts,
    blueprint: Blueprint,
    hosts: Mapping[str, HostFacts | Unreachable],
) -> Mapping[str, Mapping[str, str]]:
    """sha256 of the text files that the object applied last asked for; only needed if it differs."""
    if previous == cluster:
        return {}
    before = {node.name for node in nodes(previous)}
    kept = {name: host for name, host in hosts.items() if name in before}
    if not before <= set(hosts):
        return {}
    return {
        context.node.name: {
            file.path: sha256
            for component in components(context)
            for file in component.files
            if isinstance(file.source, Text)
            and (sha256 := expected_sha256(file, facts.secrets, facts.lock)) is not None
        }
        for context in contexts(previous, blueprint, kept)
    }
