"""One machine is everything: the smallest example, with routes instead of vxlan, and with metrics."""

from __future__ import annotations

import json

import pytest
from tests.e2e.story import Story, eventually

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def cluster(story: Story) -> Story:
    """The example single.yaml, with host-gw and metrics-server."""
    story.write_example("single.yaml", "single")
    extra = "  network: {cni: {flannel: {backend: host-gw}}}\n  addons: {metrics: {}}\n"
    story.file.write_text(f"{story.file.read_text().rstrip()}\n{extra}")
    story.apply()
    return story


def test_one_node_does_everything(cluster: Story) -> None:
    assert cluster.nodes == [cluster.node("node")]
    cluster.must_be_settled()
    pods = cluster.objects("pods", "-A")
    assert {pod["spec"]["nodeName"] for pod in pods} == set(cluster.nodes)
    assert {pod["status"]["phase"] for pod in pods} == {"Running"}


def test_the_pod_network_uses_routes_and_no_tunnel(cluster: Story) -> None:
    links = json.loads(cluster.on(cluster.node("node"), "ip", "-j", "-d", "link"))
    assert {link.get("linkinfo", {}).get("info_kind") for link in links} & {"vxlan", "wireguard"} == set()
    config = cluster.kubectl(
        "-n", "kube-flannel", "get", "configmap", "kube-flannel", "-o", r"jsonpath={.data.net-conf\.json}"
    )
    assert json.loads(config)["Backend"] == {"Type": "host-gw"}


def test_load_is_measured(cluster: Story) -> None:
    def look() -> str:
        shown = cluster.kubectl("top", "nodes", "--no-headers", check=False).split()
        return "" if len(shown) == 5 and shown[0] == cluster.node("node") else f"kubectl top: {shown}"

    eventually(look, 120)
    assert len(cluster.kubectl("top", "pods", "-A", "--no-headers").splitlines()) >= 3


COPY = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {
        "name": "copy",
        "labels": {"app.kubernetes.io/managed-by": "anykube", "anykube.dev/addon": "metrics"},
    },
}


def test_an_addon_that_is_turned_off_leaves_nothing(cluster: Story) -> None:
    images = ("ctr", "-n", "k8s.io", "images", "ls", "-q")
    assert "metrics-server" in cluster.on(cluster.node("node"), *images)
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(COPY))
    cluster.file.write_text(cluster.file.read_text().replace("metrics: {}", "metrics: null"))
    shown = cluster.run("plan", "-f", str(cluster.file)).stdout
    assert "APIService//v1beta1.metrics.k8s.io" in shown
    assert "HorizontalPodAutoscalers scale no more" in shown
    cluster.apply()

    def look() -> str:
        kinds = (
            "deployments,services,serviceaccounts,rolebindings,clusterroles,clusterrolebindings,apiservices"
        )
        names = cluster.kubectl("get", kinds, "-A", "-o", "name") + cluster.kubectl(
            "get", "pods", "-A", "-o", "name"
        )
        return "\n".join(line for line in names.splitlines() if "metrics" in line and "v1." not in line)

    eventually(look, 60)
    assert "metrics-server" not in cluster.on(cluster.node("node"), *images)
    # Its labels are ours; that a person made it is known all the same.
    assert "copy" in cluster.kubectl("get", "configmap", "copy", "-o", "name")
    cluster.must_be_settled()
