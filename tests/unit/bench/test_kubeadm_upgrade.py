"""The order of kubeadm's documented upgrade, and the names under which new software waits."""

from __future__ import annotations

from typing import Any, cast

import pytest
from bench.kubeadm import Kubeadm
from bench.kubeadm_upgrade import upgrade, with_next

from anykube.facts.artifacts import ArtifactLock, LockedArtifact


class Rival:
    """Notes what is run where, in short."""

    def __init__(self) -> None:
        self.said: list[str] = []

    async def on(self, node: str, *argv: str, **_: Any) -> None:
        words = [word for word in argv if not word.startswith("--")]
        line = " ".join(words).removeprefix("sh -c ")
        placed = line.startswith("cp ")
        self.said.append(f"{node}: place {line.split()[-1]}" if placed else f"{node}: {line}")


@pytest.mark.parametrize("drain", [True, False])
async def test_one_node_after_the_other(drain: bool) -> None:
    rival = Rival()
    await upgrade(cast(Kubeadm, rival), ["cp-1", "cp-2"], ["worker-1"], "1.36.3", drain=drain)
    wanted = []
    for node, verb in (("cp-1", "apply v1.36.3"), ("cp-2", "node"), ("worker-1", "node")):
        wanted += [f"{node}: place /usr/local/bin/kubeadm", f"{node}: kubeadm upgrade {verb}"]
        wanted += [f"cp-1: kubectl drain {node}"] * drain
        wanted += [f"{node}: place /usr/local/bin/kubectl"]
        wanted += [f"{node}: systemctl daemon-reload && systemctl restart kubelet"]
        wanted += [f"cp-1: kubectl uncordon {node}"] * drain
    assert rival.said == wanted


def lock(version: str) -> ArtifactLock:
    names: tuple[str, ...] = ("kubeadm", "kubelet", "kubectl", "image-kube-apiserver")
    names += ("image-kube-controller-manager", "image-kube-scheduler", "image-kube-proxy", "etcd")
    made = {
        name: LockedArtifact(name, version, "amd64", "binary", "built", version.replace(".", "") * 16, 1)
        for name in names
    }
    return ArtifactLock(version, "amd64", made)


def test_both_versions_are_locked_beside_each_other() -> None:
    both = with_next(lock("1.36.1"), lock("1.36.3"))
    assert both.kubernetes == "1.36.1"
    assert both.artifacts["kubelet"].version == "1.36.1"
    assert both.artifacts["kubelet-next"].version == "1.36.3"
    assert all(item.name == name for name, item in both.artifacts.items())
    assert "etcd-next" not in both.artifacts
