"""The small parts that addons are built from: metadata, accounts, roles, settings of pods. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from anykube.addons.references import Object, kind_of

SYSTEM = "kube-system"
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "anykube"
"""Value of MANAGED_BY, and the field manager that every apply is made as."""
ADDON = "anykube.dev/addon"
CONFIG_DIGEST = "anykube.dev/config-sha256"
TRUST_DIGEST = "anykube.dev/trust"
CONTROL_PLANE_LABEL = "node-role.kubernetes.io/control-plane"
TOLERATE_CONTROL_PLANE: Object = {"key": CONTROL_PLANE_LABEL, "operator": "Exists", "effect": "NoSchedule"}
UNPRIVILEGED = 65532
"""The user that containers without need of root run as; the usual 'nonroot' of images without a shell."""


def thing(kind: str, name: str, namespace: str = "", labels: Mapping[str, str] | None = None) -> Object:
    """An object without content."""
    metadata: Object = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    if labels:
        metadata["labels"] = dict(labels)
    return {"apiVersion": kind_of(kind).api_version, "kind": kind, "metadata": metadata}


def owned(addon: str, objects: Sequence[Object]) -> tuple[Object, ...]:
    """The objects with the labels by which we find them again."""
    return tuple(_owned(addon, item) for item in objects)


def _owned(addon: str, item: Object) -> Object:
    metadata = item["metadata"]
    labels = {**metadata.get("labels", {}), MANAGED_BY: MANAGER, ADDON: addon}
    return {**item, "metadata": {**metadata, "labels": labels}}


def trusting(item: Object, trust: str) -> Object:
    """The object; if it makes pods, they are replaced when `trust` changes."""
    template = item.get("spec", {}).get("template")
    if template is None:
        return item
    metadata = template["metadata"]
    annotations = {**metadata.get("annotations", {}), TRUST_DIGEST: trust}
    marked = {**template, "metadata": {**metadata, "annotations": annotations}}
    return {**item, "spec": {**item["spec"], "template": marked}}


def config_map(name: str, namespace: str, data: Mapping[str, str]) -> Object:
    """A ConfigMap."""
    return {**thing("ConfigMap", name, namespace), "data": dict(data)}


def config_digest(data: Mapping[str, str]) -> str:
    """Put on pods, so that they are replaced when the configuration they read at their start changes."""
    return hashlib.sha256(json.dumps(dict(data), sort_keys=True).encode()).hexdigest()[:16]


def rule(groups: Sequence[str], resources: Sequence[str], verbs: Sequence[str]) -> Object:
    """One permission of a role; the core group is ''."""
    return {"apiGroups": list(groups), "resources": list(resources), "verbs": list(verbs)}


def cluster_role(name: str, rules: Sequence[Object], labels: Mapping[str, str] | None = None) -> Object:
    """A ClusterRole."""
    return {**thing("ClusterRole", name, labels=labels), "rules": list(rules)}


def cluster_role_binding(name: str, role: str, subject: Object) -> Object:
    """Give a ClusterRole to one subject, in all namespaces."""
    return {**thing("ClusterRoleBinding", name), **_binding("ClusterRole", role, subject)}


def role_binding(name: str, namespace: str, role: str, subject: Object) -> Object:
    """Give a Role of a namespace to one subject."""
    return {**thing("RoleBinding", name, namespace), **_binding("Role", role, subject)}


def _binding(kind: str, role: str, subject: Object) -> Object:
    group = "rbac.authorization.k8s.io"
    return {"roleRef": {"apiGroup": group, "kind": kind, "name": role}, "subjects": [subject]}


def account_subject(name: str, namespace: str) -> Object:
    """A service account as the subject of a binding."""
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace}


def principal(kind: str, name: str) -> Object:
    """A 'User' or 'Group' of client certificates as the subject of a binding."""
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}


def environment(name: str, value: str) -> Object:
    """An environment variable."""
    return {"name": name, "value": value}


def requests(cpu: str, memory: str, *, limit: str | None = None) -> Object:
    """What a container asks for; `limit` bounds its memory."""
    asked: Object = {"requests": {"cpu": cpu, "memory": memory}}
    return asked if limit is None else {**asked, "limits": {"memory": limit}}


def locked_down() -> Object:
    """A container that needs no privilege at all."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": UNPRIVILEGED,
        "runAsGroup": UNPRIVILEGED,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def http_probe(path: str, port: str, seconds: int, *, failures: int = 3, **more: Any) -> Object:
    """Ask a path every `seconds`; `more` are further fields of the request, such as scheme."""
    return {
        "httpGet": {"path": path, "port": port, **more},
        "periodSeconds": seconds,
        "failureThreshold": failures,
    }
