"""Rules about networks: each one by itself, its size for the machines, and none over another. Pure.

Arithmetic only; `networks.py` knows which networks an object has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import combinations

from anykube.spec.problem import Finding, Path, shown

POD_BITS = 24
"""Each node takes a network of this prefix length from the pod network."""
SERVICE_PREFIXES = (12, 24)
NODE_PREFIXES = (16, 28)
POD_LARGEST = 8
RESERVED_NODE_ADDRESSES = 4
"""Network address, gateway, virtual address of the API, broadcast address."""

SHARED = IPv4Network("100.64.0.0/10")
"""Between a provider and its customers (RFC 6598): used for pods by many."""

CANDIDATES: tuple[IPv4Network, ...] = tuple(
    IPv4Network(text)
    for text in ("10.244.0.0/16", "10.96.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)
"""Where free networks are looked for, in this order."""


@dataclass(frozen=True, slots=True)
class NamedNetwork:
    """A network of the object and the field that holds it."""

    name: str
    path: Path
    network: IPv4Network


def spare_nodes(count: int) -> int:
    """How many nodes more than now must fit: a replacement in flight, and room to grow a little."""
    return max(1, count // 10)


def network_of(text: str) -> IPv4Network | None:
    """The network, if the text is exactly one IPv4 network."""
    try:
        return IPv4Network(text)
    except ValueError:
        return None


def form(path: Path, name: str, text: str) -> Iterator[Finding]:
    """Whether a text is a usable IPv4 network at all."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        yield Finding(
            path, "NET-010", f"{name}: {shown(text)} is not a network", "write one such as 10.244.0.0/16"
        )
        return
    if isinstance(network, IPv6Network):
        yield Finding(path, "NET-011", f"{name}: IPv6 is not supported yet", "use an IPv4 network")
    elif text != str(network):
        yield Finding(
            path, "NET-010", f"{name}: {shown(text)} is not the start of a network; write {network}"
        )
    elif reason := _unusable(network):
        yield Finding(path, "NET-012", f"{name}: {network} {reason}", "use a part of 10.0.0.0/8")


def _unusable(network: IPv4Network) -> str:
    """Why a network cannot carry pods, Services or nodes; '' when it can."""
    if network.is_loopback:
        return "is loopback"
    if network.is_link_local:
        return "is link-local"
    if network.is_multicast:
        return "is multicast"
    if network.is_unspecified or network.overlaps(IPv4Network("0.0.0.0/8")):
        return "has addresses that mean 'this host'"
    if network.is_reserved or network.overlaps(IPv4Network("240.0.0.0/4")):
        return "has reserved addresses"
    if not network.is_private and not network.subnet_of(SHARED):
        return "has public addresses, which would no longer be reachable"
    return ""


def pods_size(path: Path, network: IPv4Network, nodes: int) -> Iterator[Finding]:
    """Whether each node, and a few more, get their /24 of the pod network."""
    wanted = nodes + spare_nodes(nodes)
    largest = POD_BITS - (wanted - 1).bit_length()
    if network.prefixlen < POD_LARGEST:
        yield Finding(path, "NET-013", f"network.pods: /{network.prefixlen} is too large", "at most a /8")
    elif network.prefixlen > largest:
        message = f"network.pods: /{network.prefixlen} is too small for {nodes} nodes"
        hint = f"each takes a /{POD_BITS}; use a /{largest} or larger"
        yield Finding(path, "NET-013", message, hint if largest >= POD_LARGEST else "use fewer nodes")


def services_size(path: Path, network: IPv4Network) -> Iterator[Finding]:
    """The API server refuses more than a /12; less than a /24 is soon full."""
    least, most = SERVICE_PREFIXES
    if not least <= network.prefixlen <= most:
        message = f"network.services: /{network.prefixlen} is outside /{least} to /{most}"
        yield Finding(path, "NET-013", message, "a /16 is usual")


def subnet_size(path: Path, network: IPv4Network, nodes: int) -> Iterator[Finding]:
    """Whether the nodes fit, with room for a few more."""
    least, most = NODE_PREFIXES
    name = "machines.provider.lxc.subnet"
    if not least <= network.prefixlen <= most:
        yield Finding(path, "NET-013", f"{name}: /{network.prefixlen} is outside /{least} to /{most}")
        return
    wanted = nodes + spare_nodes(nodes) + RESERVED_NODE_ADDRESSES
    if network.num_addresses < wanted:
        largest = 32 - (wanted - 1).bit_length()
        message = f"{name}: {network} is too small for {nodes} nodes"
        yield Finding(path, "NET-013", message, f"use a /{largest} or larger")


def overlaps(networks: Sequence[NamedNetwork]) -> Iterator[Finding]:
    """Networks of the object that share addresses; told at the later one."""
    for first, second in combinations(networks, 2):
        if first.network.overlaps(second.network):
            taken = [other.network for other in networks if other is not second]
            free = free_network(second.network.prefixlen, taken=taken)
            yield Finding(
                second.path,
                "NET-014",
                f"{second.name}: {second.network} overlaps {first.name} {first.network}",
                f"{free} is free" if free else "",
            )


def free_network(
    prefix: int, candidates: Sequence[IPv4Network] = CANDIDATES, taken: Sequence[IPv4Network] = ()
) -> IPv4Network | None:
    """The first network of that prefix length in the candidates that shares nothing with `taken`."""
    size = 2 ** (32 - prefix)
    ranges = sorted((int(other.network_address), int(other.broadcast_address)) for other in taken)
    for candidate in candidates:
        address, end = int(candidate.network_address), int(candidate.broadcast_address)
        for first, last in ranges:
            if first <= address + size - 1 and last >= address:
                address = (last // size + 1) * size
        if address + size - 1 <= end:
            return IPv4Network((address, prefix))
    return None
