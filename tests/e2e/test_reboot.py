"""This machine, or a node, loses its power. apply brings the cluster back with its data."""

from __future__ import annotations

import json
import subprocess
import time

import pytest
from tests.e2e.story import Story, eventually, lines, worker

from anykube.providers.lxc.addressing import bridge_name
from anykube.providers.lxc.network import table_name

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def cluster(story: Story) -> Story:
    """A cluster with something in it."""
    story.write(worker())
    story.apply()
    story.kubectl("create", "configmap", "kept", "--from-literal=value=before the power cut")
    return story


def identity(cluster: Story) -> set[str]:
    """Who the cluster and its nodes are."""
    found = [*cluster.objects("nodes"), *cluster.objects("namespaces")]
    return {f"{item['metadata']['name']} {item['metadata']['uid']}" for item in found}


def kept(cluster: Story) -> bool:
    """Whether the data is there."""
    found = cluster.objects("configmaps")
    return [item["data"]["value"] for item in found if item["metadata"]["name"] == "kept"] == [
        "before the power cut"
    ]


def test_this_machine_reboots(cluster: Story) -> None:
    before = identity(cluster)
    for node in cluster.nodes:
        cluster.power_off(node)
    bridge = bridge_name(cluster.name)
    subprocess.run(["ip", "link", "delete", bridge], check=True)
    subprocess.run(["nft", "delete", "table", "ip", table_name(cluster.name)], check=True)

    shown = [line for line in lines(cluster.changes()) if ": start " in line or " site " in line]
    assert shown == [
        "local: update site network (its settings differ)",
        *(f"{node}: start machine {node} (stopped)" for node in cluster.nodes),
    ]
    status = cluster.run("status", "-c", cluster.name, "-o", "json").json["status"]
    assert {node["state"] for node in status["nodes"]} == {"stopped"}

    cluster.apply()
    cluster.must_be_settled()
    assert identity(cluster) == before
    assert kept(cluster)
    assert cluster.ready_nodes() == set(cluster.nodes)


def test_a_worker_loses_its_power(cluster: Story) -> None:
    node = cluster.node("worker")
    before = cluster.starts()
    cluster.power_off(node)
    assert f"{node}: start machine {node} (stopped)" in lines(cluster.changes())
    cluster.apply()
    cluster.must_be_settled()
    elsewhere = {unit for unit in cluster.restarted_since(before) if not unit.startswith(node)}
    assert elsewhere == set()
    assert kept(cluster)


def test_a_node_that_reboots_itself_comes_back_without_anykube(cluster: Story) -> None:
    node = cluster.node("cp")
    uptime = ("systemctl", "show", "-p", "UserspaceTimestampMonotonic")
    boot = cluster.on(node, *uptime)
    cluster.on(node, "systemctl", "--no-block", "reboot")
    eventually(lambda: "up" if cluster.on(node, *uptime, check=False) in ("", boot) else "", 60)
    eventually(lambda: "" if cluster.kubectl("get", "--raw", "/readyz", check=False) == "ok" else "API", 90)
    cluster.must_be_settled()
    assert kept(cluster)


def test_the_api_server_restarts_in_seconds_though_it_is_watched(cluster: Story) -> None:
    started = time.monotonic()
    cluster.on(cluster.node("cp"), "systemctl", "restart", "kube-apiserver")
    assert time.monotonic() - started < 30, "clients that watch hold it up"


def test_pods_run_again(cluster: Story) -> None:
    def waiting() -> str:
        pods = json.loads(cluster.kubectl("get", "pods", "-A", "-o", "json"))["items"]
        states = {pod["metadata"]["name"]: pod["status"]["phase"] for pod in pods}
        return "" if set(states.values()) == {"Running"} else str(states)

    eventually(waiting)
