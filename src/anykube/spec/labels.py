"""Rules for labels and taints that Kubernetes would enforce later, when a node registers. Pure.

Called by `validate.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from anykube.spec.model import Pool
from anykube.spec.problem import Finding, Path, dotted, shown

MAX_PREFIX = 253
MAX_NAME = 63

RESERVED = ("kubernetes.io", "k8s.io")
"""Domains that belong to Kubernetes: a kubelet may set only some labels in them (NodeRestriction)."""
OPEN_PREFIXES = ("kubelet.kubernetes.io", "node.kubernetes.io")
OPEN_LABELS = frozenset(
    {
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    }
)
SET_BY_KUBELET = frozenset(
    {
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "beta.kubernetes.io/os",
        "kubernetes.io/arch",
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "node.kubernetes.io/instance-type",
    }
)
"""Allowed by NodeRestriction, but the kubelet writes its own value."""


def check(path: Path, pool: Pool) -> Iterator[Finding]:
    """Labels and taints of one pool; `path` is the pool's."""
    for key in pool.labels:
        place = (*path, "labels", key)
        if wrong := _too_long(key):
            yield Finding(place, "SPEC-028", f"label {shown(key)}: {wrong}", key=True)
        elif wrong := _forbidden(key):
            yield Finding(
                place, "SPEC-028", f"label {shown(key)}: {wrong}", "use a prefix of your own", key=True
            )
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(pool.taints):
        place = (*path, "taints", index, "key")
        if wrong := _too_long(taint.key):
            yield Finding(place, "SPEC-028", f"taint {shown(taint.key)}: {wrong}")
        if (taint.key, taint.effect) in seen:
            message = f"{dotted(path)}: the taint {shown(taint.key)} with {taint.effect} is there twice"
            yield Finding(place, "SPEC-028", message)
        seen.add((taint.key, taint.effect))


def _too_long(key: str) -> str:
    prefix, _, name = key.rpartition("/")
    if len(name) > MAX_NAME:
        return f"its name has more than {MAX_NAME} characters"
    return f"its prefix has more than {MAX_PREFIX} characters" if len(prefix) > MAX_PREFIX else ""


def _forbidden(key: str) -> str:
    """Why a kubelet must not set a label; '' when it may."""
    if key in SET_BY_KUBELET:
        return "the kubelet sets it by itself"
    prefix = key.rpartition("/")[0]
    if key in OPEN_LABELS or any(_within(prefix, domain) for domain in OPEN_PREFIXES):
        return ""
    if any(_within(prefix, domain) for domain in RESERVED):
        return "Kubernetes does not let a node give itself this label (NodeRestriction)"
    return ""


def _within(prefix: str, domain: str) -> bool:
    return prefix == domain or prefix.endswith(f".{domain}")
