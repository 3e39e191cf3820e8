"""Phase four: objects in the cluster, by server-side apply, and the wait until they work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from anykube.addons.catalog import objects, workloads
from anykube.addons.references import reference
from anykube.facts.kubernetes import KubernetesFacts
from anykube.plan.effects import ApplyObjects, UncordonNode, WaitFor
from anykube.plan.model import CLUSTER, Change, Phase, Step
from anykube.plan.removals import plan_removals
from anykube.spec.endpoint import ApiEndpoint
from anykube.spec.model import Cluster
from anykube.spec.nodes import Node

WORKLOAD_SECONDS = 180.0
NODE_SECONDS = 120.0
SHOWN_DIFFERENCES = 3
NODE_LABELS = "nodes"
"""The addon that labels Node objects: a kubelet must have registered its Node before."""


def plan_addons(
    cluster: Cluster,
    nodes: Sequence[Node],
    endpoint: ApiEndpoint,
    facts: KubernetesFacts,
    blocked: frozenset[str] = frozenset(),
    keys: tuple[Step, ...] = (),
    trust: str = "",
) -> tuple[Step, ...]:
    """Apply what differs per addon, remove what we applied earlier and is not wanted, then wait.

    `blocked` are nodes that nothing can be done for now: they are neither labelled nor waited for. `keys` are
    steps of plan/distrust.py, which come before pods are replaced; `trust` is its digest.
    """
    usable = tuple(node for node in nodes if node.name not in blocked)
    wanted = dict(objects(cluster, usable, endpoint, trust))
    labels = wanted.pop(NODE_LABELS, ())
    before = tuple(step.id for step in keys)
    applies = tuple(replace(_apply(addon, parts, facts), needs=before) for addon, parts in wanted.items())
    names = {reference(part) for parts in wanted.values() for part in parts}
    removals = plan_removals(facts.inventory, names, wanted, tuple(step.id for step in applies))
    needs = tuple(step.id for step in (*applies, *removals))
    ready = tuple(_node_ready(node.name, facts, needs) for node in usable if node.kubelet)
    return (
        *keys,
        *applies,
        *removals,
        *(
            _workload(name, facts, applies, needs, _absent(name, facts, usable))
            for name in workloads(cluster)
        ),
        *ready,
        *(_labels(thing, facts) for thing in labels),
        *(_uncordon(node.name, facts) for node in usable if node.kubelet),
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


def _labels(thing: Mapping[str, Any], facts: KubernetesFacts) -> Step:
    """A kubelet may not label its Node with roles, so the API does, once the Node is there."""
    name = str(thing["metadata"]["name"])
    applied = _apply(NODE_LABELS, (thing,), facts)
    return replace(applied, id=f"{name}/labels", target=name, title="labels", needs=(f"{name}/ready",))


def _uncordon(name: str, facts: KubernetesFacts) -> Step:
    """A drain that did not come to its end, by kill -9 or power cut, leaves a wanted node cordoned."""
    identity, needs = f"{name}/uncordon", (f"{name}/ready",)
    node = facts.nodes.get(name)
    if node is None or not node.draining:
        return Step(identity, Phase.ADDONS, name, "uncordon", "no drain to undo", needs=needs)
    reason = "cordoned by a drain that was not finished"
    change = Change("update", "node", name, f"uncordon: {reason}")
    return Step(identity, Phase.ADDONS, name, "uncordon", reason, (change,), (UncordonNode(name),), needs)


def _absent(workload: str, facts: KubernetesFacts, usable: Sequence[Node]) -> int:
    """Pods of a DaemonSet that nobody waits for: on nodes that do not run, and leave or are left alone."""
    if not workload.startswith("DaemonSet/"):
        return 0
    names = {node.name for node in usable}
    return sum(not node.ready and name not in names for name, node in facts.nodes.items())


def _workload(
    name: str, facts: KubernetesFacts, applies: Sequence[Step], needs: tuple[str, ...], absent: int
) -> Step:
    identity = f"{CLUSTER}/{name} ready"
    found = facts.workloads.get(name)
    touched = any(change.subject == name for step in applies for change in step.changes)
    if found and found.ready >= found.wanted - absent and not touched:
        return Step(
            identity, Phase.ADDONS, CLUSTER, name, f"{found.ready} of {found.wanted} ready", needs=needs
        )
    reason = "applied in this run" if touched or not found else f"{found.ready} of {found.wanted} ready"
    change = Change("wait", "condition", f"{name} ready", reason)
    wait = WaitFor("workload-ready", name, WORKLOAD_SECONDS, absent=absent)
    return Step(identity, Phase.ADDONS, CLUSTER, name, reason, (change,), (wait,), needs)


def _node_ready(name: str, facts: KubernetesFacts, needs: tuple[str, ...]) -> Step:
    identity = f"{name}/ready"
    node = facts.nodes.get(name)
    if node is not None and node.ready:
        return Step(identity, Phase.ADDONS, name, "Ready", "is Ready", needs=needs)
    reason = (node.reason or "NotReady") if node else "not registered yet"
    change = Change("wait", "condition", f"{name} Ready", reason)
    wait = WaitFor("node-ready", name, NODE_SECONDS)
    return Step(identity, Phase.ADDONS, name, "Ready", reason, (change,), (wait,), needs)
