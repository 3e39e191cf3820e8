"""What content is made from: one node, and what it must know of the others."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network

from anykube.facts.host import SystemFacts
from anykube.spec.model import Cluster
from anykube.spec.nodes import Node

API_PORT = 6443


@dataclass(frozen=True, slots=True)
class NodeContext:
    """Everything that the files of a node depend on.

    etcd_members: (node name, address) of all members.  endpoint: host of the API server that clients use.
    birth: whether the etcd cluster is being born with this static member list (`new`), else `existing`.
    """

    cluster: Cluster
    node: Node
    address: str
    system: SystemFacts
    etcd_members: tuple[tuple[str, str], ...]
    endpoint: str
    birth: bool = True

    @property
    def server(self) -> str:
        """The URL of the API."""
        return f"https://{self.endpoint}:{API_PORT}"

    @property
    def dns_address(self) -> str:
        """The address of the DNS Service: the tenth of the service network, as kubeadm does."""
        return str(ip_network(self.cluster.spec.network.services)[10])

    @property
    def kubernetes_service(self) -> str:
        """The address of the `kubernetes` Service: the first of the service network."""
        return str(ip_network(self.cluster.spec.network.services)[1])
