"""The way to the API: balanced on each node, a virtual address, the user's balancer; each survives losses.

One cluster goes from kind to kind by editing the object. Times without an answer are measured from a worker.
"""

from __future__ import annotations

import subprocess
import time
from contextlib import AbstractContextManager
from functools import partial

import pytest
from tests.e2e.balancer import balancing
from tests.e2e.prober import Probes, probing
from tests.e2e.story import MACHINES, Object, Story, eventually, worker

pytestmark = pytest.mark.e2e

LOOPBACK, API_PORT, SHARED_PORT = "127.0.0.1", 6443, 8443
PLANES = {"name": "cp", "roles": ["control-plane", "etcd", "worker"], "count": 3}
BALANCERS = {"name": "lb", "roles": ["load-balancer"], "count": 2}
ADDRESS_MOVES_SECONDS = 3.0
"""At most, from the power cut of its holder to an answer from another."""
OWN_CONFIGS = "/etc/anykube"


@pytest.fixture(scope="module")
def cluster(story: Story) -> Story:
    """Three control planes and a worker; nodes balance for themselves, as nothing else is asked for."""
    write(story)
    story.apply()
    return story


def write(cluster: Story, *pools: Object, **spec: Object) -> None:
    """The object with this endpoint."""
    machines: Object = {"provider": {"lxc": {}}, "pools": [PLANES, worker(), *pools]}
    cluster.write(machines=machines, **spec)


def probe(cluster: Story, host: str, port: int) -> AbstractContextManager[Probes]:
    """Ask from the worker while the body runs."""
    ca = cluster.folder / "ca.crt"
    ca.write_bytes(cluster.secrets.part("ca/cluster", "certificate").reveal())
    return probing(process(cluster, cluster.node("worker")), host, port, ca)


def process(cluster: Story, node: str) -> int:
    """The first process of a node, as this machine numbers it."""
    path = MACHINES / cluster.name / "nodes"
    argv = ["lxc-info", "-P", str(path), "-n", node, "-p", "-H"]
    return int(subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout)


def holders(cluster: Story, address: str, *nodes: str) -> list[str]:
    """The nodes that have an address now."""
    return [node for node in nodes if f" {address}/" in cluster.on(node, "ip", "-o", "address")]


def server_of(cluster: Story, node: str) -> str:
    """Where the kubelet of a node looks for the API."""
    text = cluster.on(node, "cat", "/etc/kubernetes/kubelet.conf")
    return next(line.split()[-1] for line in text.splitlines() if "server:" in line)


def balancing_on(cluster: Story, *nodes: str) -> list[str]:
    """The nodes that have anything of haproxy or keepalived left."""
    return [node for node in nodes if cluster.on(node, "ls", OWN_CONFIGS, check=False)]


def planes(cluster: Story) -> list[str]:
    """The control planes."""
    return [cluster.node("cp", number) for number in (1, 2, 3)]


def told(what: str, seen: Probes) -> None:
    """Figures for whoever runs this with -s."""
    print(f"\n{what}: {seen.outage():.2f} s without an answer, connection broken {seen.breaks()} times")


def test_a_worker_goes_on_when_a_server_ends(cluster: Story) -> None:
    assert server_of(cluster, cluster.node("worker")) == f"https://{LOOPBACK}:{API_PORT}"
    for plane in planes(cluster):
        before = cluster.starts_of(plane)
        with probe(cluster, LOOPBACK, API_PORT) as seen:
            cluster.on(plane, "systemctl", "kill", "-s", "KILL", "kube-apiserver.service")
            time.sleep(4)
        told(f"kill -9 of the API server of {plane}", seen)
        assert seen.outage() < 2.0
        eventually(partial(not_active, cluster, plane, "kube-apiserver.service"))
        assert f"{plane} kube-apiserver.service" in cluster.restarted_since(before)


def not_active(cluster: Story, node: str, unit: str) -> str:
    """'' when a unit runs."""
    said = cluster.on(node, "systemctl", "is-active", unit, check=False).strip()
    return "" if said == "active" else f"{unit} of {node} is {said}"


def test_other_servers_are_taken_over_without_breaking_a_connection(cluster: Story) -> None:
    node = cluster.node("worker")
    config = f"{OWN_CONFIGS}/haproxy-local.cfg"
    cluster.on(node, "sed", "-i", "s/maxconn 1000/maxconn 900/", config)
    cluster.on(node, "systemctl", "reload", "anykube-haproxy-local.service")
    started = cluster.starts_of(node)
    assert any(c["action"] == "reload" and "haproxy" in c["subject"] for c in cluster.changes())
    with probe(cluster, LOOPBACK, API_PORT) as seen:
        cluster.apply()
    told("reload of the node's balancer", seen)
    assert seen.breaks() == 0
    assert seen.outage() == 0
    assert cluster.starts_of(node) == started
    assert "maxconn 1000" in cluster.on(node, "cat", config)


