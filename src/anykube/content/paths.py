"""Where things are on a node. The probe asks for these, the ledger holds those that we put there."""

from __future__ import annotations

BINARIES = "/usr/local/bin"
CNI_BINARIES = "/opt/cni/bin"
LIBRARY = "/usr/local/lib/anykube"
UNITS = "/etc/systemd/system"
KUBERNETES = "/etc/kubernetes"
PKI = "/etc/kubernetes/pki"
OWN_CONFIGS = "/etc/anykube"
"""Configurations of programs that are not part of Kubernetes."""
KUBELET = "/var/lib/kubelet"
CONTAINERD = "/var/lib/containerd"
ETCD = "/var/lib/etcd"
IMAGES = "/var/lib/anykube/images"

STATE = "/var/lib/anykube"
OWNER = "/var/lib/anykube/owner"
"""One line: '<lineage> <epoch>' of the newest run that changed this node (the fence)."""
LEDGER = "/var/lib/anykube/ledger"
"""Sorted lines such as 'file <path>': what anykube put here, and what that left (facts/ledger.py)."""
ORIGINALS = "/var/lib/anykube/originals"
"""Files of others that ours took the place of, named as stamps are; reset puts them back."""
STAMPS = "/var/lib/anykube/stamps"
"""One file per large file, named by its path with '/' as '%': '<size>:<mtime>:<ctime> <sha256>' (times as
2026-11-20T12:00:00.123456789, UTC), so that a binary is hashed once and not in every run; any change of the
file changes its ctime."""
STAMP_THRESHOLD = 1024 * 1024
"""Bytes from which on a file's hash is kept as a stamp."""
SOFTWARE = "/var/lib/anykube/software"
"""New software on its way to its place, by sha256: all of it is there before anything stops."""
KEPT = "/var/lib/anykube/kept"
"""What a change that is under way has replaced, in one folder named after it: what undoing it puts back."""
SNAPSHOTS = "/var/lib/anykube/snapshots"
"""Snapshots of etcd that were taken before a change that might need them, the newest few."""
BACKUPS = "/var/lib/anykube/backups"
"""Archives that the node made by itself, the newest few."""
INPUTS = "/run/anykube/inputs"
"""One file per unit: '<sha256>  <path>' lines of its inputs as they were when it started."""


def install_path(artifact: str) -> str:
    """Where an artifact is on a node: binaries by their name, CNI plugins without 'cni-', images as tar."""
    if artifact.startswith("cni-"):
        return f"{CNI_BINARIES}/{artifact.removeprefix('cni-')}"
    if artifact.startswith("image-"):
        return f"{IMAGES}/{artifact.removeprefix('image-')}.tar"
    return f"{BINARIES}/{artifact}"
