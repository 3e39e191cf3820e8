"""All that is on a node, in install order: the entrance of this room for the planner and the probe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache

from anykube.content import (
    apiserver,
    authorities,
    backup,
    cni,
    containerd,
    controller_manager,
    etcd,
    haproxy,
    images,
    keepalived,
    kube_proxy,
    kubelet,
    scheduler,
    system,
)
from anykube.content.context import NodeContext
from anykube.content.model import Component, SecretPart
from anykube.facts.backup import SealedFacts
from anykube.facts.host import SystemFacts
from anykube.spec.endpoint import API_PORT, LOOPBACK, SHARED_PORT, ApiEndpoint
from anykube.spec.model import Cluster, EndpointKind, Role
from anykube.spec.nodes import Node

CERTIFICATE_PARTS = ("certificate", "bundle")
"""Of a secret; a bundle holds all certificates of a CA that is being rotated, or all public keys."""


def components(context: NodeContext) -> tuple[Component, ...]:
    """The components that the node's roles ask for."""
    return tuple(_components(context))


def _components(context: NodeContext) -> Iterator[Component]:
    node = context.node
    balancer = haproxy.local(context) or haproxy.shared(context)
    yield system.component(context)
    if node.kubelet or balancer:
        yield authorities.component(context)
    if balancer:
        yield haproxy.component(context)
    if haproxy.shared(context):
        yield keepalived.component(context)
    if node.kubelet:
        yield containerd.component(context)
        yield images.component(context)
        yield cni.component(context)
    if node.etcd:
        yield etcd.component(context)
        if wanted := backup.wanted(context):
            yield backup.component(context, wanted)
    if node.control_plane:
        yield apiserver.component(context)
        yield controller_manager.component(context)
        yield scheduler.component(context)
    if node.kubelet:
        yield kubelet.component(context)
        yield kube_proxy.component(context)


def managed_paths() -> tuple[str, ...]:
    """Every path that anykube may put on a node of any role, sorted: what the probe asks every host for."""
    return tuple(sorted({file.path for component in _everything() for file in component.files}))


@cache
def certificate_paths(node: str) -> Mapping[str, str]:
    """Path of every certificate that a node of any role may have, and the secret that it is of."""
    return {
        file.path: file.source.secret.replace("nodes/any/", f"nodes/{node}/", 1)
        for component in _everything()
        for file in component.files
        if isinstance(file.source, SecretPart)
        and file.source.part in CERTIFICATE_PARTS
        and file.path.endswith(".crt")
    }


def managed_units() -> tuple[str, ...]:
    """Every unit that anykube may put on a node of any role, sorted."""
    return tuple(sorted({component.unit.name for component in _everything() if component.unit}))


@cache
def unit_traces() -> Mapping[str, tuple[str, ...]]:
    """What each unit may leave on a node of any role, in the ledger's words, by the name of the unit."""
    found: dict[str, tuple[str, ...]] = {}
    for component in _everything():
        if component.unit:
            known = found.get(component.unit.name, ())
            found[component.unit.name] = tuple(dict.fromkeys((*known, *component.traces)))
    return found


def programs(context: NodeContext) -> frozenset[str]:
    """What the components of a node need of its distribution."""
    return frozenset(program for component in components(context) for program in component.programs)


def managed_programs() -> tuple[str, ...]:
    """Every program of the distribution that a node of any role needs, sorted."""
    return tuple(sorted({program for component in _everything() for program in component.programs}))


_EVERYTHING_ON = """{
    "apiVersion": "anykube.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": "any"},
    "spec": {
        "kubernetes": {"version": "1.36.3"},
        "machines": {
            "provider": {"lxc": {}},
            "pools": [{"name": "all", "roles": ["control-plane", "etcd", "worker"]}]
        },
        "network": {"cni": {"flannel": {}}},
        "security": {"encryptionAtRest": true, "audit": true},
        "addons": {"dns": {}, "metrics": {}},
        "backup": {"to": {"s3": {"bucket": "any", "credentials": "/any"}}}
    }
}"""


@cache
def _everything() -> tuple[Component, ...]:
    """The components of a node that has every role, in a cluster with every option, and those of a worker:
    paths never depend on names or versions, so these examples have them all."""
    system_facts = SystemFacts(
        hostname="any",
        os="debian",
        os_version="12",
        arch="amd64",
        kernel="",
        machine_id="",
        boot_id="",
        systemd=252,
        container=False,
        cgroup=2,
        capabilities=0,
        cpus=1,
        memory=1024,
        swap=0,
        clock=0.0,
        mtu=1500,
        disk_free={},
        addresses=(),
    )
    own = (("any", "192.0.2.1"),)
    context = NodeContext(
        cluster=Cluster.model_validate_json(_EVERYTHING_ON),
        node=Node(name="any", pool="all", roles=tuple(Role)),
        address="192.0.2.1",
        system=system_facts,
        etcd_members=own,
        endpoint=ApiEndpoint(EndpointKind.VIRTUAL_IP, "192.0.2.2", SHARED_PORT, own, own),
        sealed=SealedFacts("any", credentials="any"),
    )
    worker = replace(
        context,
        node=Node(name="any", pool="all", roles=(Role.WORKER,)),
        endpoint=ApiEndpoint(EndpointKind.NODE_LOCAL, LOOPBACK, API_PORT, own),
    )
    return (*components(context), *components(worker))