def test_a_worker_goes_on_when_a_control_plane_loses_power(cluster: Story) -> None:
    with probe(cluster, LOOPBACK, API_PORT) as seen:
        cluster.power_off(cluster.node("cp", 2))
        time.sleep(8)
    told("power cut of a control plane", seen)
    assert seen.outage() < 4.0


def test_a_virtual_address_moves_when_its_holder_is_lost(cluster: Story) -> None:
    # The control plane that is off comes back in the same run.
    write(cluster, endpoint={"kind": "virtual-ip"})
    cluster.apply()
    url = server_of(cluster, cluster.node("worker"))
    address = url.split("/")[2].split(":")[0]
    assert url == f"https://{address}:{SHARED_PORT}"
    (holder,) = holders(cluster, address, *planes(cluster))
    assert not balancing_on(cluster, cluster.node("worker"))
    with probe(cluster, address, SHARED_PORT) as seen:
        cluster.on(holder, "systemctl", "kill", "-s", "KILL", "anykube-haproxy.service")
        time.sleep(3)
    told("kill -9 of haproxy at the virtual address", seen)
    assert seen.outage() < 1.5
    eventually(partial(not_active, cluster, holder, "anykube-keepalived.service"))
    (holder,) = holders(cluster, address, *planes(cluster))
    with probe(cluster, address, SHARED_PORT) as seen:
        cluster.power_off(holder)
        time.sleep(5)
    told("power cut of the holder of the virtual address", seen)
    assert seen.outage() < ADDRESS_MOVES_SECONDS
    assert len(holders(cluster, address, *(node for node in planes(cluster) if node != holder))) == 1


def test_nodes_move_to_a_balancer_of_the_user_when_it_serves(cluster: Story) -> None:
    node = cluster.node("worker")
    before = server_of(cluster, node)
    gateway = cluster.address(node).rpartition(".")[0] + ".1"
    write(cluster, endpoint={"kind": "external", "address": gateway, "port": 7443})
    process = cluster.begin("apply", "-f", str(cluster.file), "--yes")
    servers = [(cluster.address(plane), API_PORT) for plane in planes(cluster)]
    try:
        eventually(partial(waiting, cluster, gateway))
        assert server_of(cluster, node) == before
        with balancing(gateway, 7443, servers):
            stdout, stderr = process.communicate(timeout=120)
            assert process.returncode == 0, stdout + stderr
            assert server_of(cluster, node) == f"https://{gateway}:7443"
            assert not [
                plane for plane in planes(cluster) if cluster.on(plane, "ls", OWN_CONFIGS, check=False)
            ]
            cluster.must_be_settled()
    finally:
        process.kill()
    (change,) = [c for c in cluster.changes() if c["target"] == "cluster"]
    assert "does not answer" in change["reason"]


def waiting(cluster: Story, gateway: str) -> str:
    """'' once all API servers name the new address: the run then waits for the balancer only."""
    for plane in planes(cluster):
        text = cluster.on(plane, "cat", "/etc/kubernetes/pki/apiserver.crt", check=False)
        if not text:
            return f"{plane} is off"
        argv = ["openssl", "x509", "-noout", "-text"]
        shown = subprocess.run(argv, input=text, capture_output=True, text=True, check=True).stdout
        if f"IP Address:{gateway}" not in shown:
            return f"{plane} does not name {gateway}"
    return ""


def test_machines_that_balance_for_all(cluster: Story) -> None:
    write(cluster, BALANCERS, endpoint={"kind": "virtual-ip"})
    cluster.apply()
    pair = [cluster.node("lb", 1), cluster.node("lb", 2)]
    address = server_of(cluster, cluster.node("worker")).split("/")[2].split(":")[0]
    (holder,) = holders(cluster, address, *pair)
    with probe(cluster, address, API_PORT) as seen:
        cluster.power_off(holder)
        time.sleep(5)
    told("power cut of a load balancer", seen)
    assert seen.outage() < ADDRESS_MOVES_SECONDS


def test_nodes_balance_for_themselves_again(cluster: Story) -> None:
    write(cluster)
    cluster.apply()
    assert server_of(cluster, cluster.node("worker")) == f"https://{LOOPBACK}:{API_PORT}"
    assert len(cluster.nodes) == 4
    assert cluster.ready_nodes() == set(cluster.nodes)
    assert not balancing_on(cluster, *planes(cluster))
    cluster.must_be_settled()
