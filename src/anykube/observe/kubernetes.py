"""The cluster as its API shows it, beside the objects it should hold. Reads only: every apply is a dry run.

One list per kind finds what is ours (our labels, and applied by us) and with it the live objects; one dry run
per object finds what an apply would change. Requests run at once; the client bounds how many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from anykube.addons.build import ADDON, MANAGED_BY, MANAGER
from anykube.addons.references import KINDS, Object, reference
from anykube.errors import KubeBusyError, KubeError, TransportError
from anykube.facts.differences import differences
from anykube.facts.kubernetes import KubernetesFacts, NodeFacts, ObjectFacts, PodFacts, WorkloadFacts
from anykube.kube.client import KubeClient
from anykube.kube.parse import lease_facts, node_facts, request_cas, root_ca_digest, workload_facts
from anykube.kube.pods import budget_name, disruptions_allowed, evictable, pod_facts
from anykube.plan.distrust import REQUEST_CAS

OURS = f"{MANAGED_BY}={MANAGER},{ADDON}"
LOOKS = 3
"""Times an object is compared while others keep writing to it."""
ELECTORS = ("kube-scheduler", "kube-controller-manager")
"""Components of which one instance leads; each names it in a Lease of its own name in kube-system."""
ROOT_CA = "kube-root-ca.crt"
"""The ConfigMap of every namespace from which pods know the API servers' CA."""
CREATED_KINDS = tuple(name for name, kind in KINDS.items() if kind.created)

T = TypeVar("T")


async def observe_kubernetes(
    client: KubeClient,
    objects: Sequence[Mapping[str, Any]],
    workloads: Sequence[str],
    leaves: Callable[[NodeFacts], bool] = lambda node: False,
) -> KubernetesFacts:
    """Everything about the cluster. One that is not ready, or stops answering, is `KubernetesFacts()`.

    `leaves` tells which nodes are about to be drained: only their pods are looked at.
    """
    if not await client.ready():
        return KubernetesFacts()
    try:
        return await _observe(client, objects, workloads, leaves)
    except (TransportError, KubeBusyError):
        return KubernetesFacts()


async def _observe(
    client: KubeClient,
    objects: Sequence[Mapping[str, Any]],
    workloads: Sequence[str],
    leaves: Callable[[NodeFacts], bool],
) -> KubernetesFacts:
    version = await client.version()
    nodes, *lists = await _together(
        [
            client.list_objects("Node"),
            *(client.list_objects(kind, labels=OURS) for kind in CREATED_KINDS),
        ]
    )
    ours = {reference(item): item for items in lists for item in items}
    live = ours | {reference(node): node for node in nodes}
    compared = await _together([_compare(client, live.get(reference(thing)), thing) for thing in objects])
    leases = await _together([client.get(f"Lease/kube-system/{name}") for name in ELECTORS])
    roots = await client.list_objects("ConfigMap", fields=f"metadata.name={ROOT_CA}")
    requests = await client.get(REQUEST_CAS)
    known = {node["metadata"]["name"]: node_facts(node) for node in nodes}
    pods, budgets = await _leaving(client, [node.name for node in known.values() if leaves(node)])
    return KubernetesFacts(
        ready=True,
        version=version,
        nodes=known,
        objects=dict(zip(map(reference, objects), compared, strict=True)),
        workloads=_workloads(live, workloads),
        inventory={
            name: item["metadata"]["labels"][ADDON] for name, item in ours.items() if _applied_by_us(item)
        },
        pods_on=pods,
        budgets=budgets,
        leases={
            name: facts
            for name, lease in zip(ELECTORS, leases, strict=True)
            if lease and (facts := lease_facts(lease))
        },
        root_cas=frozenset(map(root_ca_digest, roots)),
        request_cas=request_cas(requests or {}),
    )


async def _leaving(
    client: KubeClient, names: Sequence[str]
) -> tuple[dict[str, tuple[PodFacts, ...]], dict[str, int]]:
    """What drains of these nodes will meet; nothing is asked when there are none."""
    if not names:
        return {}, {}
    budgets, *pods = await _together(
        [
            client.list_objects("PodDisruptionBudget"),
            *(client.list_objects("Pod", fields=f"spec.nodeName={name}") for name in names),
        ]
    )
    found = {
        name: tuple(pod_facts(pod, budgets) for pod in on_node if evictable(pod))
        for name, on_node in zip(names, pods, strict=True)
    }
    return found, {budget_name(budget): disruptions_allowed(budget) for budget in budgets}


async def _compare(client: KubeClient, found: Object | None, wanted: Mapping[str, Any]) -> ObjectFacts:
    # One whose labels were taken away by hand is not in the lists.
    name = reference(wanted)
    live = found or await client.get(name)
    changed: tuple[str, ...] = ()
    for _ in range(LOOKS):
        if live is None:
            return ObjectFacts(present=False)
        try:
            applied = await client.apply(wanted, dry_run=True)
        except KubeError as error:
            # A field that cannot be changed back (a selector, an address), or a namespace on its way out.
            return ObjectFacts(present=True, differences=(f"refused: {'; '.join(error.evidence)}",))
        changed = differences(live, applied)
        again = await client.get(name) if changed else live
        if not changed or (again is not None and _version(again) == _version(live)):
            break
        # Somebody wrote between our two looks (a kubelet, flannel): that is no difference to the object.
        live = again
    return ObjectFacts(present=True, differences=changed)


def _version(thing: Object) -> str:
    return str(thing["metadata"].get("resourceVersion", ""))


def _workloads(live: Mapping[str, Object], names: Sequence[str]) -> dict[str, WorkloadFacts]:
    return {name: workload_facts(live[name]) for name in names if name in live}


def _applied_by_us(item: Object) -> bool:
    """Whether the API server noted an apply by anykube: labels alone may have been copied by a person."""
    entries = item["metadata"].get("managedFields", ())
    return any(entry.get("manager") == MANAGER and entry.get("operation") == "Apply" for entry in entries)


async def _together(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Do all at once. The first error ends the others and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(part) for part in work]
    except ExceptionGroup as group_error:
        raise group_error.exceptions[0] from None
    return [task.result() for task in tasks]
