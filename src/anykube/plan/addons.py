"""Phase four: objects in the cluster, by server-side apply, and the wait until they work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from anykube.addons.catalog import objects, workloads
from anykube.addons.references import reference
from anykube.facts.kubernetes import KubernetesFacts
from anykube.plan.effects import ApplyObjects, DeleteObjects, WaitFor
from anykube.plan.model import CLUSTER, Change, Phase, Step
from anykube.spec.model import Cluster
from anykube.spec.nodes import Node

WORKLOAD_SECONDS = 180.0
NODE_SECONDS = 120.0
SHOWN_DIFFERENCES = 3
NODE_LABELS = "nodes"
"""The addon that labels Node objects: a kubelet must have registered its Node before."""


def plan_addons(
    cluster: Cluster, nodes: Sequence[Node], endpoint: str, facts: KubernetesFacts
) -> tuple[Step, ...]:
    """Apply what differs per addon, remove what we applied earlier and is not wanted, then wait."""
    wanted = dict(objects(cluster, nodes, endpoint))
    labels = wanted.pop(NODE_LABELS, ())
    applies = tuple(_apply(addon, parts, facts) for addon, parts in wanted.items())
    names = {reference(part) for parts in wanted.values() for part in parts}
    prune = _prune((*sorted(facts.inventory - names), *_gone(nodes, facts)), tuple(s.id for s in applies))
    needs = tuple(step.id for step in (*applies, prune))
    kubelets = tuple(node.name for node in nodes if node.kubelet)
    ready = _nodes_ready(kubelets, facts, needs)
    return (
        *applies,
        prune,
        *(_workload(name, facts, applies, needs) for name in workloads(cluster)),
        ready,
        replace(_apply(NODE_LABELS, labels, facts), needs=(ready.id,)),
    )


def _apply(addon: str, parts: Sequence[Mapping[str, Any]], facts: KubernetesFacts) -> Step:
    identity = f"{CLUSTER}/{addon}"
    changes: list[Change] = []
    differing: list[Mapping[str, Any]] = []
    for part in parts:
        name = reference(part)
        found = facts.objects.get(name)
        if found is None or not found.present:
            changes.append(Change("create", "object", name, "missing"))
        elif found.differences:
            shown = ", ".join(found.differences[:SHOWN_DIFFERENCES])
            more = len(found.differences) - SHOWN_DIFFERENCES
            suffix = f" and {more} more" if more > 0 else ""
            changes.append(Change("update", "object", name, f"differs in {shown}{suffix}"))
        else:
            continue
        differing.append(part)
    if not differing:
        return Step(identity, Phase.ADDONS, CLUSTER, addon, "as it should be")
    effect = ApplyObjects(tuple(differing))
    return Step(identity, Phase.ADDONS, CLUSTER, addon, changes[0].reason, tuple(changes), (effect,))


def _gone(nodes: Sequence[Node], facts: KubernetesFacts) -> tuple[str, ...]:
    """Node objects of machines of ours that are not in the object any more."""
    wanted = {node.name for node in nodes}
    return tuple(
        f"Node//{name}" for name, node in sorted(facts.nodes.items()) if node.pool and name not in wanted
    )


def _prune(surplus: Sequence[str], needs: tuple[str, ...]) -> Step:
    identity = f"{CLUSTER}/prune"
    if not surplus:
        return Step(identity, Phase.ADDONS, CLUSTER, "prune", "nothing left over", needs=needs)
    reason = "applied earlier, not in the object any more"
    changes = tuple(Change("delete", "object", name, reason) for name in surplus)
    effect = DeleteObjects(tuple(surplus))
    return Step(identity, Phase.ADDONS, CLUSTER, "prune", reason, changes, (effect,), needs)


def _workload(name: str, facts: KubernetesFacts, applies: Sequence[Step], needs: tuple[str, ...]) -> Step:
    identity = f"{CLUSTER}/{name} ready"
    found = facts.workloads.get(name)
    touched = any(change.subject == name for step in applies for change in step.changes)
    if found and found.ready >= found.wanted and not touched:
        return Step(
            identity, Phase.ADDONS, CLUSTER, name, f"{found.ready} of {found.wanted} ready", needs=needs
        )
    reason = "applied in this run" if touched or not found else f"{found.ready} of {found.wanted} ready"
    change = Change("wait", "condition", f"{name} ready", reason)
    wait = WaitFor("workload-ready", name, WORKLOAD_SECONDS)
    return Step(identity, Phase.ADDONS, CLUSTER, name, reason, (change,), (wait,), needs)


def _nodes_ready(names: tuple[str, ...], facts: KubernetesFacts, needs: tuple[str, ...]) -> Step:
    identity = f"{CLUSTER}/nodes-ready"
    waiting = tuple(name for name in names if name not in facts.nodes or not facts.nodes[name].ready)
    if not waiting:
        return Step(identity, Phase.ADDONS, CLUSTER, "nodes", "all are Ready", needs=needs)
    changes = tuple(Change("wait", "condition", f"{name} Ready", _why(name, facts)) for name in waiting)
    effects = tuple(WaitFor("node-ready", name, NODE_SECONDS) for name in waiting)
    return Step(identity, Phase.ADDONS, CLUSTER, "nodes", "not all are Ready", changes, effects, needs)


def _why(name: str, facts: KubernetesFacts) -> str:
    node = facts.nodes.get(name)
    return (node.reason or "NotReady") if node else "not registered yet"
