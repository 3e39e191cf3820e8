"""Topologies by name, and the objects made of them."""

from __future__ import annotations

import pytest
from bench.lab import cluster_text
from bench.shape import Shape, shape

from anykube.spec.load import load
from anykube.spec.nodes import nodes


@pytest.mark.parametrize(
    ("text", "wanted", "name"),
    [
        ("1", Shape(1), "1 node"),
        ("1+2", Shape(1, 2), "1+2"),
        ("3+2", Shape(3, 2), "3+2"),
        ("3+3+2", Shape(3, 2, etcd=3), "3+3+2"),
    ],
)
def test_shape_of_text(text: str, wanted: Shape, name: str) -> None:
    assert shape(text) == wanted
    assert wanted.name == name


@pytest.mark.parametrize("text", ["", "three", "1+2+3+4"])
def test_no_shape(text: str) -> None:
    with pytest.raises(ValueError, match=r"invalid literal|not a topology"):
        shape(text)


@pytest.mark.parametrize("text", ["1", "1+2", "3+2", "3+3+2"])
def test_objects_have_the_nodes_of_their_shape(text: str) -> None:
    wanted = shape(text)
    made = nodes(load(cluster_text(f"bench-{wanted.label}", wanted), "bench"))
    assert len(made) == wanted.size
    assert sum(node.control_plane for node in made) == wanted.planes
    assert sum(node.etcd for node in made) == (wanted.etcd or wanted.planes)
    assert sum(node.etcd and not node.control_plane for node in made) == wanted.etcd
    assert made[0].control_plane


def test_a_spec_is_added_to() -> None:
    text = cluster_text("bench", Shape(3, 1), endpoint={"kind": "virtual-ip"})
    assert load(text, "bench").spec.endpoint.kind == "virtual-ip"
