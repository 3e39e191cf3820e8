"""What kubeadm is told for several control planes."""

from __future__ import annotations

from typing import Any

import yaml
from bench.kubeadm_config import etcd_config, init_config
from bench.lab import cluster_text
from bench.shape import Shape
from tests.unit.plan.world import World

from anykube.content.context import NodeContext
from anykube.plan.contexts import contexts, known_hosts
from anykube.spec.load import load


def nodes_of(shape: Shape) -> tuple[NodeContext, ...]:
    world = World(load(cluster_text("k", shape), "k"))
    blueprint = world.blueprint()
    hosts = known_hosts(world.facts(), blueprint)
    return contexts(world.cluster, blueprint.addresses, blueprint, hosts)


def documents(text: str) -> dict[str, Any]:
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def test_one_control_plane_has_no_shared_endpoint() -> None:
    (head, *_) = nodes_of(Shape(1, 2))
    made = documents(init_config(head, [head.address], fair=False))["ClusterConfiguration"]
    assert "controlPlaneEndpoint" not in made
    assert "local" in made["etcd"]


def test_several_are_reached_through_the_first() -> None:
    (head, *_) = nodes_of(Shape(3, 2))
    servers = [address for _, address in head.endpoint.servers]
    made = documents(init_config(head, servers, fair=False))
    assert made["ClusterConfiguration"]["controlPlaneEndpoint"] == f"{head.address}:6443"
    assert len(made["InitConfiguration"]["certificateKey"]) == 64


def test_separate_members_know_each_other_and_the_servers_know_them() -> None:
    every = nodes_of(Shape(3, 2, etcd=3))
    head, members = every[0], [context for context in every if context.node.etcd]
    made = documents(init_config(head, [head.address], fair=True))["ClusterConfiguration"]["etcd"]
    assert made["external"]["endpoints"] == [f"https://{member.address}:2379" for member in members]
    arguments = documents(etcd_config(members[1]))["ClusterConfiguration"]["etcd"]["local"]["extraArgs"]
    values = {argument["name"]: argument["value"] for argument in arguments}
    wanted = ",".join(f"{member.node.name}=https://{member.address}:2380" for member in members)
    assert values["initial-cluster"] == wanted
    assert values["name"] == members[1].node.name
