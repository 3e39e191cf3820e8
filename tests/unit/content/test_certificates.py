"""Which certificates are requested: subjects, names and uses as each component of Kubernetes expects them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from anykube.content.certificates import certificate_requests, secret_requests
from anykube.content.model import CertificateRequest, SecretRequest
from anykube.spec.endpoint import ApiEndpoint
from anykube.spec.model import Cluster, EndpointKind
from anykube.spec.nodes import nodes

ENDPOINT = ApiEndpoint(EndpointKind.EXTERNAL, "api.example.org", 6443, ())


@pytest.fixture(scope="session")
def requests(clusters: Callable[..., Cluster]) -> dict[str, CertificateRequest]:
    """Those of a control plane, a worker and an etcd machine, by name."""
    pools = [
        {"name": "cp", "roles": ["control-plane"]},
        {"name": "worker", "roles": ["worker"]},
        {"name": "etcd", "roles": ["etcd"]},
    ]
    cluster = clusters(pools, network={"services": "10.96.0.0/16", "domain": "corp.local"})
    addresses = {"demo-cp-1": "10.0.0.1", "demo-worker-1": "10.0.0.2", "demo-etcd-1": "10.0.0.3"}
    made = certificate_requests(cluster, nodes(cluster), addresses, ENDPOINT)
    by_name = {request.secret: request for request in made}
    assert len(by_name) == len(made)
    return by_name


def test_each_node_gets_what_its_roles_need(requests: dict[str, CertificateRequest]) -> None:
    assert sorted(requests) == sorted(
        [
            "ca/cluster",
            "ca/etcd",
            "ca/front-proxy",
            "nodes/demo-cp-1/apiserver",
            "nodes/demo-cp-1/apiserver-etcd",
            "nodes/demo-cp-1/apiserver-kubelet",
            "nodes/demo-cp-1/controller-manager",
            "nodes/demo-cp-1/front-proxy",
            "nodes/demo-cp-1/kube-proxy",
            "nodes/demo-cp-1/kubelet",
            "nodes/demo-cp-1/kubelet-server",
            "nodes/demo-cp-1/scheduler",
            "nodes/demo-etcd-1/etcd-peer",
            "nodes/demo-etcd-1/etcd-server",
            "nodes/demo-worker-1/kube-proxy",
            "nodes/demo-worker-1/kubelet",
            "nodes/demo-worker-1/kubelet-server",
            "users/admin",
            "users/super-admin",
        ]
    )


def test_authorities_are_issued_before_what_they_sign(requests: dict[str, CertificateRequest]) -> None:
    issued: set[str] = set()
    for name, request in requests.items():
        assert request.is_authority or request.authority in issued
        issued.add(name)


def test_the_api_server_is_known_by_all_its_names(requests: dict[str, CertificateRequest]) -> None:
    request = requests["nodes/demo-cp-1/apiserver"]
    assert set(request.dns_names) == {
        "localhost",
        "demo-cp-1",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.corp.local",
        ENDPOINT.host,
    }
    assert set(request.addresses) == {"127.0.0.1", "::1", "10.96.0.1", "10.0.0.1"}
    assert (request.server, request.client) == (True, False)


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("nodes/demo-worker-1/kubelet", ("system:node:demo-worker-1", ("system:nodes",))),
        ("nodes/demo-worker-1/kube-proxy", ("system:kube-proxy", ())),
        ("nodes/demo-cp-1/controller-manager", ("system:kube-controller-manager", ())),
        ("nodes/demo-cp-1/scheduler", ("system:kube-scheduler", ())),
        ("nodes/demo-cp-1/apiserver-kubelet", ("kube-apiserver-kubelet-client", ())),
        ("nodes/demo-cp-1/front-proxy", ("front-proxy-client", ())),
        ("users/admin", ("anykube-admin", ("anykube:cluster-admins",))),
        ("users/super-admin", ("anykube-super-admin", ("system:masters",))),
    ],
)
def test_clients_have_the_names_that_kubernetes_knows(
    requests: dict[str, CertificateRequest], name: str, subject: tuple[str, tuple[str, ...]]
) -> None:
    request = requests[name]
    assert (request.common_name, request.organizations) == subject
    assert (request.server, request.client) == (False, True)
    assert not request.dns_names
    assert not request.addresses


def test_only_the_super_admin_is_in_the_group_that_cannot_be_taken_away(
    requests: dict[str, CertificateRequest],
) -> None:
    masters = [name for name, request in requests.items() if "system:masters" in request.organizations]
    assert masters == ["users/super-admin"]


def test_etcd_has_certificates_for_serving_and_for_its_peers(requests: dict[str, CertificateRequest]) -> None:
    for use in ("etcd-server", "etcd-peer"):
        request = requests[f"nodes/demo-etcd-1/{use}"]
        assert request.authority == "ca/etcd"
        assert (request.server, request.client) == (True, True)
        assert {"127.0.0.1", "10.0.0.3"} <= set(request.addresses)


def test_no_leaf_outlives_its_authority(requests: dict[str, CertificateRequest]) -> None:
    assert all(
        request.days <= requests[request.authority].days
        for request in requests.values()
        if not request.is_authority
    )


def test_secrets_follow_the_object(clusters: Callable[..., Cluster]) -> None:
    pools = [{"name": "all", "roles": ["control-plane", "etcd", "worker"]}]
    service_account = SecretRequest("service-account", "key-pair")
    encryption = SecretRequest("encryption-config", "encryption-config")
    assert secret_requests(clusters(pools)) == (service_account, encryption)
    plain = clusters(pools, security={"encryptionAtRest": False})
    assert secret_requests(plain) == (service_account,)
