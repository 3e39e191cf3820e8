"""kubeadm's documented upgrade of a cluster (bench/kubeadm.py), node by node, as fast as its pages allow.

  first control plane   new kubeadm, `kubeadm upgrade apply`; drain, new kubelet, restart, uncordon
  the other ones        the same with `kubeadm upgrade node`
  workers               the same, one after the other

Before the clock starts the new binaries are on the disks and the new images imported. Its checks are
skipped, and nothing is waited for but what its commands and `kubectl drain` wait for. Without `drain` its
pods stay: the pages have it in their steps, but a patch version does not need it.
https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-upgrade/ and .../upgrading-linux-nodes/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from anykube.content.paths import BINARIES
from anykube.facts.artifacts import ArtifactLock
from bench.kubeadm import ADMIN, SKIPPED, Kubeadm

REPLACED = ("kubeadm", "kubelet", "kubectl")
PODS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
KUBECTL = ("kubectl", f"--kubeconfig={ADMIN}")
NEXT = "-next"
"""After the name of an artifact: that of the next version."""
CHECKS = f"--skip-phases={SKIPPED}"


def with_next(lock: ArtifactLock, following: ArtifactLock) -> ArtifactLock:
    """A lock with what the next version's kubeadm needs beside, under names of its own."""
    names = (*REPLACED, *(f"image-{pod}" for pod in PODS))
    beside = {name + NEXT: following.artifacts[name] for name in names}
    renamed = {name: replace(item, name=name) for name, item in beside.items()}
    return ArtifactLock(lock.kubernetes, lock.arch, {**lock.artifacts, **renamed})


async def upgrade(
    rival: Kubeadm, planes: Sequence[str], workers: Sequence[str], version: str, *, drain: bool
) -> None:
    """Bring all nodes to a version. RuntimeError if a command fails."""
    for name in (*planes, *workers):
        await _place(rival, name, "kubeadm")
        first = name == planes[0]
        verb = ("apply", f"v{version}", "--yes") if first else ("node",)
        await rival.on(name, "kubeadm", "upgrade", *verb, CHECKS)
        if drain:
            leave = ("drain", name, "--ignore-daemonsets", "--delete-emptydir-data")
            await rival.on(planes[0], *KUBECTL, *leave)
        await _place(rival, name, "kubelet", "kubectl")
        await rival.on(name, "sh", "-c", "systemctl daemon-reload && systemctl restart kubelet")
        if drain:
            await rival.on(planes[0], *KUBECTL, "uncordon", name)


async def _place(rival: Kubeadm, node: str, *programs: str) -> None:
    """As a package does it: the new file beside the old, then in its place."""
    lines = (
        f"cp {BINARIES}/{name}{NEXT} {BINARIES}/.{name} && mv {BINARIES}/.{name} {BINARIES}/{name}"
        for name in programs
    )
    await rival.on(node, "sh", "-c", " && ".join(lines))
