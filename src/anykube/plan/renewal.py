"""The renew phase: certificates made anew and put in place with nothing but SSH. Pure.

What `certs renew` does when asked, and `apply` by itself before anything else when certificates have ended:
then neither etcd nor the API may answer, so nothing here depends on what they say. All nodes get their files
first; only then do processes take them over, those that must be restarted one API server after another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from anykube.content.apiserver import NAME as API_SERVER
from anykube.content.certificates import certificate_requests
from anykube.content.model import CertificateRequest
from anykube.errors import PlanError, UsageError
from anykube.facts.cluster import Facts
from anykube.facts.host import HostFacts, etcd_of
from anykube.facts.record import Record
from anykube.facts.secrets import SecretFacts
from anykube.plan.blueprint import Blueprint
from anykube.plan.bootstrap import API_READY, API_SECONDS
from anykube.plan.certificates import SIGN, refuse_unsigned
from anykube.plan.contexts import Hosts, contexts, endpoint
from anykube.plan.effects import IssueCertificates, WaitFor
from anykube.plan.inventory import ports
from anykube.plan.model import CLUSTER, LOCAL, Change, Phase, PhasePlan, Step
from anykube.plan.node_renewal import ISSUE, NodeRenewal
from anykube.plan.order import checked
from anykube.plan.rolling import READY_SECONDS
from anykube.plan.rotation import signed
from anykube.plan.rules import obstacles, own_clock_is_doubtful
from anykube.spec.endpoint import API_PORT, url
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes

SHOWN = 12


def selected(
    requests: Sequence[CertificateRequest],
    secrets: Mapping[str, SecretFacts],
    now: datetime,
    names: Collection[str],
    *,
    everything: bool,
) -> frozenset[str]:
    """The leaf certificates that were asked for: by node, by name, or all; without any, those that are due.

    UsageError for a name that is neither a node nor a certificate.
    """
    leaves = [request.secret for request in requests if not request.is_authority]
    if everything:
        return frozenset(leaves)
    if not names:
        known = {name: secrets[name].certificate for name in leaves if name in secrets}
        return frozenset(name for name, found in known.items() if found and now >= found.due)
    chosen: set[str] = set()
    for name in names:
        found = [leaf for leaf in leaves if leaf == name or leaf.startswith(f"nodes/{name}/")]
        if not found:
            listed = ", ".join(leaves[:SHOWN]) + (" …" if len(leaves) > SHOWN else "")
            raise UsageError(
                f"{name[:80]!r} is no node and no certificate of this cluster.",
                remedy=f"name a node, or one of: {listed}",
            )
        chosen.update(found)
    return frozenset(chosen)


def overdue(requests: Sequence[CertificateRequest], facts: Facts, hosts: Hosts) -> frozenset[str]:
    """Certificates that have ended, of users and of nodes that answer: what keeps apply from seeing and
    mending anything else."""
    if own_clock_is_doubtful(facts):
        return frozenset()
    found: set[str] = set()
    for request in requests:
        folder, name = request.secret.split("/")[:2]
        secret = facts.secrets.get(request.secret)
        there = folder == "users" or isinstance(hosts.get(name), HostFacts)
        certificate = secret.certificate if secret and there and not request.is_authority else None
        if certificate and facts.now >= certificate.not_after:
            found.add(request.secret)
    return frozenset(found)


def plan_overdue(
    cluster: Cluster, facts: Facts, record: Record, blueprint: Blueprint, hosts: Hosts
) -> PhasePlan:
    """The renew phase of apply: nothing, unless certificates have ended, or are made anew and not in place
    while etcd does not answer (a run that was killed in between). PlanError while others have to sign."""
    requests = certificate_requests(
        cluster, nodes(cluster), blueprint.addresses, endpoint(cluster, blueprint)
    )
    if cluster.spec.security.external_authorities:
        refuse_unsigned(requests, facts.secrets, facts.now)
    renewed = overdue(requests, facts, hosts)
    if renewed or (record.born and not etcd_of(facts.hosts).quorate):
        return plan_renewal(cluster, facts, record, blueprint, hosts, renewed)
    return PhasePlan(Phase.RENEW, ())


def plan_renewal(
    cluster: Cluster,
    facts: Facts,
    record: Record,
    blueprint: Blueprint,
    hosts: Hosts,
    renewed: frozenset[str],
) -> PhasePlan:
    """Issue these certificates, and bring every node that answers to use what is kept. PlanError if this
    machine's clock cannot be trusted."""
    if renewed and cluster.spec.security.external_authorities:
        raise PlanError("The authorities of this cluster are not anykube's: it cannot sign.", remedy=SIGN)
    if renewed and own_clock_is_doubtful(facts):
        raise PlanError(
            "No node agrees with the clock of this machine; certificates would get wrong dates.",
            evidence=[f"here it is {facts.now:%Y-%m-%d %H:%M:%S} UTC"],
            remedy="set the clock of this machine (timedatectl set-ntp true), or those of the nodes",
        )
    wanted = nodes(cluster)
    api = endpoint(cluster, blueprint)
    requests = signed(certificate_requests(cluster, wanted, blueprint.addresses, api), record)
    issued = tuple(request for request in requests if request.secret in renewed)
    blocked = obstacles(wanted, hosts, record, facts)
    names = {obstacle.target for obstacle in blocked}
    there = {name: host for name, host in facts.hosts.items() if name not in names}
    made = contexts(cluster, blueprint.addresses, blueprint, there)
    planners = [
        NodeRenewal(context, host, facts, renewed)
        for context in made
        if isinstance(host := there[context.node.name], HostFacts)
    ]
    steps = (_issue(issued, facts), *_on_nodes(planners, cluster, blueprint))
    concerned = {name.split("/")[1] for name in renewed if name.startswith("nodes/")}
    off = sorted(concerned - facts.hosts.keys())
    return PhasePlan(
        Phase.RENEW,
        checked((*steps, _api_ready(steps, facts))),
        obstacles=tuple(obstacle for obstacle in blocked if obstacle.target in concerned),
        notes=(f"{', '.join(off)} does not run; apply places its certificates once it does",) if off else (),
    )


