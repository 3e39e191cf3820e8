"""Names of objects and their paths in the API."""

from __future__ import annotations

import pytest

from anykube.addons.references import KINDS, collection_path, parse, reference
from anykube.errors import KubeError


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("Node//a", "/api/v1/nodes/a"),
        ("Deployment/kube-system/coredns", "/apis/apps/v1/namespaces/kube-system/deployments/coredns"),
        (
            "ClusterRole//system:coredns",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:coredns",
        ),
        (
            "APIService//v1beta1.metrics.k8s.io",
            "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io",
        ),
        ("ConfigMap/a?x=y/b#c d", "/api/v1/namespaces/a%3Fx%3Dy/configmaps/b%23c%20d"),
    ],
)
def test_paths(name: str, path: str) -> None:
    assert parse(name).path == path
    assert str(parse(name)) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Node",
        "Node//",
        "Node/a/b",
        "ConfigMap//a",
        "ConfigMap/a/b/c",
        "Widget/a/b",
        "node//a",
        "ConfigMap/a/..",
        "ConfigMap/../a",
        "Node//.",
        "\x1b[31m/a/b",
    ],
)
def test_what_names_nothing_is_refused(name: str) -> None:
    with pytest.raises(KubeError) as caught:
        parse(name)
    assert "\x1b" not in str(caught.value)


def test_reference_of_an_object() -> None:
    metadata = {"name": "b", "namespace": "a"}
    assert reference({"kind": "Service", "metadata": metadata}) == "Service/a/b"
    assert reference({"kind": "Namespace", "metadata": {"name": "a"}}) == "Namespace//a"
    with pytest.raises(KubeError, match="needs a namespace"):
        reference({"kind": "Service", "metadata": {"name": "b"}})


def test_collections() -> None:
    assert collection_path("Pod") == "/api/v1/pods"
    assert collection_path("Pod", "a") == "/api/v1/namespaces/a/pods"
    assert all(collection_path(kind).startswith(("/api/v1/", "/apis/")) for kind in KINDS)
