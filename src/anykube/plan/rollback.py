"""An upgrade across minor versions that has begun goes back to the snapshot that it began with. Pure.

It is a restore (plan/restore.py) on the same machines, from a file that lies on one of them. As newer
software has served here, two things are done in another order, in RECOVER:

  unpack the snapshot > stop API servers, etcd, kubelets, kube-proxies > the old etcd takes its place, starts

So no older etcd meets what a newer one wrote, and no kubelet is newer than the API server that it finds
(https://kubernetes.io/releases/version-skew-policy/). What follows is apply, with the old version.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from anykube.content.etcd import NAME as ETCD
from anykube.content.paths import install_path
from anykube.facts.cluster import Facts
from anykube.facts.host import HostFacts
from anykube.facts.record import Record
from anykube.plan.blueprint import Blueprint
from anykube.plan.effects import Effect, HaltUnits, PlaceFiles, PutFiles, StageFiles
from anykube.plan.model import Change, Phase, PhasePlan, Plan, Step
from anykube.plan.order import checked
from anykube.plan.restore import Restore, plan_restore
from anykube.spec.model import Cluster

AGENTS = ("kubelet.service", "kube-proxy.service")
"""What may not be newer than any API server, on every node."""
SERVER = install_path(ETCD)


def plan_rollback(
    cluster: Cluster,
    facts: Facts,
    record: Record,
    blueprint: Blueprint,
    previous: Cluster | None,
    asked: Restore,
) -> Plan:
    """ARTIFACTS, PROVISION and RECOVER, without what is done already. `cluster` has the version of before.

    PlanError as with a restore.
    """
    made = plan_restore(cluster, facts, record, blueprint, previous, asked)
    node = asked.recovery.node
    notes = tuple(_notes(cluster.spec.kubernetes.version))
    phases = (
        _in_order(phase, node, facts, notes) if phase.phase is Phase.RECOVER else phase
        for phase in made.phases
    )
    return replace(made, phases=tuple(phases))


def _in_order(phase: PhasePlan, node: str, facts: Facts, notes: tuple[str, ...]) -> PhasePlan:
    if not phase.pending:
        return phase
    steps = {step.id: step for step in phase.steps}
    # They take the place of the restarts that come after a restore: apply starts what is stopped.
    pauses = {step.id: step for step in _pauses(facts, f"{node}/unpack")}
    steps |= pauses
    prepared, begin = _held_back(steps[f"{node}/{ETCD}"], steps[f"{node}/recover"])
    steps[prepared.id] = prepared
    steps[begin.id] = replace(begin, needs=(*begin.needs, *pauses))
    return replace(phase, steps=checked(steps.values()), notes=(*phase.notes, *notes))


def _pauses(facts: Facts, need: str) -> Iterator[Step]:
    """Kubelets and kube-proxies of all nodes stop: of the new version, or without a server to ask anyway."""
    for name, units in _agents(facts).items():
        reason = "until its API servers are of the old version again; pods go on running"
        changes = tuple(Change("stop", "unit", unit, reason) for unit in units)
        effects = (HaltUnits(name, units),)
        yield Step(f"{name}/kubelet", Phase.RECOVER, name, "kubelet", reason, changes, effects, (need,))


def _agents(facts: Facts) -> Mapping[str, tuple[str, ...]]:
    found = {
        name: tuple(unit for unit in AGENTS if unit in host.units and host.units[unit].running)
        for name, host in facts.hosts.items()
        if isinstance(host, HostFacts)
    }
    return {name: units for name, units in found.items() if units}


def _held_back(prepared: Step, begin: Step) -> tuple[Step, Step]:
    """The old etcd lies ready on the node, and takes the place of the newer one only when that has stopped:
    were it restarted in between, by systemd or a power cut, it would open the newer one's data."""
    early: list[Effect] = []
    late: list[Effect] = []
    for effect in prepared.effects:
        if not isinstance(effect, PutFiles) or SERVER not in {file.path for file in effect.files}:
            early.append(effect)
            continue
        server = tuple(file for file in effect.files if file.path == SERVER)
        others = tuple(file for file in effect.files if file.path != SERVER)
        early += [replace(effect, files=others), StageFiles(effect.node, server)]
        late.append(PlaceFiles(effect.node, server))
    held = tuple(change for change in prepared.changes if change.subject == SERVER)
    left = tuple(change for change in prepared.changes if change.subject != SERVER)
    prepared = replace(prepared, changes=left, effects=tuple(early))
    return prepared, replace(begin, changes=(*held, *begin.changes), effects=(*late, *begin.effects))


def _notes(version: str) -> Iterator[str]:
    yield (
        f"kubelets and kube-proxies stop on all nodes until API servers of {version} serve, so that none is "
        "newer than its server; pods go on running, and those made since then end when kubelets are back"
    )
    yield "data in volumes is not touched"
