"""metrics-server: load of nodes and pods, for `kubectl top` and for scaling by load. Pure."""

from __future__ import annotations

from anykube.addons.build import (
    SYSTEM,
    TOLERATE_CONTROL_PLANE,
    account_subject,
    cluster_role,
    cluster_role_binding,
    http_probe,
    locked_down,
    requests,
    role_binding,
    rule,
    thing,
)
from anykube.addons.references import Object
from anykube.spec.catalog import image_reference, release
from anykube.spec.model import Cluster

NAME = "metrics-server"
SELECTOR = {"k8s-app": NAME}
WORKLOAD = f"Deployment/{SYSTEM}/{NAME}"
ROLE = "system:metrics-server"
GROUP = "metrics.k8s.io"
CERTIFICATES = "/var/run/metrics-server"
"""Where it puts the serving certificate that it makes for itself."""
AUTHORITY = "/var/run/cluster-ca"


def metrics_objects(cluster: Cluster) -> tuple[Object, ...]:
    """Everything metrics-server needs."""
    return (
        thing("ServiceAccount", NAME, SYSTEM),
        *_permissions(),
        _service(),
        _deployment(cluster),
        _api_service(),
    )


def _permissions() -> tuple[Object, ...]:
    subject = account_subject(NAME, SYSTEM)
    readers = {f"rbac.authorization.k8s.io/aggregate-to-{role}": "true" for role in ("view", "edit", "admin")}
    read = ["get", "list", "watch"]
    return (
        cluster_role("system:aggregated-metrics-reader", [rule([GROUP], ["pods", "nodes"], read)], readers),
        cluster_role(ROLE, [rule([""], ["nodes/metrics"], ["get"]), rule([""], ["pods", "nodes"], read)]),
        cluster_role_binding(ROLE, ROLE, subject),
        cluster_role_binding(f"{NAME}:system:auth-delegator", "system:auth-delegator", subject),
        role_binding(f"{NAME}-auth-reader", SYSTEM, "extension-apiserver-authentication-reader", subject),
    )


def _service() -> Object:
    ports = [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": "https", "appProtocol": "https"}]
    return {**thing("Service", NAME, SYSTEM, SELECTOR), "spec": {"selector": SELECTOR, "ports": ports}}


def _api_service() -> Object:
    return {
        **thing("APIService", f"v1beta1.{GROUP}"),
        "spec": {
            "group": GROUP,
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {"name": NAME, "namespace": SYSTEM, "port": 443},
            # metrics-server makes its own serving certificate; the API server proves itself to it instead.
            "insecureSkipTLSVerify": True,
        },
    }


def _deployment(cluster: Cluster) -> Object:
    return {
        **thing("Deployment", NAME, SYSTEM, SELECTOR),
        "spec": {
            "replicas": 1,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}},
            "selector": {"matchLabels": SELECTOR},
            "template": {"metadata": {"labels": SELECTOR}, "spec": _pod(cluster)},
        },
    }


def _pod(cluster: Cluster) -> Object:
    return {
        "serviceAccountName": NAME,
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [TOLERATE_CONTROL_PLANE],
        "containers": [_container(cluster)],
        "volumes": [
            {"name": "certificates", "emptyDir": {}},
            # Kubernetes puts the cluster's CA into every namespace under this name.
            {"name": "ca", "configMap": {"name": "kube-root-ca.crt"}},
        ],
    }


def _container(cluster: Cluster) -> Object:
    version = release(cluster.spec.kubernetes.version).metrics_server
    return {
        "name": NAME,
        "image": image_reference(NAME, version),
        "imagePullPolicy": "IfNotPresent",
        "args": [
            f"--cert-dir={CERTIFICATES}",
            "--secure-port=10250",
            "--kubelet-preferred-address-types=InternalIP,Hostname",
            "--kubelet-use-node-status-port",
            f"--kubelet-certificate-authority={AUTHORITY}/ca.crt",
            "--metric-resolution=15s",
        ],
        "ports": [{"name": "https", "containerPort": 10250, "protocol": "TCP"}],
        "readinessProbe": http_probe("/readyz", "https", 2, failures=5, scheme="HTTPS"),
        "livenessProbe": http_probe("/livez", "https", 10, failures=6, scheme="HTTPS"),
        "resources": requests("50m", "100Mi"),
        "securityContext": locked_down(),
        "volumeMounts": [
            {"name": "certificates", "mountPath": CERTIFICATES},
            {"name": "ca", "mountPath": AUTHORITY, "readOnly": True},
        ],
    }
