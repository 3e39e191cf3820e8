"""Phase one: which software the cluster needs, and what of it is not yet locked and stored here."""

from __future__ import annotations

from anykube.facts.cluster import Facts
from anykube.plan.effects import FetchArtifacts
from anykube.plan.model import LOCAL, Change, Phase, Step
from anykube.spec.catalog import CNI_BINARIES, CONTROL_PLANE_BINARIES, ETCD_BINARIES, NODE_BINARIES
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes

STEP = f"{LOCAL}/artifacts"


def needed(cluster: Cluster) -> tuple[str, ...]:
    """Names of all artifacts that this object needs, sorted."""
    spec, wanted = cluster.spec, nodes(cluster)
    names = {*NODE_BINARIES, *CNI_BINARIES, "image-pause"}
    if any(node.control_plane for node in wanted):
        names.update(CONTROL_PLANE_BINARIES)
    if any(node.etcd for node in wanted):
        names.update(ETCD_BINARIES)
    if spec.network.cni.flannel:
        names.add("image-flannel")
    if spec.addons.dns:
        names.add("image-coredns")
    if spec.addons.metrics:
        names.add("image-metrics-server")
    return tuple(sorted(names))


def plan_artifacts(cluster: Cluster, facts: Facts, arch: str) -> tuple[Step, ...]:
    """One step: everything that is not locked, or locked and not in the store."""
    names = needed(cluster)
    changes = tuple(
        Change("create", "artifact", name, reason)
        for name in names
        if (reason := _missing(name, cluster, facts, arch))
    )
    if not changes:
        return (Step(STEP, Phase.ARTIFACTS, LOCAL, "artifacts", "all artifacts are locked and stored"),)
    effect = FetchArtifacts(
        kubernetes=cluster.spec.kubernetes.version,
        arch=arch,
        names=names,
        source=cluster.spec.artifacts.source,
        mirror=cluster.spec.artifacts.mirror,
    )
    reason = f"{len(changes)} of {len(names)} artifacts are not here"
    return (Step(STEP, Phase.ARTIFACTS, LOCAL, "artifacts", reason, changes, (effect,)),)


def _missing(name: str, cluster: Cluster, facts: Facts, arch: str) -> str:
    lock = facts.lock
    version = cluster.spec.kubernetes.version
    if lock is None:
        return "not locked yet"
    if lock.kubernetes != version or lock.arch != arch:
        return f"locked for Kubernetes {lock.kubernetes} on {lock.arch}"
    if name not in lock.artifacts:
        return "not locked yet"
    if lock.artifacts[name].sha256 not in facts.stored:
        return "locked, but not in the store"
    return ""
