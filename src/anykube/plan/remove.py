"""Taking a cluster away: only what anykube made, in the opposite order, and the record last."""

from __future__ import annotations

from anykube.facts.cluster import Facts
from anykube.facts.host import HostFacts, Unreachable, WrongHostKey
from anykube.facts.record import Record
from anykube.plan.blueprint import Blueprint
from anykube.plan.cleaning import going, held_by_others
from anykube.plan.effects import CleanNode, DeleteMachine, ForgetCluster, RemoveSite
from anykube.plan.model import LOCAL, Change, Obstacle, Phase, PhasePlan, Plan, Step
from anykube.plan.order import checked
from anykube.plan.rules import NEW_HOST_KEY

FOREVER = "the cluster and all data in it are gone for good"


def plan_remove(name: str, facts: Facts, record: Record, blueprint: Blueprint) -> Plan:
    """Delete machines that anykube made, clean those that it only used, then forget the cluster."""
    obstacles: tuple[Obstacle, ...] = ()
    if blueprint.creates:
        first = tuple(_delete(machine) for machine in sorted(facts.site.machines))
    else:
        hosts = tuple(facts.hosts.values())
        ours = [
            host for host in hosts if isinstance(host, HostFacts) and host.ledger.lineage == record.lineage
        ]
        first = tuple(_clean(host) for host in ours if not host.ledger.others)
        obstacles = (
            *(
                Obstacle(host.name, f"cannot be cleaned: {host.reason}", _remedy(host))
                for host in hosts
                if isinstance(host, Unreachable)
            ),
            *(held for host in ours if (held := held_by_others(host))),
        )
    needs = tuple(step.id for step in first)
    parts = tuple(
        _remove_part(part, needs) for part in reversed(tuple(blueprint.parts)) if part in facts.site.parts
    )
    steps = [*first, *parts]
    if not obstacles:
        steps.append(_forget(name, (*needs, *(step.id for step in parts))))
    return Plan(name, (PhasePlan(Phase.REMOVE, checked(steps), obstacles=obstacles),))


def _remedy(host: Unreachable) -> str:
    if isinstance(host, WrongHostKey):
        return NEW_HOST_KEY
    return host.remedy or "start it, then destroy again"


def _delete(machine: str) -> Step:
    change = Change("delete", "machine", machine, "the cluster is destroyed")
    effect = DeleteMachine(machine)
    return Step(
        f"{machine}/machine",
        Phase.REMOVE,
        machine,
        "machine",
        change.reason,
        (change,),
        (effect,),
        disruption=FOREVER,
    )


def _clean(host: HostFacts) -> Step:
    effect = CleanNode(host.name)
    return Step(
        f"{host.name}/clean",
        Phase.REMOVE,
        host.name,
        "clean",
        "the cluster is destroyed",
        going(host),
        (effect,),
        disruption=FOREVER,
    )


def _remove_part(part: str, needs: tuple[str, ...]) -> Step:
    change = Change("delete", "site", part, "the cluster is destroyed")
    return Step(
        f"{LOCAL}/{part}", Phase.REMOVE, LOCAL, part, change.reason, (change,), (RemoveSite(part),), needs
    )


def _forget(name: str, needs: tuple[str, ...]) -> Step:
    change = Change("delete", "record", name, "keys, certificates, runs")
    return Step(
        f"{LOCAL}/record", Phase.REMOVE, LOCAL, "record", change.reason, (change,), (ForgetCluster(),), needs
    )
