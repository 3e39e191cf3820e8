"""API objects into facts. Without I/O: JSON that an API server answered in, frozen values out.

An API server is trusted to be one (its certificate was checked), but objects may lack any optional field.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from anykube.addons.rbac import DRAIN_ANNOTATION, POOL_LABEL
from anykube.facts.kubernetes import LeaseFacts, NodeFacts, WorkloadFacts

REASON_LIMIT = 300
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")


@dataclass(frozen=True, slots=True)
class PodSummary:
    """A pod, as `status` shows it. `reason` is '' if all is well; `ready` counts containers."""

    namespace: str
    name: str
    node: str
    phase: str
    ready: int
    containers: int
    restarts: int
    reason: str


def node_facts(thing: Mapping[str, Any]) -> NodeFacts:
    """What a Node object says. `version` is the kubelet's, such as 'v1.36.3'."""
    status = thing.get("status", {})
    conditions = status.get("conditions", ())
    condition: Mapping[str, Any] = next((c for c in conditions if c.get("type") == "Ready"), {})
    ready = condition.get("status") == "True"
    reason = ": ".join(text for text in (condition.get("reason"), condition.get("message")) if text)
    return NodeFacts(
        name=thing["metadata"]["name"],
        ready=ready,
        version=status.get("nodeInfo", {}).get("kubeletVersion", ""),
        unschedulable=bool(thing.get("spec", {}).get("unschedulable")),
        reason="" if ready else (reason or "its kubelet has not reported yet")[:REASON_LIMIT],
        pool=str((thing["metadata"].get("labels") or {}).get(POOL_LABEL, "")),
        draining=DRAIN_ANNOTATION in (thing["metadata"].get("annotations") or {}),
    )


def lease_facts(thing: Mapping[str, Any]) -> LeaseFacts | None:
    """Who holds a lease, '<host name>_<unique id>', and until when it was sure of it. None if nobody does."""
    spec = thing.get("spec", {})
    host, _, _ = str(spec.get("holderIdentity") or "").rpartition("_")
    try:
        renewed = datetime.fromisoformat(str(spec.get("renewTime")))
    except ValueError:
        return None
    return LeaseFacts(host, renewed) if host and renewed.tzinfo else None


def workload_facts(thing: Mapping[str, Any]) -> WorkloadFacts:
    """How far a Deployment or DaemonSet is. Only pods of its current template count as ready.

    Until its controller has seen the object as it is now, nothing is ready and at least one is wanted.
    """
    status = thing.get("status", {})
    seen = status.get("observedGeneration", 0) >= thing["metadata"].get("generation", 1)
    if thing["kind"] == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        total, updated = status.get("currentNumberScheduled", 0), status.get("updatedNumberScheduled", 0)
        ready = status.get("numberReady", 0)
    else:
        wanted = thing.get("spec", {}).get("replicas", 1)
        total, updated = status.get("replicas", 0), status.get("updatedReplicas", 0)
        ready = status.get("readyReplicas", 0)
    if not seen:
        return WorkloadFacts(wanted=max(wanted, 1), ready=0)
    # Ready pods are not told apart by template: assume that those of the old one are the ready ones.
    outdated = max(total - updated, 0)
    return WorkloadFacts(wanted=wanted, ready=max(min(updated, ready - outdated), 0))


def root_ca_digest(thing: Mapping[str, Any]) -> str:
    """The sha256 of the certificates in a ConfigMap kube-root-ca.crt."""
    return hashlib.sha256(str((thing.get("data") or {}).get("ca.crt", "")).encode()).hexdigest()


def request_cas(thing: Mapping[str, Any]) -> frozenset[str]:
    """Fingerprints of the certificates in the ConfigMap extension-apiserver-authentication."""
    texts = (
        (thing.get("data") or {}).get(key) or "" for key in ("client-ca-file", "requestheader-client-ca-file")
    )
    blocks = (block for text in texts for block in _CERTIFICATE.findall(str(text)))
    return frozenset(hashlib.sha256(base64.b64decode(block)).hexdigest() for block in blocks)


def pod_summary(thing: Mapping[str, Any]) -> PodSummary:
    """What `status` shows of a pod."""
    status = thing.get("status", {})
    containers = status.get("containerStatuses", ())
    waiting = (c.get("state", {}).get("waiting", {}).get("reason", "") for c in containers)
    reason = next((text for text in waiting if text), "") or status.get("reason", "")
    return PodSummary(
        namespace=thing["metadata"].get("namespace", ""),
        name=thing["metadata"]["name"],
        node=thing.get("spec", {}).get("nodeName", ""),
        phase=status.get("phase", "Unknown"),
        ready=sum(1 for c in containers if c.get("ready")),
        containers=len(thing.get("spec", {}).get("containers", ())),
        restarts=sum(c.get("restartCount", 0) for c in containers),
        reason=reason[:REASON_LIMIT],
    )
