"""Subnets, addresses and names of LXC clusters: nothing collides, nothing moves."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anykube.errors import ProviderError
from anykube.providers.lxc import addressing
from anykube.spec.model import Role
from anykube.spec.nodes import Node

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)
NETWORKS = st.builds(
    lambda address, prefix: str(IPv4Network((address, prefix), strict=False)),
    st.integers(0, 2**32 - 1),
    st.integers(8, 32),
)


def node(name: str, *roles: Role) -> Node:
    return Node(name, "pool", roles)


def cp(number: int) -> Node:
    return node(f"cp-{number}", Role.CONTROL_PLANE, Role.ETCD)


def worker(number: int) -> Node:
    return node(f"worker-{number}", Role.WORKER)


@given(NAMES)
def test_interface_names_fit_the_kernel(cluster: str) -> None:
    folder = PurePosixPath("/var/lib/anykube/lxc") / cluster / "nodes" / f"{cluster}-cp-1"
    for name in (addressing.bridge_name(cluster), addressing.interface_name(folder)):
        assert 3 < len(name) <= 15
        assert name.startswith("ak")


def test_long_names_do_not_collide() -> None:
    names = {addressing.bridge_name(f"production-cluster-{number}") for number in range(1000)}
    assert len(names) == 1000


def test_the_same_node_name_in_two_places_shares_nothing() -> None:
    one, two = (PurePosixPath(f"/{root}/demo/nodes/demo-cp-1") for root in "ab")
    assert addressing.interface_name(one) != addressing.interface_name(two)
    assert addressing.hardware_address(one) != addressing.hardware_address(two)
    assert not set(addressing.cgroup_names(one)) & set(addressing.cgroup_names(two))


def test_hardware_addresses_are_local_unicast() -> None:
    first = int(addressing.hardware_address(PurePosixPath("/x")).split(":")[0], 16)
    assert first & 2  # locally administered
    assert not first & 1  # no multicast


@given(st.lists(NETWORKS, max_size=20))
def test_a_chosen_subnet_overlaps_nothing(occupied: list[str]) -> None:
    try:
        chosen = addressing.choose_subnet(None, None, occupied)
    except ProviderError:
        # Only when every candidate is taken.
        used = [IPv4Network(text) for text in occupied]
        assert all(any(net.overlaps(one) for net in used) for one in addressing.CANDIDATES)
    else:
        assert not any(chosen.overlaps(IPv4Network(text)) for text in occupied)


def test_the_first_cluster_and_the_next() -> None:
    assert str(addressing.choose_subnet(None, None, ["192.0.2.0/24", "::/0", "0.0.0.0/0"])) == "10.81.0.0/24"
    assert str(addressing.choose_subnet(None, None, ["10.81.0.0/24"])) == "10.81.1.0/24"
    assert str(addressing.choose_subnet(None, None, ["10.81.0.0/16"])) == "10.82.0.0/24"


def test_a_recorded_subnet_stays_although_it_is_now_routed_here() -> None:
    assert str(addressing.choose_subnet(None, "10.9.0.0/24", ["10.9.0.0/24"])) == "10.9.0.0/24"


@pytest.mark.parametrize(
    ("wanted", "recorded", "occupied", "said"),
    [
        ("10.0.0.0/24", "10.9.0.0/24", [], "cannot change"),
        ("10.0.0.0/24", None, ["10.0.0.128/25"], "overlaps 10.0.0.128/25"),
        ("10.0.0.5/24", None, [], "not an IPv4 network"),
        ("fd00::/64", None, [], "not an IPv4 network"),
        ("\x1b[31m", None, [], "not an IPv4 network"),
        (None, None, ["10.0.0.0/8"], "No free network"),
    ],
)
def test_subnets_that_are_refused(
    wanted: str | None, recorded: str | None, occupied: list[str], said: str
) -> None:
    with pytest.raises(ProviderError, match=said) as caught:
        addressing.choose_subnet(wanted, recorded, occupied)
    assert "\x1b" not in str(caught.value)


def test_addresses_tell_the_role() -> None:
    nodes = [cp(1), cp(2), worker(1), node("etcd-1", Role.ETCD), node("lb-1", Role.LOAD_BALANCER)]
    assert addressing.assign(nodes, IPv4Network("10.81.0.0/24"), {}) == {
        "cp-1": "10.81.0.11",
        "cp-2": "10.81.0.12",
        "worker-1": "10.81.0.21",
        "etcd-1": "10.81.0.201",
        "lb-1": "10.81.0.221",
    }


@given(
    st.lists(st.tuples(st.sampled_from([cp, worker]), st.integers(1, 40)), unique=True, max_size=60),
    st.data(),
)
def test_addresses_are_distinct_inside_and_stay(
    chosen: list[tuple[object, int]], data: st.DataObject
) -> None:
    subnet = IPv4Network("10.81.0.0/24")
    nodes = [make(number) for make, number in chosen]  # type: ignore[operator]
    first = nodes[: data.draw(st.integers(0, len(nodes)))]
    before = addressing.assign(first, subnet, {})
    after = addressing.assign(nodes, subnet, before)
    assert before.items() <= after.items()
    assert len(set(after.values())) == len(after)
    forbidden = {subnet[0], subnet[1], subnet[-1], addressing.virtual_address(subnet)}
    assert all(IPv4Address(text) in subnet for text in after.values())
    assert not {IPv4Address(text) for text in after.values()} & forbidden


def test_an_address_once_given_is_not_given_to_another() -> None:
    recorded = {"gone-1": "10.81.0.21", "worker-1": "10.81.0.22"}
    given_now = addressing.assign([worker(1), worker(2)], IPv4Network("10.81.0.0/24"), recorded)
    assert given_now == {"worker-1": "10.81.0.22", "worker-2": "10.81.0.23"}


def test_a_small_subnet_is_filled_and_then_refused() -> None:
    subnet = IPv4Network("10.0.0.0/28")
    nodes = [worker(number) for number in range(12)]
    given_now = set(addressing.assign(nodes, subnet, {}).values())
    assert len(given_now) == 12
    assert str(addressing.virtual_address(subnet)) not in given_now
    with pytest.raises(ProviderError, match="no free address"):
        addressing.assign([*nodes, worker(99)], subnet, {})


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("10.82.0.9", "not in the nodes' subnet"),
        ("10.81.0.21", "belongs to the node worker-1"),
        ("10.81.0.1", "the gateway"),
        ("10.81.0.0", "the network"),
        ("10.81.0.255", "broadcast"),
    ],
)
def test_a_virtual_address_that_cannot_be_one(address: str, why: str) -> None:
    subnet = IPv4Network("10.81.0.0/24")
    with pytest.raises(ProviderError, match=why) as caught:
        addressing.refuse_virtual(address, subnet, {"worker-1": "10.81.0.21"})
    assert "10.81.0.254" in str(caught.value.remedy)


def test_a_virtual_address_is_given_to_no_node() -> None:
    subnet = IPv4Network("10.81.0.0/24")
    addressing.refuse_virtual("10.81.0.22", subnet, {"worker-1": "10.81.0.21"})
    given_now = addressing.assign([worker(1), worker(2)], subnet, {}, "10.81.0.22")
    assert given_now == {"worker-1": "10.81.0.21", "worker-2": "10.81.0.23"}
