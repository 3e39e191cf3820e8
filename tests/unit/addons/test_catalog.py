"""Any valid object gives the same, complete, well-formed set of API objects every time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anykube.addons import dns, flannel
from anykube.addons.build import ADDON, CONFIG_DIGEST, MANAGED_BY
from anykube.addons.catalog import objects, workloads
from anykube.addons.references import KINDS, Object, parse, reference
from anykube.spec.catalog import VERSIONS, image_reference, release
from anykube.spec.endpoint import ApiEndpoint
from anykube.spec.model import Cluster, EndpointKind
from anykube.spec.nodes import nodes

ENDPOINT = ApiEndpoint(EndpointKind.EXTERNAL, "10.81.0.11", 6443, ())


def make(
    version: str = "1.36.3",
    replicas: int | None = 2,
    metrics: bool = True,
    backend: str = "vxlan",
    services: str = "10.96.0.0/16",
    domain: str = "cluster.local",
    workers: int = 1,
) -> Cluster:
    """A valid cluster object."""
    spec: dict[str, Any] = {
        "kubernetes": {"version": version},
        "machines": {
            "provider": {"lxc": {}},
            "pools": [
                {"name": "cp", "roles": ["control-plane"]},
                {"name": "etcd", "roles": ["etcd"]},
                {"name": "worker", "roles": ["worker"], "count": workers, "labels": {"disk": "fast"}},
            ],
        },
        "network": {"services": services, "domain": domain, "cni": {"flannel": {"backend": backend}}},
        "addons": {
            "dns": None if replicas is None else {"replicas": replicas},
            "metrics": {} if metrics else None,
        },
    }
    head = {"apiVersion": "anykube.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "demo"}}
    return Cluster.model_validate_json(json.dumps({**head, "spec": spec}))


def built(cluster: Cluster) -> Mapping[str, tuple[Object, ...]]:
    return objects(cluster, nodes(cluster), ENDPOINT)


def by_reference(cluster: Cluster) -> dict[str, Object]:
    return {reference(item): item for items in built(cluster).values() for item in items}


clusters = st.builds(
    make,
    version=st.sampled_from(VERSIONS),
    replicas=st.none() | st.integers(1, 100),
    metrics=st.booleans(),
    backend=st.sampled_from(["vxlan", "host-gw"]),
    services=st.sampled_from(["10.96.0.0/16", "172.20.0.0/24", "10.0.0.0/12", "192.168.7.0/28"]),
    domain=st.sampled_from(["cluster.local", "k8s.example.org", "a"]),
    workers=st.integers(0, 5),
)


@given(clusters)
def test_objects_are_unique_labelled_and_always_the_same(cluster: Cluster) -> None:
    found = built(cluster)
    assert json.dumps(found) == json.dumps(built(cluster))
    everything = [item for items in found.values() for item in items]
    names = [reference(item) for item in everything]
    assert len(set(names)) == len(names)
    for addon, items in found.items():
        for item in items:
            assert item["apiVersion"] == KINDS[item["kind"]].api_version
            if addon == "nodes":
                assert item.keys() == {"apiVersion", "kind", "metadata"}
                continue
            labels = item["metadata"]["labels"]
            assert (labels[MANAGED_BY], labels[ADDON]) == ("anykube", addon)


@given(clusters)
def test_what_is_waited_for_is_applied(cluster: Cluster) -> None:
    assert set(workloads(cluster)) == {
        name for name in by_reference(cluster) if parse(name).kind in ("Deployment", "DaemonSet")
    }


@given(clusters)
def test_everything_referred_to_is_there(cluster: Cluster) -> None:
    """Accounts and configurations of pods, roles and subjects of bindings, namespaces."""
    found = by_reference(cluster)
    for name, item in found.items():
        namespace = parse(name).namespace
        assert namespace in ("", "kube-system") or f"Namespace//{namespace}" in found
        if item["kind"] in ("Deployment", "DaemonSet"):
            pod = item["spec"]["template"]["spec"]
            assert f"ServiceAccount/{namespace}/{pod['serviceAccountName']}" in found
            for volume in pod["volumes"]:
                config = volume.get("configMap", {}).get("name", "kube-root-ca.crt")
                assert config == "kube-root-ca.crt" or f"ConfigMap/{namespace}/{config}" in found
            (container,) = pod["containers"]
            mounts = {mount["name"] for mount in container["volumeMounts"]}
            assert mounts == {volume["name"] for volume in pod["volumes"]}
        for subject in item.get("subjects", ()):
            if subject["kind"] == "ServiceAccount":
                assert f"ServiceAccount/{subject['namespace']}/{subject['name']}" in found


@given(clusters)
def test_images_are_those_of_the_release_and_never_pulled_needlessly(cluster: Cluster) -> None:
    parts = release(cluster.spec.kubernetes.version)
    known = {
        image_reference(name, parts.version_of(name)) for name in ("coredns", "flannel", "metrics-server")
    }
    for name in workloads(cluster):
        (container,) = by_reference(cluster)[name]["spec"]["template"]["spec"]["containers"]
        assert container["image"] in known
        assert container["imagePullPolicy"] == "IfNotPresent"


def test_addons_come_in_order_and_only_if_on() -> None:
    assert list(built(make())) == ["core", "flannel", "dns", "metrics", "nodes"]
    assert list(built(make(replicas=None, metrics=False))) == ["core", "flannel", "nodes"]


@pytest.mark.parametrize(
    ("services", "address"), [("10.96.0.0/16", "10.96.0.10"), ("192.168.7.16/28", "192.168.7.26")]
)
def test_dns_has_the_tenth_address(services: str, address: str) -> None:
    service = by_reference(make(services=services))["Service/kube-system/kube-dns"]
    assert service["spec"]["clusterIP"] == address
    assert ip_address(address) in ip_network(services)


def test_dns_serves_the_domain_and_guards_against_loops() -> None:
    text = by_reference(make(domain="k8s.example.org"))["ConfigMap/kube-system/coredns"]["data"]["Corefile"]
    assert "    kubernetes k8s.example.org in-addr.arpa ip6.arpa {\n" in text
    assert "\n    loop\n" in text
    assert text.count("{") == text.count("}")


def test_a_single_dns_replica_can_be_drained() -> None:
    """A disruption budget for one replica would block every drain."""
    budget = "PodDisruptionBudget/kube-system/coredns"
    assert budget in by_reference(make(replicas=2))
    assert budget not in by_reference(make(replicas=1))


def test_dns_pods_prefer_but_do_not_require_separate_nodes() -> None:
    pod = by_reference(make(replicas=3))[dns.WORKLOAD]["spec"]["template"]["spec"]
    assert list(pod["affinity"]["podAntiAffinity"]) == ["preferredDuringSchedulingIgnoredDuringExecution"]
    assert pod["dnsPolicy"] == "Default"


def test_pods_are_replaced_when_their_configuration_changes() -> None:
    def digests(cluster: Cluster) -> list[str]:
        found = by_reference(cluster)
        templates = [found[name]["spec"]["template"] for name in (dns.WORKLOAD, flannel.WORKLOAD)]
        return [template["metadata"]["annotations"][CONFIG_DIGEST] for template in templates]

    coredns, network = digests(make())
    assert digests(make(domain="other.local")) == [digests(make(domain="other.local"))[0], network]
    assert digests(make(domain="other.local"))[0] != coredns
    assert digests(make(backend="host-gw"))[0] == coredns
    assert digests(make(backend="host-gw"))[1] != network


def test_flannel_reaches_the_api_without_kube_proxy_and_publishes_last() -> None:
    pod = by_reference(make())[flannel.WORKLOAD]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = {item["name"]: item.get("value") for item in container["env"]}
    assert environment["KUBERNETES_SERVICE_HOST"] == ENDPOINT.host
    assert environment["KUBERNETES_SERVICE_PORT"] == "6443"
    assert pod["hostNetwork"] is True
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]}


def test_flannel_network() -> None:
    data = by_reference(make(backend="host-gw"))["ConfigMap/kube-flannel/kube-flannel"]["data"]
    assert json.loads(data["net-conf.json"]) == {
        "Network": "10.244.0.0/16",
        "EnableNFTables": True,
        "Backend": {"Type": "host-gw"},
    }
    assert [plugin["type"] for plugin in json.loads(data["cni-conf.json"])["plugins"]] == [
        "flannel",
        "portmap",
    ]


def test_labels_of_nodes_that_run_pods() -> None:
    found = {item["metadata"]["name"]: item["metadata"]["labels"] for item in built(make())["nodes"]}
    assert found == {
        "demo-cp-1": {"node-role.kubernetes.io/control-plane": "", "anykube.dev/pool": "cp"},
        "demo-worker-1": {
            "node-role.kubernetes.io/worker": "",
            "anykube.dev/pool": "worker",
            "disk": "fast",
        },
    }


def test_metrics_checks_the_certificates_of_kubelets() -> None:
    deployment = by_reference(make())["Deployment/kube-system/metrics-server"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert any(flag.startswith("--kubelet-certificate-authority=") for flag in container["args"])
    assert not any("insecure" in flag for flag in container["args"])


def test_only_flannel_has_any_privilege() -> None:
    for name in (dns.WORKLOAD, "Deployment/kube-system/metrics-server"):
        (container,) = by_reference(make())[name]["spec"]["template"]["spec"]["containers"]
        context = container["securityContext"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is context["runAsNonRoot"] is True
        assert context["allowPrivilegeEscalation"] is False
