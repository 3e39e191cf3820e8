"""Which certificates and other secrets a cluster needs: all of them, before any node starts.

Names, subjects and uses are what Kubernetes expects of each component; lists are in the order of issue.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network

from anykube.content.model import CertificateRequest, SecretRequest
from anykube.spec.endpoint import ApiEndpoint
from anykube.spec.model import Cluster
from anykube.spec.nodes import Node

BACKUP_KEY = SecretRequest("backup-key", "age-key")
"""For whom archives are encrypted, where the user names nobody."""
AUTHORITY_DAYS = 3650
LOOPBACK = ("127.0.0.1", "::1")
ADMIN_GROUP = "anykube:cluster-admins"
"""Bound to cluster-admin by an object, so that it can be taken away again; system:masters cannot."""


def certificate_requests(
    cluster: Cluster, nodes: Sequence[Node], addresses: Mapping[str, str], endpoint: ApiEndpoint
) -> tuple[CertificateRequest, ...]:
    """Authorities first, then the certificates of each node, then those of users."""
    requests = [*_authorities(cluster)]
    for node in nodes:
        address = addresses[node.name]
        if node.etcd:
            requests += _etcd(node, address)
        if node.control_plane:
            requests += _control_plane(cluster, node, address, endpoint)
        if node.kubelet:
            requests += _kubelet(node, address)
    return (*requests, *_users())


def secret_requests(cluster: Cluster) -> tuple[SecretRequest, ...]:
    """Secrets that are no certificates."""
    requests = [SecretRequest("service-account", "key-pair")]
    if cluster.spec.security.encryption_at_rest:
        requests.append(SecretRequest("encryption-config", "encryption-config"))
    if cluster.spec.backup and not cluster.spec.backup.recipients:
        requests.append(BACKUP_KEY)
    return tuple(requests)


def _authorities(cluster: Cluster) -> Iterator[CertificateRequest]:
    for name in ("cluster", "etcd", "front-proxy"):
        common_name = f"{cluster.name} {name} CA"
        yield CertificateRequest(f"ca/{name}", "", common_name, days=AUTHORITY_DAYS)


def _etcd(node: Node, address: str) -> Iterator[CertificateRequest]:
    """Both are also used as client certificates: by etcd's own gateway, and between members."""
    for use in ("etcd-server", "etcd-peer"):
        yield CertificateRequest(
            f"nodes/{node.name}/{use}",
            "ca/etcd",
            node.name,
            dns_names=("localhost", node.name),
            addresses=_unique(*LOOPBACK, address),
            server=True,
            client=True,
        )


def _control_plane(
    cluster: Cluster, node: Node, address: str, endpoint: ApiEndpoint
) -> Iterator[CertificateRequest]:
    yield _apiserver(cluster, node, address, endpoint)
    for use, authority, common_name in (
        ("apiserver-etcd", "ca/etcd", "kube-apiserver-etcd-client"),
        # In no group: a ClusterRoleBinding to system:kubelet-api-admin gives it just what it needs.
        ("apiserver-kubelet", "ca/cluster", "kube-apiserver-kubelet-client"),
        ("front-proxy", "ca/front-proxy", "front-proxy-client"),
        ("controller-manager", "ca/cluster", "system:kube-controller-manager"),
        ("scheduler", "ca/cluster", "system:kube-scheduler"),
    ):
        yield CertificateRequest(f"nodes/{node.name}/{use}", authority, common_name, client=True)


def _apiserver(cluster: Cluster, node: Node, address: str, endpoint: ApiEndpoint) -> CertificateRequest:
    network = cluster.spec.network
    service = str(ip_network(network.services)[1])
    names = ["localhost", node.name, "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    names.append(f"kubernetes.default.svc.{network.domain}")
    shared = (endpoint.host,) if endpoint.shared else ()
    endpoint_names = tuple(host for host in shared if not _is_address(host))
    endpoint_addresses = tuple(host for host in shared if _is_address(host))
    return CertificateRequest(
        f"nodes/{node.name}/apiserver",
        "ca/cluster",
        "kube-apiserver",
        dns_names=_unique(*names, *endpoint_names),
        addresses=_unique(*LOOPBACK, service, address, *endpoint_addresses),
        server=True,
    )


def _kubelet(node: Node, address: str) -> Iterator[CertificateRequest]:
    secret, user = f"nodes/{node.name}", f"system:node:{node.name}"
    groups = ("system:nodes",)
    yield CertificateRequest(f"{secret}/kubelet", "ca/cluster", user, groups, client=True)
    yield CertificateRequest(
        f"{secret}/kubelet-server",
        "ca/cluster",
        user,
        groups,
        dns_names=("localhost", node.name),
        addresses=_unique(*LOOPBACK, address),
        server=True,
    )
    yield CertificateRequest(f"{secret}/kube-proxy", "ca/cluster", "system:kube-proxy", client=True)


def _users() -> Iterator[CertificateRequest]:
    yield CertificateRequest("users/admin", "ca/cluster", "anykube-admin", (ADMIN_GROUP,), client=True)
    yield CertificateRequest(
        "users/super-admin", "ca/cluster", "anykube-super-admin", ("system:masters",), client=True
    )


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _unique(*values: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))
