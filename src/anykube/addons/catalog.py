"""All addons of a cluster: the objects it should hold, in the order they are applied, and what is waited for.

Pure, and an input of plan/addons.py. Nothing lists what was applied: every object carries our labels, and the
API notes who applied it (observe/kubernetes.py), so that no interruption can leave an object unaccounted for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from anykube.addons import dns, flannel, metrics, rbac
from anykube.addons.build import owned, trusting
from anykube.addons.references import Object
from anykube.spec.endpoint import ApiEndpoint
from anykube.spec.model import Cluster
from anykube.spec.nodes import Node


def objects(
    cluster: Cluster, nodes: Sequence[Node], endpoint: ApiEndpoint, trust: str = ""
) -> Mapping[str, tuple[Object, ...]]:
    """The objects of each addon that is on. `endpoint`: how the API is reached. `trust` changes when pods
    must be replaced because of whom they trust (plan/distrust.py).

    'nodes' holds labels of Node objects, which belong to their kubelets: they are never made or deleted
    by an apply, and do not carry our labels.
    """
    spec = cluster.spec
    found = {"core": owned("core", rbac.core_objects())}
    if spec.network.cni.flannel is not None:
        network = flannel.flannel_objects(cluster, spec.network.cni.flannel, endpoint)
        found["flannel"] = owned("flannel", network)
    if spec.addons.dns is not None:
        found["dns"] = owned("dns", dns.dns_objects(cluster, spec.addons.dns))
    if spec.addons.metrics is not None:
        found["metrics"] = owned("metrics", metrics.metrics_objects(cluster))
    if trust:
        found = {addon: tuple(trusting(item, trust) for item in items) for addon, items in found.items()}
    found["nodes"] = rbac.node_objects(nodes)
    return found


LOSSES = {
    "dns": "pods find no name any more, in the cluster or outside",
    "metrics": "`kubectl top` ends, and HorizontalPodAutoscalers scale no more",
}
"""What users lose when an addon is turned off."""


def workloads(cluster: Cluster) -> tuple[str, ...]:
    """References of the workloads that must run before the cluster is ready, in the order of addons."""
    spec = cluster.spec
    wanted = (
        (flannel.WORKLOAD, spec.network.cni.flannel),
        (dns.WORKLOAD, spec.addons.dns),
        (metrics.WORKLOAD, spec.addons.metrics),
    )
    return tuple(workload for workload, option in wanted if option is not None)
