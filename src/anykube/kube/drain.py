"""Taking the pods off a node before it goes: cordon, evict, wait. Used by execute/handlers.py.

Only the Eviction API is used, so that a PodDisruptionBudget is never broken; pods of DaemonSets, static pods
and finished ones stay. Any API server may answer, each look is a fresh one, and what fails is tried again
until time is up. A node whose kubelet is silent is not waited for: nobody there could end a pod, and when
its Node is deleted Kubernetes makes the pods again elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from anykube.addons.rbac import DRAIN_ANNOTATION
from anykube.addons.references import Object
from anykube.errors import AnykubeError, WaitError
from anykube.kube.client import KubeClient
from anykube.kube.pods import budget_name, covers, evictable, pod_name

INTERVAL = 0.5
"""Seconds between two rounds of evictions; kubectl waits five."""
SHOWN = 8

Progress = Callable[[int, int], None]
"""Pods that have gone, and all that were met."""


async def drain(
    client: KubeClient, node: str, seconds: float, mark: str, progress: Progress = lambda gone, met: None
) -> None:
    """Cordon the node and return when its pods are gone. `mark` is noted on a Node that is cordoned by us.

    WaitError when time is up, which names what blocks each pod; the node is uncordoned again then.
    """
    deadline = time.monotonic() + seconds
    reasons: dict[str, str] = {}
    cordoned = False
    met: set[str] = set()
    told = (0, 0)
    while True:
        try:
            cordoned = await _cordon(client, node, mark)
            pods = await _round(client, node, reasons)
        except AnykubeError as error:
            if not error.retryable:
                raise
            reasons[f"the API of {node}"] = " ".join((error.brief, *error.evidence[:1]))
        else:
            met |= set(pods)
            now = (len(met) - len(pods), len(met))
            if now != told:
                progress(*now)
                told = now
            if not pods:
                return
        if time.monotonic() >= deadline:
            break
        await asyncio.sleep(min(INTERVAL, max(deadline - time.monotonic(), 0.05)))
    if cordoned:
        await _try_uncordon(client, node, reasons)
    raise WaitError(
        f"{node} could not be drained within {seconds:.0f} s"
        + ("; it takes pods again." if cordoned else "."),
        evidence=_evidence(reasons),
        remedy="make room (more replicas, a lower minAvailable) or delete those pods, then run it again; "
        "--drain-timeout waits longer",
    )


async def uncordon(client: KubeClient, node: str) -> None:
    """Let pods come again, if it was anykube that cordoned the node."""
    found = await client.get(f"Node//{node}")
    if found is not None and _marked(found):
        patch = {"metadata": {"annotations": {DRAIN_ANNOTATION: None}}, "spec": {"unschedulable": None}}
        await client.merge(f"Node//{node}", patch)


async def _cordon(client: KubeClient, node: str, mark: str) -> bool:
    """Whether the node is cordoned by us now. One that a person cordoned stays theirs."""
    found = await client.get(f"Node//{node}")
    if found is None:
        return False
    if found.get("spec", {}).get("unschedulable"):
        return _marked(found)
    patch = {"metadata": {"annotations": {DRAIN_ANNOTATION: mark}}, "spec": {"unschedulable": True}}
    return await client.merge(f"Node//{node}", patch)


def _marked(node: Object) -> bool:
    return DRAIN_ANNOTATION in (node["metadata"].get("annotations") or {})


async def _round(client: KubeClient, node: str, reasons: dict[str, str]) -> Sequence[str]:
    """One look, one eviction per pod. The pods that are still there; fills in what blocks them."""
    found = await client.get(f"Node//{node}")
    if found is None or _silent(found):
        return ()
    pods = [pod for pod in await client.list_objects("Pod", fields=f"spec.nodeName={node}") if evictable(pod)]
    said = await asyncio.gather(*(_evict(client, pod) for pod in pods))
    reasons.clear()
    reasons.update({pod_name(pod): why for pod, why in zip(pods, said, strict=True)})
    if any(why and "deletionTimestamp" not in pod["metadata"] for pod, why in zip(pods, said, strict=True)):
        budgets = await client.list_objects("PodDisruptionBudget")
        reasons.update(_blocked(pods, budgets))
    return tuple(reasons)


def _silent(node: Object) -> bool:
    """Whether its kubelet has stopped to report: 'Unknown' is said by the control plane, after 40 s or so."""
    conditions = node.get("status", {}).get("conditions") or ()
    return any(one.get("type") == "Ready" and one.get("status") == "Unknown" for one in conditions)


async def _evict(client: KubeClient, pod: Object) -> str:
    """Have one pod end; says what it waits for."""
    metadata = pod["metadata"]
    if "deletionTimestamp" in metadata:
        if finalizers := metadata.get("finalizers"):
            return f"is ending, and waits for its finalizers: {', '.join(finalizers)}"
        grace = metadata.get("deletionGracePeriodSeconds", 0)
        return f"is ending since it was evicted; it may take {grace} s, or its containers do not stop"
    return await client.evict(metadata["namespace"], metadata["name"], metadata["uid"]) or "is ending"


def _blocked(pods: Sequence[Object], budgets: Sequence[Object]) -> Mapping[str, str]:
    """For each pod that is not ending, the budgets that cover it and do not let it go."""
    found: dict[str, str] = {}
    for pod in pods:
        own = [budget for budget in budgets if covers(budget, pod)]
        if own and "deletionTimestamp" not in pod["metadata"]:
            found[pod_name(pod)] = "is held by " + ", ".join(_told(budget) for budget in own)
    return found


def _told(budget: Object) -> str:
    status = budget.get("status", {})
    healthy, needed = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    return f"PodDisruptionBudget {budget_name(budget)} ({healthy} healthy, {needed} needed)"


async def _try_uncordon(client: KubeClient, node: str, reasons: dict[str, str]) -> None:
    try:
        await uncordon(client, node)
    except AnykubeError as error:
        reasons[node] = f"stays cordoned until the next apply: {error.brief}"


def _evidence(reasons: Mapping[str, str]) -> list[str]:
    shown = [f"{name} {why}" for name, why in list(reasons.items())[:SHOWN]]
    more = len(reasons) - len(shown)
    return [*shown, f"and {more} more"] if more > 0 else shown
