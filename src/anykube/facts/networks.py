"""Whether the cluster's networks are free on this machine: asked before anything is touched. Pure.

`observe` reads the routes, `spec.load.locate` gives the findings their lines, providers take a free subnet.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

from anykube.spec.addresses import CANDIDATES, NamedNetwork, free_network, network_of
from anykube.spec.model import Cluster
from anykube.spec.networks import named_networks
from anykube.spec.problem import Finding, escaped

SHOWN_ROUTES = 3
DEFAULT_PREFIX = 1
"""Routes this wide lead to everywhere: the default route, or the two halves by which a VPN replaces it."""

SUBNET_CANDIDATES: tuple[IPv4Network, ...] = (IPv4Network("10.81.0.0/16"), *CANDIDATES[2:])


@dataclass(frozen=True, slots=True)
class Route:
    """A destination in this machine's routing table ('10.0.0.0/24', '10.0.0.1', 'default')."""

    network: str
    interface: str


def conflicts(
    cluster: Cluster,
    subnet: str | None,
    routes: Sequence[Route],
    ignore_interfaces: Collection[str] = (),
) -> list[Finding]:
    """Networks of the object, and the subnet of the nodes, that share addresses with routes of this machine.

    `subnet` is the one in use or chosen when the object names none. `ignore_interfaces` are our own bridges.
    """
    used = _used(routes, ignore_interfaces)
    named = named_networks(cluster, subnet)
    found: list[Finding] = []
    for network in named:
        hits = [(route, name) for route, name in used if route.overlaps(network.network)]
        if hits:
            others = [other.network for other in named if other is not network]
            free = free_network(network.network.prefixlen, taken=[*others, *(route for route, _ in used)])
            found.append(_conflict(network, hits, free))
    return found


def free_subnet(
    cluster: Cluster, routes: Sequence[Route], prefix: int = 24, ignore_interfaces: Collection[str] = ()
) -> str | None:
    """A network of that size for the nodes that nothing uses; the same answer for the same routes."""
    taken = [route for route, _ in _used(routes, ignore_interfaces)]
    taken += [named.network for named in named_networks(cluster, None)]
    free = free_network(prefix, SUBNET_CANDIDATES, taken)
    return str(free) if free else None


def _used(routes: Sequence[Route], ignore: Collection[str]) -> list[tuple[IPv4Network, str]]:
    """Routes that lead somewhere in particular, with their interface."""
    parsed = ((network_of(route.network), route.interface) for route in routes)
    return [
        (network, interface)
        for network, interface in parsed
        if network and network.prefixlen > DEFAULT_PREFIX and interface not in ignore
    ]


def _conflict(
    named: NamedNetwork, hits: Sequence[tuple[IPv4Network, str]], free: IPv4Network | None
) -> Finding:
    places = [f"{escaped(interface)} ({network})" for network, interface in hits[:SHOWN_ROUTES]]
    more = f" and {len(hits) - SHOWN_ROUTES} more" if len(hits) > SHOWN_ROUTES else ""
    one = len(hits) == 1
    noun = "the network of this machine's interface" if one else "networks of this machine's interfaces"
    message = f"{named.name}: {named.network} overlaps {noun} {', '.join(places)}{more}"
    return Finding(named.path, "NET-015", message, f"{free} is free" if free else "")
