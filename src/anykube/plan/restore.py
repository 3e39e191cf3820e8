"""The cluster goes back to a snapshot of etcd, however it is now: the phases up to that moment. Pure.

The machines come first, as with apply, so that it does not matter whether they are the same as before.
Then, in RECOVER: one node gets all that its etcd needs, and the snapshot; the others stop; etcd begins anew
there. What follows is apply: servers start, other members join as they always do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from anykube.content.certificates import certificate_requests, secret_requests
from anykube.content.etcd import NAME as ETCD
from anykube.content.etcd import peer_url
from anykube.content.model import File, LocalFile
from anykube.content.system import NAME as SYSTEM
from anykube.facts.cluster import Facts
from anykube.facts.host import HostFacts
from anykube.facts.record import Record
from anykube.plan.assemble import plan
from anykube.plan.blueprint import Blueprint
from anykube.plan.bootstrap import API_READY, plan_nodes
from anykube.plan.certificates import plan_certificates, reissued
from anykube.plan.contexts import contexts, endpoint, known_hosts
from anykube.plan.effects import ClearGhosts, PutFiles, RemovePaths
from anykube.plan.model import CLUSTER, Change, Phase, PhasePlan, Plan, Step
from anykube.plan.order import checked
from anykube.plan.recover import ASIDE, begin_anew, running_kubelets
from anykube.plan.recoverable import Recovery, affected
from anykube.plan.rules import refuse_forbidden
from anykube.plan.upgrade import foreseen
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes

PRIVATE = "600"
BEFORE = (Phase.ARTIFACTS, Phase.PROVISION, Phase.RECOVER)
"""The phases of a restore, before those of apply."""


@dataclass(frozen=True, slots=True)
class Restore:
    """What was asked for.

    brought: the snapshot if it is here and not yet on the node; its place there is
    `recovery.snapshot.file`.  returns: whether there is a cluster that `restore --abort` could return to.
    """

    recovery: Recovery
    brought: LocalFile | None = None
    returns: bool = False


def plan_restore(
    cluster: Cluster,
    facts: Facts,
    record: Record,
    blueprint: Blueprint,
    previous: Cluster | None,
    asked: Restore,
) -> Plan:
    """ARTIFACTS, PROVISION and RECOVER, without what is done already. PlanError if it could do harm.

    Whatever versions run now, this is no upgrade and no downgrade: the data comes with its own.
    """
    refuse_forbidden(cluster, previous)
    ahead = plan(cluster, facts, replace(record, upgrade=None), blueprint)
    made = [ahead.phase(phase) for phase in BEFORE[:-1]]
    # A machine that does not exist yet is planned on what it will be, as everywhere.
    later = replace(facts, hosts={**known_hosts(facts, blueprint), **facts.hosts})
    if made[0].pending:
        later = replace(later, lock=foreseen(facts.lock, cluster))
    running = affected(cluster, later, blueprint, asked.recovery)
    if running is None:
        steps: tuple[Step, ...] = (_done(asked.recovery.node),)
    else:
        steps = checked(_steps(cluster, later, blueprint, asked, running))
    provisional = any(phase.pending for phase in made)
    notes = tuple(_notes(asked))
    return Plan(cluster.name, (*made, PhasePlan(Phase.RECOVER, steps, provisional, notes=notes)))


def _done(node: str) -> Step:
    reason = "has begun anew from this snapshot already"
    return Step(f"{node}/recover", Phase.RECOVER, node, ETCD, reason)


def _steps(
    cluster: Cluster, facts: Facts, blueprint: Blueprint, asked: Restore, running: Mapping[str, HostFacts]
) -> Iterator[Step]:
    node = asked.recovery.node
    prepared = tuple(_prepared(cluster, facts, blueprint, node))
    yield from prepared
    before = tuple(step.id for step in prepared)
    if asked.brought and asked.recovery.snapshot:
        place = File(asked.recovery.snapshot.file, asked.brought, PRIVATE)
        yield _bring(node, place, before)
        before = (f"{node}/snapshot",)
    url = peer_url(blueprint.addresses[node])
    yield from begin_anew(asked.recovery, running, url, tuple(running_kubelets(facts)), before)
    if asked.brought and asked.recovery.snapshot:
        yield _tidy(node, asked.recovery.snapshot.file)


def _prepared(cluster: Cluster, facts: Facts, blueprint: Blueprint, node: str) -> Iterator[Step]:
    """What etcd needs on a node, with the versions and certificates of the object; its unit is left alone."""
    requests = certificate_requests(
        cluster, nodes(cluster), blueprint.addresses, endpoint(cluster, blueprint)
    )
    certificates = plan_certificates(facts, secret_requests(cluster), requests)
    yield replace(certificates, phase=Phase.RECOVER)
    own = [
        context
        for context in contexts(cluster, blueprint.addresses, blueprint, known_hosts(facts, blueprint))
        if context.node.name == node
    ]
    planned = plan_nodes(own, known_hosts(facts, blueprint), facts, reissued(certificates), {})
    steps = {step.id: step for step in planned}
    yield replace(steps[f"{node}/{SYSTEM}"], phase=Phase.RECOVER)
    etcd = steps[f"{node}/{ETCD}"]
    yield replace(
        etcd,
        phase=Phase.RECOVER,
        changes=tuple(change for change in etcd.changes if change.kind == "file"),
        effects=tuple(effect for effect in etcd.effects if isinstance(effect, PutFiles)),
        disruption="",
    )


def _bring(node: str, file: File, needs: tuple[str, ...]) -> Step:
    change = Change("create", "file", file.path, "the snapshot of the archive")
    effects = (PutFiles(node, (file,)),)
    return Step(f"{node}/snapshot", Phase.RECOVER, node, "snapshot", change.reason, (change,), effects, needs)


def _tidy(node: str, path: str) -> Step:
    change = Change("delete", "file", path, "it is unpacked")
    effects = (RemovePaths(node, (path,)),)
    needs = (f"{node}/recover",)
    return Step(f"{node}/tidy", Phase.RECOVER, node, "snapshot", change.reason, (change,), effects, needs)


def _notes(asked: Restore) -> Iterator[str]:
    if asked.recovery.snapshot:
        kept = f"; what is there now is {ASIDE}" if asked.returns else ""
        yield f"everything written after {asked.recovery.snapshot.taken} is forgotten{kept}"
    yield "then as apply: the API servers start, and the others join etcd again one after another"
    if asked.returns:
        yield "until the first API server starts, anykube restore --abort returns to what is there now"


def with_ghosts_cleared(made: Plan, facts: Facts, blueprint: Blueprint) -> Plan:
    """The plan of an apply that follows a restore: as soon as the API is ready, what it remembers of machines
    that are no more goes, before anything counts on it."""
    keep = tuple(sorted({*blueprint.machines, *facts.site.machines}))
    reason = "the snapshot may know of machines that are no more"
    change = Change("delete", "object", "Nodes of other machines, and pods on them", reason)
    step = Step(
        f"{CLUSTER}/ghosts",
        Phase.BOOTSTRAP,
        CLUSTER,
        "ghosts",
        reason,
        (change,),
        (ClearGhosts(keep),),
        (API_READY,),
    )
    phases = [
        replace(phase, steps=checked((*phase.steps, step))) if phase.phase is Phase.BOOTSTRAP else phase
        for phase in made.phases
    ]
    return replace(made, phases=tuple(phases))
