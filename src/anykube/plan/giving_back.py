"""A restore is taken back before anything could write to the new etcd: every node gets its old data. Pure.

Then apply starts everything, as after a power cut. What the archive brought is kept beside the data.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from anykube.content.apiserver import SERVICE as API_SERVICE
from anykube.content.etcd import NAME as ETCD
from anykube.content.etcd import SERVICE
from anykube.content.paths import ETCD as DATA
from anykube.errors import PlanError
from anykube.facts.cluster import Facts
from anykube.facts.host import HostFacts, Unreachable
from anykube.plan.effects import Effect, HaltUnits, RemovePaths, ReturnEtcd
from anykube.plan.model import Change, Phase, PhasePlan, Plan, Step
from anykube.plan.order import checked
from anykube.plan.recover import SERVERS
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes

ALL = (*SERVERS, SERVICE)
REASON = "the restore is taken back"


def plan_giving_back(
    cluster: Cluster, facts: Facts, since: int, brought: tuple[str, str], lost: Collection[str] = ()
) -> Plan:
    """The one phase. PlanError while a node with data does not answer: the others must not begin without it.

    since: the epoch from which on data was moved aside.  brought: the node that got the snapshot, and where.
    """
    silent = [
        node.name
        for node in nodes(cluster)
        if node.etcd and node.name not in lost and not isinstance(facts.hosts.get(node.name), HostFacts)
    ]
    if silent:
        raise PlanError(
            f"The restore cannot be taken back while {', '.join(silent)} does not answer.",
            evidence=[_why(name, facts) for name in silent],
            remedy="start it, then the same again",
        )
    steps = checked(tuple(_steps(facts, since, brought)))
    note = f"what came from the archive is kept in {DATA}/dropped-*; then as apply, with the object of before"
    return Plan(cluster.name, (PhasePlan(Phase.RECOVER, steps, notes=(note,)),))


def _why(name: str, facts: Facts) -> str:
    host = facts.hosts.get(name)
    return f"{name}: {host.reason if isinstance(host, Unreachable) else 'its machine does not run'}"


def _steps(facts: Facts, since: int, brought: tuple[str, str]) -> Iterator[Step]:
    affected = [
        host
        for host in facts.hosts.values()
        if isinstance(host, HostFacts)
        and (host.etcd_data or not host.ledger.units.isdisjoint({SERVICE, API_SERVICE}))
    ]
    node, path = brought
    stops = [_stop(host) for host in affected]
    yield from stops
    for host in affected:
        change = Change("move", "data", f"{DATA}/member", f"what was there before run {since} comes back")
        effects: list[Effect] = [ReturnEtcd(host.name, since)]
        if host.name == node:
            effects.append(RemovePaths(node, (path,)))
        needs = tuple(step.id for step in stops)
        yield Step(
            f"{host.name}/return", Phase.RECOVER, host.name, ETCD, REASON, (change,), tuple(effects), needs
        )


def _stop(host: HostFacts) -> Step:
    units = tuple(unit for unit in ALL if unit in host.ledger.units or unit in host.units)
    changes = tuple(Change("stop", "unit", unit, REASON) for unit in units)
    effects = (HaltUnits(host.name, units),) if units else ()
    return Step(f"{host.name}/stop", Phase.RECOVER, host.name, ETCD, REASON, changes, effects)
