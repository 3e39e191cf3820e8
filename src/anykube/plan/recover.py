"""The steps that make etcd anew from one member or from a snapshot. Pure.

Asked for by name only: by `recover` when etcd has lost its quorum, by plan/restore.py also when it has one.
plan/recoverable.py says whether it may be. plan/membership.py lets the others join again, in the phases that
follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from anykube.content.etcd import NAME as ETCD_NAME
from anykube.content.etcd import SERVICE, peer_url
from anykube.content.paths import ETCD
from anykube.facts.cluster import Facts
from anykube.facts.host import HostFacts
from anykube.facts.snapshot import SnapshotFacts
from anykube.plan.blueprint import Blueprint
from anykube.plan.effects import BeginAnew, Effect, HaltUnits, SetAsideEtcd, SetUnit, UnpackSnapshot
from anykube.plan.model import Change, Phase, PhasePlan, Plan, Step
from anykube.plan.order import checked
from anykube.plan.recoverable import Recovery, affected
from anykube.spec.model import Cluster

SERVERS = ("kube-apiserver.service", "kube-controller-manager.service", "kube-scheduler.service")
"""What must not go on with what it remembers of an etcd that is no more."""
KUBELET = "kubelet.service"
ASIDE = f"kept in {ETCD}/aside-*"


def plan_recover(cluster: Cluster, facts: Facts, blueprint: Blueprint, asked: Recovery) -> Plan:
    """The one phase of recover. PlanError if it could do harm, or if there is nothing to recover."""
    running = affected(cluster, facts, blueprint, asked)
    if running is None:
        reason = "serves there as the only member already; the others join as with apply"
        return _plan(cluster, (Step(f"{asked.node}/recover", Phase.RECOVER, asked.node, ETCD_NAME, reason),))
    url = peer_url(blueprint.machines[asked.node].address)
    steps = begin_anew(asked, running, url, tuple(running_kubelets(facts)))
    return _plan(cluster, checked(tuple(steps)), tuple(_notes(asked, running, blueprint)))


def _plan(cluster: Cluster, steps: tuple[Step, ...], notes: tuple[str, ...] = ()) -> Plan:
    return Plan(cluster.name, (PhasePlan(Phase.RECOVER, steps, notes=notes),))


def begin_anew(
    asked: Recovery,
    running: Mapping[str, HostFacts],
    url: str,
    kubelets: tuple[str, ...],
    before: tuple[str, ...] = (),
) -> Iterator[Step]:
    """First what can fail without harm, then everything is stopped, then etcd begins anew.

    running: machines to be stopped, the chosen one first.  url: its peer URL.  before: steps that the first
    ones wait for.
    """
    if asked.snapshot:
        unpack = replace(_unpack(asked, asked.snapshot, url), needs=before)
        before = (unpack.id,)
        yield unpack
    stops = [_stop(asked, name, host, before) for name, host in running.items()]
    yield from stops
    old = running[asked.node].etcd_data
    begin = _begin(asked, (*before, *(step.id for step in stops)), old=old)
    yield begin
    if asked.snapshot:
        for name in kubelets:
            change = Change("restart", "unit", KUBELET, "it may remember what the snapshot does not know")
            yield _step(name, "kubelet", (change,), (SetUnit(name, KUBELET, "restarted"),), (begin.id,))


def _unpack(asked: Recovery, snapshot: SnapshotFacts, url: str) -> Step:
    told = f"of {snapshot.taken}, {snapshot.keys} keys, revision {snapshot.revision}"
    change = Change("create", "data", f"{ETCD}/restored-*", f"unpacked from {snapshot.file} {told}")
    effect = UnpackSnapshot(asked.node, snapshot.file, url, asked.token)
    return _step(asked.node, "unpack", (change,), (effect,), ())


def _stop(asked: Recovery, name: str, host: HostFacts, before: tuple[str, ...]) -> Step:
    units = [unit for unit in SERVERS if unit in host.ledger.units or unit in host.units]
    changes = [Change("stop", "unit", unit, "until etcd serves again") for unit in units]
    if host.etcd_data or SERVICE in host.ledger.units:
        why = "the snapshot takes its place" if asked.despite_quorum else "has no quorum"
        changes.append(Change("stop", "unit", SERVICE, why))
        units.append(SERVICE)
    effects: list[Effect] = [HaltUnits(name, tuple(units))] if units else []
    if name != asked.node and (host.etcd_data or host.etcd_born):
        changes.append(Change("move", "data", f"{ETCD}/member", f"is not the chosen copy; {ASIDE}"))
        effects.append(SetAsideEtcd(name))
    return _step(name, "stop", tuple(changes), tuple(effects), before)


def _begin(asked: Recovery, needs: tuple[str, ...], *, old: bool) -> Step:
    """old: whether there is data of a member now."""
    if asked.snapshot:
        kept = f"what is there is {ASIDE}; " if old else ""
        what = Change("move", "data", f"{ETCD}/member", f"{kept}the unpacked takes its place")
    else:
        what = Change("create", "data", f"{ETCD}/aside-*", "a copy of the data as it is")
    start = Change("start", "unit", SERVICE, "begins anew as the only member")
    effect = BeginAnew(asked.node, unpacked=asked.snapshot is not None)
    return _step(asked.node, "recover", (what, start), (effect,), needs, "the API is down until this is done")


def _step(
    node: str,
    name: str,
    changes: tuple[Change, ...],
    effects: tuple[Effect, ...],
    needs: tuple[str, ...],
    disruption: str = "",
) -> Step:
    reason = changes[0].reason if changes else "nothing of it is here"
    return Step(f"{node}/{name}", Phase.RECOVER, node, ETCD_NAME, reason, changes, effects, needs, disruption)


def running_kubelets(facts: Facts) -> Iterator[str]:
    for name, host in facts.hosts.items():
        if isinstance(host, HostFacts) and (unit := host.units.get(KUBELET)) and unit.running:
            yield name


def _notes(asked: Recovery, running: Mapping[str, HostFacts], blueprint: Blueprint) -> Iterator[str]:
    yield "then as apply: the API servers start, and the others join etcd again one after another"
    if asked.snapshot:
        yield f"everything written after {asked.snapshot.taken} is forgotten"
    elif len(running) < len(asked.lost) + 1:
        yield "what only the lost members had acknowledged is forgotten"
    unseen = [name for name, host in running.items() if host.etcd_data and host.etcd is None]
    if unseen and not asked.snapshot:
        yield f"how much is in the data of {', '.join(unseen)} cannot be seen: etcd does not answer there"
    if asked.lost:
        names = ", ".join(sorted(asked.lost))
        made = "deleted and made anew, with the data on them" if blueprint.creates else "left alone"
        yield f"named as lost: {names}; they are {made}. Never start an old disk of them again"
