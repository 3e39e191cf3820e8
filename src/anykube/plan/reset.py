"""One machine is given back: its node leaves the cluster, and what the ledger names goes. The machine stays.

With a record the node leaves in the order of plan/leave.py. Without one, or by force, it is only cleaned.
"""

from __future__ import annotations

from anykube.errors import PlanError
from anykube.facts.cluster import Facts
from anykube.facts.host import HostFacts, Unreachable
from anykube.facts.record import Record
from anykube.plan.blueprint import Blueprint
from anykube.plan.cleaning import going, held_by_others
from anykube.plan.effects import CleanNode, ForgetNode
from anykube.plan.leave import DRAIN_SECONDS, plan_leave
from anykube.plan.model import Change, Phase, PhasePlan, Plan, Step
from anykube.plan.order import checked
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes

FORCE = "--force cleans it without leaving; the others see a node that failed"
ABANDONED = "it does not leave the cluster: to the others it has failed"


def plan_reset(
    cluster: Cluster,
    name: str,
    facts: Facts,
    record: Record,
    blueprint: Blueprint,
    *,
    force: bool = False,
    seconds: float = DRAIN_SECONDS,
) -> Plan:
    """The node leaves, its machine is cleaned and stays. PlanError if it cannot be reached, is another
    cluster's, or may not leave; `force` lets it not leave."""
    host = _usable(name, facts.hosts.get(name))
    if host.ledger.lineage not in ("", record.lineage):
        raise PlanError(
            f"{name} belongs to another cluster.",
            evidence=[f"lineage there: {host.ledger.lineage}", f"of {cluster.name}: {record.lineage}"],
            remedy="reset it with the cluster it belongs to, or by its address: anykube reset --address",
        )
    if force:
        steps = checked([clean := _clean(host), _forget(name, facts, clean.id)])
        return Plan(cluster.name, (PhasePlan(Phase.REMOVE, steps, notes=(ABANDONED,)),))
    leave = plan_leave(Phase.REMOVE, [name], nodes(cluster), facts, record, blueprint, seconds=seconds)
    for obstacle in leave.obstacles:
        raise PlanError(f"{name} {obstacle.brief}.", remedy=f"{obstacle.remedy}; {FORCE}")
    return Plan(cluster.name, (leave,))


def plan_clean(host: HostFacts | Unreachable, lineage: str) -> Plan:
    """Clean a machine of which nothing is known here. PlanError unless its ledger is of `lineage`."""
    found = _usable(host.name, host)
    ledger = found.ledger
    if ledger.empty:
        return Plan(found.name, (PhasePlan(Phase.REMOVE, ()),))
    if ledger.lineage != lineage:
        what = f"The machine at {found.name} belongs to a cluster that is not known here"
        count = f"{len(ledger.units)} units, {len(ledger.paths)} files and folders"
        raise PlanError(
            f"{what}." if not lineage else f"{what}, and it is not {lineage}.",
            evidence=[f"lineage {ledger.lineage}, run {ledger.epoch}: {count}"],
            remedy=f"if it may go: --lineage {ledger.lineage}",
        )
    return Plan(found.name, (PhasePlan(Phase.REMOVE, (_clean(found),)),))


def _usable(name: str, host: HostFacts | Unreachable | None) -> HostFacts:
    if not isinstance(host, HostFacts):
        why = host.reason if host else "its machine does not run"
        remedy = host.remedy if host else ""
        raise PlanError(
            f"{name} cannot be reset: {why}", remedy=remedy or "start the machine, then reset again"
        )
    if held := held_by_others(host):
        raise PlanError(f"{name} cannot be cleaned: {held.brief}.", remedy=held.remedy)
    return host


def _clean(host: HostFacts) -> Step:
    effects = () if host.ledger.empty else (CleanNode(host.name),)
    reason = "anykube has been there" if effects else "nothing of anykube is there"
    return Step(
        f"{host.name}/clean",
        Phase.REMOVE,
        host.name,
        "clean",
        reason,
        going(host),
        effects,
        disruption="all that runs there for the cluster ends, its data goes",
    )


def _forget(name: str, facts: Facts, needs: str) -> Step:
    kept = any(secret.startswith(f"nodes/{name}/") for secret in facts.secrets)
    change = Change("delete", "record", name, "its certificates and keys, here")
    changes, effects = ((change,), (ForgetNode(name),)) if kept else ((), ())
    reason = change.reason if kept else "nothing is kept of it here"
    return Step(f"{name}/forget", Phase.REMOVE, name, "forget", reason, changes, effects, (needs,))
