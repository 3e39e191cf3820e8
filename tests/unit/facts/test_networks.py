"""Networks of an object against the routes of this machine."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anykube.facts.networks import Route, conflicts, free_subnet
from anykube.spec.addresses import free_network
from anykube.spec.load import load, locate
from anykube.spec.model import Cluster
from anykube.spec.template import Answers, render

TEXT = render(Answers(pods="10.80.0.0/14", services="10.96.0.0/16"))


@pytest.fixture
def cluster() -> Cluster:
    return load(TEXT, "c")


def test_free_networks_are_no_conflict(cluster: Cluster) -> None:
    routes = [Route("default", "eth0"), Route("192.168.1.0/24", "eth0"), Route("10.97.0.0/16", "eth1")]
    assert conflicts(cluster, "10.70.0.0/24", routes) == []


def test_a_conflict_names_the_interface_and_a_free_network(cluster: Cluster) -> None:
    found = conflicts(cluster, None, [Route("10.81.0.0/24", "lxcbr0"), Route("10.244.0.0/16", "tun0")])
    (problem,) = locate(TEXT, "cluster.yaml", found)
    line = next(number for number, text in enumerate(TEXT.splitlines(), 1) if "pods:" in text)
    assert str(problem) == (
        f"cluster.yaml:{line}:11  NET-015   network.pods: 10.80.0.0/14 overlaps the network of this "
        "machine's interface lxcbr0 (10.81.0.0/24); 10.0.0.0/14 is free"
    )


def test_our_own_bridge_and_default_routes_are_ignored(cluster: Cluster) -> None:
    routes = [
        Route("10.81.0.0/24", "anykube-demo"),
        Route("0.0.0.0/0", "eth0"),
        Route("0.0.0.0/1", "tun0"),
        Route("128.0.0.0/1", "tun0"),
        Route("fe80::/64", "eth0"),
        Route("nonsense", "eth0"),
    ]
    assert conflicts(cluster, "10.70.0.0/24", routes, ["anykube-demo"]) == []
    assert len(conflicts(cluster, "10.70.0.0/24", routes)) == 1


def test_a_wide_route_and_a_host_route_conflict(cluster: Cluster) -> None:
    wide = conflicts(cluster, "10.70.0.0/24", [Route("10.0.0.0/8", "vpn0")])
    assert [finding.path[-1] for finding in wide] == ["pods", "services", "subnet"]
    assert "is free" in wide[0].hint
    (one,) = conflicts(cluster, None, [Route("10.96.0.1", "eth0")])
    assert one.path[-1] == "services"


def test_the_subnet_that_was_chosen_is_checked(cluster: Cluster) -> None:
    (found,) = conflicts(cluster, "10.70.0.0/24", [Route("10.70.0.0/16", "docker0")])
    assert "the subnet of the nodes" in found.message
    assert "docker0" in found.message


def test_a_subnet_of_the_object_wins_over_the_argument() -> None:
    fixed = load(render(Answers(subnet="10.81.0.0/24")), "c")
    assert conflicts(fixed, "10.82.0.0/24", [Route("10.82.0.0/24", "x")]) == []
    assert len(conflicts(fixed, "10.82.0.0/24", [Route("10.81.0.0/24", "x")])) == 1


def test_many_routes_are_summed_up(cluster: Cluster) -> None:
    routes = [Route(f"10.80.{number}.0/24", f"veth{number}") for number in range(200)]
    (found,) = conflicts(cluster, None, routes)
    assert "veth2 (10.80.2.0/24) and 197 more" in found.message


def test_hostile_interface_names_do_not_reach_a_terminal(cluster: Cluster) -> None:
    (found,) = conflicts(cluster, None, [Route("10.81.0.0/24", "\x1b[31mx\n")])
    assert str(found).isprintable()


def test_a_free_subnet_is_the_same_each_time_and_avoids_everything(cluster: Cluster) -> None:
    default = load(render(Answers()), "c")
    assert free_subnet(default, []) == "10.81.0.0/24"
    assert free_subnet(default, [Route("10.81.0.0/24", "x"), Route("10.81.1.7", "y")]) == "10.81.2.0/24"
    assert free_subnet(default, [Route("10.81.0.0/24", "ours")], ignore_interfaces=["ours"]) == "10.81.0.0/24"
    assert free_subnet(cluster, []) == "10.0.0.0/24"
    everything = [Route(net, "x") for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]
    assert free_subnet(default, everything) is None


networks = st.builds(
    lambda address, prefix: IPv4Network((address, prefix), strict=False),
    st.integers(int(IPv4Network("10.0.0.0/8")[0]), int(IPv4Network("10.0.0.0/8")[-1])),
    st.integers(8, 32),
)


@given(st.integers(8, 30), st.lists(networks, max_size=30))
def test_free_networks_are_free(prefix: int, taken: list[IPv4Network]) -> None:
    inside = (IPv4Network("10.0.0.0/8"),)
    found = free_network(prefix, inside, taken)
    if found is not None:
        assert found.prefixlen == prefix
        assert not any(found.overlaps(other) for other in taken)
    elif prefix <= 16:
        subnets = inside[0].subnets(new_prefix=prefix)
        assert all(any(subnet.overlaps(other) for other in taken) for subnet in subnets)