def _issue(issued: Sequence[CertificateRequest], facts: Facts) -> Step:
    if not issued:
        return Step(ISSUE, Phase.RENEW, LOCAL, "certificates", "none to be made")
    changes = tuple(
        Change("update", "certificate", request.secret, _why(request.secret, facts)) for request in issued
    )
    effects = (IssueCertificates(tuple(issued)),)
    return Step(ISSUE, Phase.RENEW, LOCAL, "certificates", f"{len(issued)} to be made anew", changes, effects)


def _why(secret: str, facts: Facts) -> str:
    found = facts.secrets[secret].certificate if secret in facts.secrets else None
    if found is None:
        return "missing"
    return f"{'ended' if facts.now >= found.not_after else 'ends'} on {found.not_after:%Y-%m-%d}"


def _on_nodes(planners: Sequence[NodeRenewal], cluster: Cluster, blueprint: Blueprint) -> Iterator[Step]:
    """Files everywhere, then etcd, then API servers, then all others, then a look at what is served."""
    places = [planner.place() for planner in planners if planner.placed]
    yield from places
    placed = tuple(step.id for step in places)
    turns = {step.id: step for planner in planners for step in planner.turns(placed)}
    several = sum(node.control_plane for node in nodes(cluster)) > 1
    before: tuple[str, ...] = ()
    for planner in planners:
        step = turns.get(f"{planner.name}/{API_SERVER}")
        if step is None:
            continue
        restarts = any(change.action == "restart" for change in step.changes)
        if several and restarts and planner.runs(API_SERVER):
            ready = WaitFor("server-ready", url(blueprint.addresses[planner.name], API_PORT), READY_SECONDS)
            turns[step.id] = replace(step, effects=(*step.effects, ready), needs=(*step.needs, *before))
            before = (step.id,)
    yield from turns.values()
    wire = list(ports(nodes(cluster), blueprint.addresses, endpoint(cluster, blueprint)))
    for planner in planners:
        asked = [
            f"{port.secrets[0]} at {port.address}:{port.port}"
            for port in wire
            if port.node == planner.name and len(port.secrets) == 1 and port.secrets[0] in planner.placed
        ]
        if asked:
            yield planner.look(asked, tuple(turns))


def _api_ready(steps: Sequence[Step], facts: Facts) -> Step:
    servers = tuple(step.id for step in steps if step.title == API_SERVER)
    if not servers or facts.kubernetes.ready:
        return Step(API_READY, Phase.RENEW, CLUSTER, "API", "no server is restarted because it is down")
    change = Change("wait", "condition", "API ready", "does not answer")
    effects = (WaitFor("api-ready", "", API_SECONDS),)
    return Step(API_READY, Phase.RENEW, CLUSTER, "API", change.reason, (change,), effects, needs_any=servers)
