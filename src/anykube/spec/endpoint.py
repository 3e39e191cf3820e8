"""Where the API is: one value, from the object and the addresses of its nodes. Pure.

Read by content (configurations, certificates), by addons, and by whoever connects to the API.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from anykube.spec.model import Cluster, EndpointKind
from anykube.spec.nodes import nodes

API_PORT = 6443
"""Where each API server listens, on all addresses of its node."""
SHARED_PORT = 8443
"""The port of a virtual address on control planes, where the API server itself has 6443."""
LOOPBACK = "127.0.0.1"
VIRTUAL_IP = "virtual-ip"
"""Key of the address that a provider chose, in the record's site and the blueprint's choices."""


@dataclass(frozen=True, slots=True)
class ApiEndpoint:
    """How the API is reached.

    host and port: what components on nodes without an API server use.
    servers: (node, address) of every API server.
    balancers: (node, address) of the machines that carry a virtual address, in order of preference.
    """

    kind: EndpointKind
    host: str
    port: int
    servers: tuple[tuple[str, str], ...]
    balancers: tuple[tuple[str, str], ...] = ()

    @property
    def url(self) -> str:
        """The endpoint as nodes use it."""
        return url(self.host, self.port)

    @property
    def shared(self) -> bool:
        """Whether the host is an address of its own, which certificates must name and users should use."""
        return self.kind in (EndpointKind.VIRTUAL_IP, EndpointKind.EXTERNAL)

    @property
    def urls(self) -> tuple[str, ...]:
        """Every way to the API from outside the nodes: the shared address first, then each server."""
        direct = tuple(url(address, API_PORT) for _, address in self.servers)
        return (self.url, *direct) if self.shared else direct


def endpoint_kind(cluster: Cluster) -> EndpointKind:
    """The kind in effect: as the object says, else by the number of control planes."""
    if cluster.spec.endpoint.kind is not None:
        return cluster.spec.endpoint.kind
    several = sum(node.control_plane for node in nodes(cluster)) > 1
    return EndpointKind.NODE_LOCAL if several else EndpointKind.SINGLE


def api_endpoint(cluster: Cluster, addresses: Mapping[str, str], site: Mapping[str, str]) -> ApiEndpoint:
    """The endpoint of a cluster whose nodes have these addresses. `site` holds what its provider chose.

    A node without an address does not exist yet; at least one control plane has one.
    """
    wanted = [node for node in nodes(cluster) if node.name in addresses]
    servers = tuple((node.name, addresses[node.name]) for node in wanted if node.control_plane)
    given = cluster.spec.endpoint
    kind = endpoint_kind(cluster)
    match kind:
        case EndpointKind.NODE_LOCAL:
            return ApiEndpoint(kind, LOOPBACK, API_PORT, servers)
        case EndpointKind.EXTERNAL:
            return ApiEndpoint(kind, given.address or "", given.port or API_PORT, servers)
        case EndpointKind.VIRTUAL_IP:
            own = tuple((node.name, addresses[node.name]) for node in wanted if node.load_balancer)
            port = given.port or (API_PORT if own else SHARED_PORT)
            return ApiEndpoint(kind, given.address or site.get(VIRTUAL_IP, ""), port, servers, own or servers)
        case EndpointKind.SINGLE:
            return ApiEndpoint(kind, servers[0][1], API_PORT, servers)


def url(host: str, port: int) -> str:
    """An https URL; an IPv6 address gets its brackets."""
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
