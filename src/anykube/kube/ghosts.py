"""What a restored cluster remembers of nodes that are no more: their Nodes, their leases, pods bound to them.

A pod on a vanished node would count as ready for a minute, and hold its place in Deployments and Services
(kubernetes/kubernetes#131115); nobody there could end it, so it goes at once.
"""

from __future__ import annotations

from collections.abc import Collection

from anykube.addons.references import reference
from anykube.kube.client import KubeClient
from anykube.kube.parse import node_facts

LEASES = "kube-node-lease"


async def clear_ghosts(client: KubeClient, keep: Collection[str]) -> None:
    """Delete anykube's Nodes that are not in `keep`, their leases, and all pods of Nodes that do not exist.

    A Node that anykube did not label belongs to somebody else, and stays.
    """
    nodes = [node_facts(item) for item in await client.list_objects("Node")]
    gone = [node.name for node in nodes if node.pool and node.name not in keep]
    for name in gone:
        await client.delete(f"Node//{name}")
        await client.delete(f"Lease/{LEASES}/{name}")
    left = {node.name for node in nodes} - set(gone)
    for pod in await client.list_objects("Pod"):
        bound = pod.get("spec", {}).get("nodeName", "")
        if bound and bound not in left:
            await client.delete(reference(pod), at_once=True)
