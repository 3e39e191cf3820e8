"""Nodes to make content for: the cases of the golden files, and a factory for others."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from anykube.content.context import NodeContext
from anykube.facts.backup import SealedFacts
from anykube.facts.host import SystemFacts
from anykube.spec.endpoint import api_endpoint
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes

ALL_CAPABILITIES = (1 << 41) - 1
MACHINE = SystemFacts(
    hostname="",
    os="debian",
    os_version="12",
    arch="amd64",
    kernel="6.1.0",
    machine_id="0" * 32,
    boot_id="0" * 32,
    systemd=252,
    container=False,
    cgroup=2,
    capabilities=ALL_CAPABILITIES,
    cpus=2,
    memory=4096,
    swap=0,
    clock=0.0,
    mtu=1500,
    disk_free={},
    addresses=(),
)
CONTAINER = replace(MACHINE, container=True, cgroup=1, capabilities=ALL_CAPABILITIES & ~(1 << 24))

ALL_ROLES = ["control-plane", "etcd", "worker"]


def make_cluster(pools: list[dict[str, Any]], **spec: Any) -> Cluster:
    """A cluster object; keyword arguments are parts of its spec."""
    document = {
        "apiVersion": "anykube.dev/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": "demo"},
        "spec": {
            "kubernetes": {"version": "1.36.3"},
            "machines": {"provider": {"lxc": {}}, "pools": pools},
            "network": {"cni": {"flannel": {}}},
            **spec,
        },
    }
    return Cluster.model_validate_json(json.dumps(document))


def make_context(
    cluster: Cluster, name: str, system: SystemFacts = MACHINE, *, birth: bool = True
) -> NodeContext:
    """The context of one node; the n-th node has the address 10.0.0.<10 + n>."""
    everyone = nodes(cluster)
    addresses = {node.name: f"10.0.0.{11 + number}" for number, node in enumerate(everyone)}
    return NodeContext(
        cluster=cluster,
        node=next(node for node in everyone if node.name == name),
        address=addresses[name],
        system=system,
        etcd_members=tuple((node.name, addresses[node.name]) for node in everyone if node.etcd),
        endpoint=api_endpoint(cluster, addresses, {}),
        birth=birth,
    )


def single() -> NodeContext:
    """One node with all roles, in a container that may not lower oom scores, on cgroup v1."""
    return make_context(make_cluster([{"name": "all", "roles": ALL_ROLES}]), "demo-all-1", CONTAINER)


def worker() -> NodeContext:
    """A worker with labels and a taint, in a virtual machine with cgroup v2 and another host name."""
    labels = {"disk": "fast", "topology.kubernetes.io/zone": "a", "node-role.kubernetes.io/gpu": ""}
    taints = [{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}]
    pools: list[dict[str, Any]] = [
        {"name": "cp", "roles": ["control-plane", "etcd"]},
        {"name": "worker", "roles": ["worker"], "labels": labels, "taints": taints},
    ]
    cluster = make_cluster(pools, addons={"dns": {}, "metrics": {}})
    return make_context(cluster, "demo-worker-1", replace(MACHINE, hostname="vm-7"))


SEPARATE = [
    {"name": "cp", "roles": ["control-plane"], "count": 2},
    {"name": "etcd", "roles": ["etcd"], "count": 3},
]


def plain_control_plane() -> NodeContext:
    """A control plane with neither audit nor encryption, its etcd on machines of its own."""
    return make_context(
        make_cluster(SEPARATE, security={"encryptionAtRest": False, "audit": False}), "demo-cp-1", birth=False
    )


def etcd_alone() -> NodeContext:
    """The second of three etcd machines of a cluster that was born before, with a schedule of backups."""
    s3 = {"bucket": "backups", "prefix": "clusters/demo", "credentials": "/root/.aws/credentials"}
    cluster = make_cluster(SEPARATE, backup={"every": "12h", "to": {"s3": s3}})
    sealed = SealedFacts("0" * 64, current=True, credentials="1" * 64, anykube="0.1.0")
    return replace(make_context(cluster, "demo-etcd-2", birth=False), sealed=sealed)


def worker_of_three() -> NodeContext:
    """A worker of a cluster with three control planes: it balances over them on its own loopback address."""
    pools: list[dict[str, Any]] = [
        {"name": "cp", "roles": ["control-plane", "etcd"], "count": 3},
        {"name": "worker", "roles": ["worker"]},
    ]
    return make_context(make_cluster(pools), "demo-worker-1")


def balancer() -> NodeContext:
    """The second of two machines that carry the address of the API, and do nothing else."""
    pools: list[dict[str, Any]] = [
        {"name": "cp", "roles": ["control-plane", "etcd"], "count": 3},
        {"name": "lb", "roles": ["load-balancer"], "count": 2},
        {"name": "worker", "roles": ["worker"]},
    ]
    endpoint = {"kind": "virtual-ip", "address": "10.0.0.200"}
    system = replace(MACHINE, interfaces={"10.0.0.15": "ens3"})
    return make_context(make_cluster(pools, endpoint=endpoint), "demo-lb-2", system)


CASES: Mapping[str, Callable[[], NodeContext]] = {
    "single-in-container": single,
    "worker-in-vm": worker,
    "plain-control-plane": plain_control_plane,
    "etcd-alone": etcd_alone,
    "worker-of-three": worker_of_three,
    "load-balancer": balancer,
}


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> tuple[str, NodeContext]:
    """Each golden case, by name."""
    return request.param, CASES[request.param]()


@pytest.fixture(scope="session")
def contexts() -> Mapping[str, NodeContext]:
    """All golden cases."""
    return {name: make() for name, make in CASES.items()}


@pytest.fixture(scope="session")
def clusters() -> Callable[..., Cluster]:
    """Makes cluster objects: `clusters(pools, **spec)`."""
    return make_cluster


@pytest.fixture(scope="session")
def node_contexts() -> Callable[..., NodeContext]:
    """Makes contexts: `node_contexts(cluster, node name, system, birth=...)`."""
    return make_context
