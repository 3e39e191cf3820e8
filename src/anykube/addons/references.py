"""Names of API objects, '<kind>/<namespace>/<name>', and where the API keeps each kind. Pure.

The kinds are a fixed table: anykube touches nothing else, and asks no API server what there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from anykube.errors import KubeError

Object = dict[str, Any]
"""An API object as JSON has it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object. `created`: whether anykube makes such objects (a kubelet makes its own Node)."""

    api_version: str
    plural: str
    namespaced: bool = True
    created: bool = True


_RBAC = "rbac.authorization.k8s.io/v1"
KINDS: Mapping[str, Kind] = {
    "Namespace": Kind("v1", "namespaces", namespaced=False),
    "Node": Kind("v1", "nodes", namespaced=False, created=False),
    "Pod": Kind("v1", "pods", created=False),
    "ServiceAccount": Kind("v1", "serviceaccounts"),
    "ConfigMap": Kind("v1", "configmaps"),
    "Secret": Kind("v1", "secrets", created=False),
    "Service": Kind("v1", "services"),
    "ClusterRole": Kind(_RBAC, "clusterroles", namespaced=False),
    "ClusterRoleBinding": Kind(_RBAC, "clusterrolebindings", namespaced=False),
    "RoleBinding": Kind(_RBAC, "rolebindings"),
    "Deployment": Kind("apps/v1", "deployments"),
    "DaemonSet": Kind("apps/v1", "daemonsets"),
    "PodDisruptionBudget": Kind("policy/v1", "poddisruptionbudgets"),
    "Lease": Kind("coordination.k8s.io/v1", "leases", created=False),
    "APIService": Kind("apiregistration.k8s.io/v1", "apiservices", namespaced=False),
}


@dataclass(frozen=True, slots=True)
class Reference:
    """The identity of an object; `namespace` is '' for a kind that has none."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"

    @property
    def path(self) -> str:
        """Its path in the API."""
        return f"{collection_path(self.kind, self.namespace)}/{quote(self.name, safe=':')}"


def reference(thing: Mapping[str, Any]) -> str:
    """The name of an object: 'Deployment/kube-system/coredns', 'ClusterRole//system:coredns'."""
    metadata = thing["metadata"]
    return str(parse(f"{thing['kind']}/{metadata.get('namespace', '')}/{metadata['name']}"))


def parse(text: str) -> Reference:
    """Take a name apart. KubeError if it is not the name of an object that we can handle."""
    parts = text.split("/")
    # '.' and '..' would make another path: that of the collection, whose deletion deletes everything in it.
    if len(parts) != 3 or not parts[2] or {".", ".."}.intersection(parts):
        raise KubeError(f"{text[:100]!r} does not name an object: <kind>/<namespace>/<name> is the form.")
    kind, namespace, name = parts
    if bool(namespace) != kind_of(kind).namespaced:
        need = "needs a namespace" if not namespace else "has no namespace"
        raise KubeError(f"{text[:100]!r} does not name an object: a {kind} {need}.")
    return Reference(kind, namespace, name)


def kind_of(name: str) -> Kind:
    """The table's entry of a kind. KubeError for a kind that anykube does not handle."""
    try:
        return KINDS[name]
    except KeyError:
        raise KubeError(
            f"anykube does not handle objects of kind {name[:60]!r}.",
            remedy=f"the kinds are {', '.join(KINDS)}",
        ) from None


def collection_path(kind: str, namespace: str = "") -> str:
    """The path of all objects of a kind; of all namespaces when none is given."""
    entry = kind_of(kind)
    root = "/api" if entry.api_version == "v1" else "/apis"
    within = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    return f"{root}/{entry.api_version}{within}/{entry.plural}"
