"""Sizes of networks at their borders, computed in another way than in the code."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from anykube.spec.addresses import form, pods_size, services_size, spare_nodes, subnet_size


@pytest.mark.parametrize("nodes", [1, 2, 3, 4, 7, 8, 60, 61, 63, 64, 100, 233, 234, 1000])
def test_pods_have_a_part_for_each_node_and_for_spare_ones(nodes: int) -> None:
    for prefix in range(8, 29):
        network = IPv4Network((int(IPv4Network("10.0.0.0/8")[0]), prefix))
        parts = network.num_addresses // 256
        assert (list(pods_size((), network, nodes)) == []) == (parts >= nodes + spare_nodes(nodes))


@pytest.mark.parametrize("nodes", [1, 2, 3, 4, 11, 12, 13, 28, 100, 500])
def test_nodes_have_addresses(nodes: int) -> None:
    for prefix in range(16, 29):
        network = IPv4Network((int(IPv4Network("10.0.0.0/8")[0]), prefix))
        # Without the network itself, the gateway, the virtual address of the API and broadcast.
        free = network.num_addresses - 4
        assert (list(subnet_size((), network, nodes)) == []) == (free >= nodes + spare_nodes(nodes))


@pytest.mark.parametrize("nodes", [1, 3, 4, 5, 12, 13, 14, 29, 61, 500])
def test_the_size_that_a_hint_names_is_the_smallest_that_fits(nodes: int) -> None:
    (finding,) = pods_size((), IPv4Network("10.0.0.0/25"), nodes)
    prefix = int(finding.hint.partition("use a /")[2].split()[0])
    assert not list(pods_size((), IPv4Network((10 << 24, prefix)), nodes))
    assert list(pods_size((), IPv4Network((10 << 24, prefix + 1)), nodes))


def test_services_are_between_a_twelfth_and_a_twenty_fourth() -> None:
    fitting = [
        prefix for prefix in range(8, 32) if not list(services_size((), IPv4Network((10 << 24, prefix))))
    ]
    assert fitting == list(range(12, 25))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("10.0.0.0/8", ""),
        ("100.64.0.0/10", ""),
        ("172.31.0.0/16", ""),
        ("10.0.0.1/8", "NET-010"),
        ("010.0.0.0/8", "NET-010"),
        ("10.0.0.0/255.0.0.0", "NET-010"),
        ("10.0.0.0/08", "NET-010"),
        ("10.0.0/8", "NET-010"),
        ("10.0.0.256/32", "NET-010"),
        ("::ffff:10.0.0.0/104", "NET-011"),
        ("127.0.0.0/8", "NET-012"),
        ("169.254.1.0/24", "NET-012"),
        ("239.0.0.0/8", "NET-012"),
        ("240.0.0.0/8", "NET-012"),
        ("255.255.255.255/32", "NET-012"),
        ("0.0.0.0/8", "NET-012"),
        ("172.16.0.0/11", "NET-010"),
        ("172.0.0.0/8", "NET-012"),
        ("11.0.0.0/8", "NET-012"),
    ],
)
def test_forms_of_a_network(text: str, code: str) -> None:
    assert [finding.code for finding in form((), "pods", text)] == ([code] if code else [])
