"""The permissions that a new cluster lacks, and what the API knows of each node. Pure.

Kubernetes brings most default roles itself. What is missing is who may administer, and that the API server
may ask kubelets (logs, exec, metrics).
"""

from __future__ import annotations

from collections.abc import Sequence

from anykube.addons.build import cluster_role_binding, principal, thing
from anykube.addons.references import Object
from anykube.spec.nodes import Node

ADMINISTRATORS = "anykube:cluster-admins"
"""The group in the certificates of people. Unlike system:masters it can be taken away again."""
KUBELET_CLIENT = "kube-apiserver-kubelet-client"
"""The common name that the API server shows to kubelets."""
POOL_LABEL = "anykube.dev/pool"
DRAIN_ANNOTATION = "anykube.dev/drain"
"""On a Node that anykube cordoned: only such a node is uncordoned by it."""


def core_objects() -> tuple[Object, ...]:
    """Who may administer the cluster, and who may ask kubelets."""
    return (
        cluster_role_binding(ADMINISTRATORS, "cluster-admin", principal("Group", ADMINISTRATORS)),
        cluster_role_binding(
            "anykube:kubelet-api-admin", "system:kubelet-api-admin", principal("User", KUBELET_CLIENT)
        ),
    )


def node_objects(nodes: Sequence[Node]) -> tuple[Object, ...]:
    """Labels of each node that runs pods: its roles, its pool, and those of the pool.

    A kubelet may not give itself a role label (NodeRestriction), and gives other labels only when it
    registers: so all are applied here, where a change is seen and repaired. Taints are not: their list is
    one field, and Kubernetes puts its own taints into it.
    """
    return tuple(thing("Node", node.name, labels=_labels(node)) for node in nodes if node.kubelet)


def _labels(node: Node) -> dict[str, str]:
    roles = {f"node-role.kubernetes.io/{role}": "" for role in node.roles}
    return {**node.labels, **roles, POOL_LABEL: node.pool}
