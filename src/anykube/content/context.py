"""What content is made from: one node, and what it must know of the others."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network

from anykube.facts.backup import SealedFacts
from anykube.facts.host import SystemFacts
from anykube.spec.endpoint import API_PORT, LOOPBACK, ApiEndpoint, url
from anykube.spec.model import Cluster
from anykube.spec.nodes import Node

__all__ = ["API_PORT", "NodeContext"]


@dataclass(frozen=True, slots=True)
class NodeContext:
    """Everything that the files of a node depend on.

    etcd_members: (node name, address) of all members.  endpoint: how the API is reached.
    birth: whether etcd is being born, all its members at once; later members join.
    sealed: what goes into backups besides etcd, as it lies on this machine.
    """

    cluster: Cluster
    node: Node
    address: str
    system: SystemFacts
    etcd_members: tuple[tuple[str, str], ...]
    endpoint: ApiEndpoint
    birth: bool = True
    sealed: SealedFacts = SealedFacts()

    @property
    def server(self) -> str:
        """The URL of the API for components of this node.

        On a control plane it is the node's own server: a component must not be newer than the server it talks
        to, and in an upgrade only the own server is known to be new enough (as kubeadm's local mode).
        """
        return url(LOOPBACK, API_PORT) if self.node.control_plane else self.endpoint.url

    @property
    def dns_address(self) -> str:
        """The address of the DNS Service: the tenth of the service network, as kubeadm does."""
        return str(ip_network(self.cluster.spec.network.services)[10])
