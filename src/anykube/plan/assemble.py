"""plan(): object, facts and record in, the whole plan out. Pure; everything else in this room serves it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from anykube.errors import PlanError
from anykube.facts.cluster import Facts
from anykube.facts.host import HostFacts
from anykube.facts.kubernetes import KubernetesFacts
from anykube.facts.record import Record
from anykube.plan.addons import plan_addons
from anykube.plan.artifacts import plan_artifacts
from anykube.plan.backup import plan_backup
from anykube.plan.blueprint import Blueprint
from anykube.plan.bootstrap_phase import Way, plan_bootstrap
from anykube.plan.contexts import Hosts, asleep, endpoint, known_hosts
from anykube.plan.distrust import plan_distrust, trusted_by_pods
from anykube.plan.leave import DRAIN_SECONDS, plan_leave, surplus
from anykube.plan.model import Phase, PhasePlan, Plan
from anykube.plan.order import checked
from anykube.plan.provision import plan_provision
from anykube.plan.renewal import plan_overdue
from anykube.plan.replacing import as_if_gone, refuse_replacing
from anykube.plan.rotation import refuse_while_rotating, rotation_notes
from anykube.plan.rules import refuse_forbidden
from anykube.plan.upgrade import PLAIN, Asked, foreseen, upgrade_of
from anykube.plan.upgrade_rules import refuse_upgrade
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes

AFTER_RENEWAL = (
    Phase.REPLACE,
    Phase.ARTIFACTS,
    Phase.PROVISION,
    Phase.BOOTSTRAP,
    Phase.ADDONS,
    Phase.RETIRE,
    Phase.BACKUP,
)


def plan(
    cluster: Cluster,
    facts: Facts,
    record: Record,
    blueprint: Blueprint,
    previous: Cluster | None = None,
    *,
    replacing: frozenset[str] = frozenset(),
    drain_seconds: float = DRAIN_SECONDS,
    asked: Asked = PLAIN,
) -> Plan:
    """What must be done so that the world is as the object says.

    `previous` is the object applied last, `replacing` are nodes to be made anew. A phase behind one with
    pending steps is provisional: it is planned on what a fresh machine will look like, and again on what was
    observed before it runs. What is to be done on a machine that is off is not guessed: it has its content,
    and shows it once it runs.
    """
    refuse_forbidden(cluster, previous)
    wanted = nodes(cluster)
    renewal = plan_overdue(cluster, facts, record, blueprint, known_hosts(facts, blueprint))
    if renewal.pending:
        # What etcd and the API would say cannot be known before.
        unseen = (PhasePlan(phase, (), provisional=True) for phase in AFTER_RENEWAL)
        return Plan(cluster.name, (renewal, *unseen))
    leave = partial(plan_leave, wanted=wanted, record=record, blueprint=blueprint, seconds=drain_seconds)
    leaving = leave(Phase.REPLACE, sorted(replacing), facts=facts)
    refuse_replacing(replacing, wanted, facts, leaving)
    facts = as_if_gone(replacing, wanted, facts, blueprint)
    upgrade = upgrade_of(cluster, facts, record, previous, asked)
    if upgrade is not None:
        refuse_while_rotating(record)
        refuse_upgrade(cluster, wanted, facts, record, upgrade, asked)
    way = Way(upgrade, asked.first, drain_seconds)
    coming = _coming(cluster, facts, record, blueprint, previous, way, provisional=bool(leaving.pending))
    ahead = any(phase.provisional or phase.pending for phase in coming)
    retire = leave(Phase.RETIRE, surplus(facts, record, blueprint), facts=facts, provisional=ahead)
    phases = (renewal, leaving, *coming, retire)
    backup = plan_backup(cluster, facts, previous, known_hosts(facts, blueprint), phases)
    return Plan(cluster.name, (*phases, backup), upgrade, rotation_notes(record))


def _coming(
    cluster: Cluster,
    facts: Facts,
    record: Record,
    blueprint: Blueprint,
    previous: Cluster | None,
    way: Way,
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
    known = replace(facts, lock=foreseen(facts.lock, cluster)) if artifacts.pending else facts
    bootstrap = plan_bootstrap(cluster, known, record, blueprint, previous, hosts, way, provisional=ahead)
    ahead = ahead or bool(bootstrap.pending)
    wanted = nodes(cluster)
    if any(node.control_plane and node.name in asleep(facts) for node in wanted):
        unseen = PhasePlan(Phase.ADDONS, (), provisional=True)
        return artifacts, provision, bootstrap, unseen
    kubernetes = KubernetesFacts() if ahead and not facts.kubernetes.ready else facts.kubernetes
    blocked = frozenset(obstacle.target for obstacle in bootstrap.obstacles)
    keys = plan_distrust(facts, record)
    trust = trusted_by_pods(facts.secrets)
    api = endpoint(cluster, blueprint)
    steps = checked(plan_addons(cluster, wanted, api, kubernetes, blocked, keys, trust))
    return artifacts, provision, bootstrap, PhasePlan(Phase.ADDONS, steps, provisional=ahead)


def architecture(hosts: Hosts, facts: Facts) -> str:
    """The one architecture of all machines. PlanError if they differ."""
    found = sorted({host.system.arch for host in hosts.values() if isinstance(host, HostFacts)})
    if len(found) > 1:
        raise PlanError(f"machines have different architectures: {', '.join(found)}.")
    if found:
        return found[0]
    return facts.lock.arch if facts.lock else "amd64"
