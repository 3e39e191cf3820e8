"""What must hold on every node: the file parts of the CIS Kubernetes Benchmark 1.12, as data."""

from __future__ import annotations

from dataclasses import dataclass

from tests.e2e.story import Story


@dataclass(frozen=True, slots=True)
class Rule:
    """Files of one kind on a node. `paths` are shell patterns; `mode` is the most that may be allowed."""

    identity: str
    paths: str
    mode: int
    owner: str = "root:root"
    everywhere: bool = False
    """Also on nodes without control plane."""


FILES = (
    Rule("1.1.1", "/etc/systemd/system/kube-apiserver.service", 0o600),
    Rule("1.1.3", "/etc/systemd/system/kube-controller-manager.service", 0o600),
    Rule("1.1.5", "/etc/systemd/system/kube-scheduler.service", 0o600),
    Rule("1.1.7", "/etc/systemd/system/etcd.service", 0o600),
    Rule("1.1.9", "/etc/cni/net.d/*", 0o600, everywhere=True),
    Rule("1.1.11", "/var/lib/etcd", 0o700, "etcd:etcd"),
    Rule("1.1.15", "/etc/kubernetes/scheduler.conf", 0o600),
    Rule("1.1.17", "/etc/kubernetes/controller-manager.conf", 0o600),
    Rule("1.1.19", "/etc/kubernetes/pki", 0o755, everywhere=True),
    Rule("1.1.20", "/etc/kubernetes/pki/*.crt", 0o644, everywhere=True),
    Rule("1.1.21", "/etc/kubernetes/pki/*.key", 0o600, everywhere=True),
    Rule("1.1.21 of etcd", "/etc/etcd/pki/*.key", 0o600, "etcd:etcd"),
    Rule("1.2.16", "/var/log/kubernetes/*", 0o600),
    Rule("1.2.27", "/etc/kubernetes/encryption.yaml", 0o600),
    Rule("4.1.1", "/etc/systemd/system/kubelet.service", 0o600, everywhere=True),
    Rule("4.1.3", "/etc/kubernetes/kube-proxy.conf", 0o600, everywhere=True),
    Rule("4.1.5", "/etc/kubernetes/kubelet.conf", 0o600, everywhere=True),
    Rule("4.1.7", "/etc/kubernetes/pki/ca.crt", 0o644, everywhere=True),
    Rule("4.1.9", "/var/lib/kubelet/config.yaml", 0o600, everywhere=True),
)

CONTROL_PLANE_ONLY = (
    *("/etc/kubernetes/encryption.yaml", "/etc/kubernetes/pki/service-account.key"),
    *("/etc/kubernetes/pki/apiserver.key", "/etc/etcd"),
)
"""A worker that is broken into must not give these away."""


def breaches(story: Story, node: str, *, control_plane: bool) -> list[str]:
    """Everything on a node that the benchmark would find, in words."""
    found: list[str] = []
    for rule in FILES:
        if not (rule.everywhere or control_plane):
            continue
        shown = story.on(node, "sh", "-c", f"stat -c '%a %U:%G %n' {rule.paths}", check=False).splitlines()
        if not shown:
            found.append(f"{rule.identity}: no {rule.paths} on {node}")
        for line in shown:
            mode, owner, path = line.split(" ", 2)
            if int(mode, 8) & ~rule.mode or owner != rule.owner:
                found.append(f"{rule.identity}: {path} on {node} is {mode} {owner}")
    if not control_plane:
        kept = story.on(node, "sh", "-c", f"ls -d {' '.join(CONTROL_PLANE_ONLY)} 2>/dev/null", check=False)
        found += [f"{path} on {node}" for path in kept.splitlines()]
    return found
