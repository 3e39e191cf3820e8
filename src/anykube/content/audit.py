"""The audit policy: who changed what, without secrets and without the noise of the cluster's own loops.

The first rule that matches decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_READS = ["get", "list", "watch"]
_CONTROL_PLANE = [
    "system:apiserver",
    "system:kube-controller-manager",
    "system:kube-scheduler",
    "system:kube-proxy",
]


def _resources(group: str, *names: str) -> dict[str, Any]:
    return {"group": group, "resources": list(names)}


POLICY: Mapping[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "omitManagedFields": True,
    "rules": [
        {"level": "None", "nonResourceURLs": ["/livez*", "/readyz*", "/healthz*", "/version", "/openapi/*"]},
        {"level": "None", "resources": [_resources("", "events"), _resources("events.k8s.io", "events")]},
        # Leases are renewed every few seconds by every node and every leader.
        {"level": "None", "resources": [_resources("coordination.k8s.io", "leases")]},
        # CIS 3.2.2: of what may hold a secret only the fact, never the content.
        {
            "level": "Metadata",
            "resources": [
                _resources("", "secrets", "configmaps", "serviceaccounts/token"),
                _resources("authentication.k8s.io", "tokenreviews"),
            ],
        },
        {"level": "None", "users": _CONTROL_PLANE, "verbs": _READS},
        {"level": "None", "userGroups": ["system:nodes"], "verbs": _READS},
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"], "verbs": _READS},
        {"level": "None", "userGroups": ["system:nodes"], "resources": [_resources("", "nodes/status")]},
        # Ways into a container or around the API server.
        {
            "level": "Metadata",
            "resources": [
                _resources(
                    "",
                    "pods/exec",
                    "pods/attach",
                    "pods/portforward",
                    "pods/proxy",
                    "services/proxy",
                    "nodes/proxy",
                )
            ],
        },
        {"level": "Metadata", "verbs": _READS},
        {
            "level": "Request",
            "resources": [
                _resources("", "pods", "services", "namespaces", "nodes", "serviceaccounts"),
                _resources("apps"),
                _resources("batch"),
                _resources("networking.k8s.io"),
                _resources("policy"),
                _resources("rbac.authorization.k8s.io"),
            ],
        },
        {"level": "Metadata"},
    ],
}
