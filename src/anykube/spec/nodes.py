"""From pools to nodes: the list of machines that the object asks for, with their names and roles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from anykube.spec.model import Cluster, Pool, Role, Taint


@dataclass(frozen=True, slots=True)
class Node:
    """A machine that should exist. `name` is its host name and its Kubernetes node name."""

    name: str
    pool: str
    roles: tuple[Role, ...]
    cpus: float | None = None
    memory: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()

    @property
    def control_plane(self) -> bool:
        """Whether the API server, the controller manager and the scheduler run here."""
        return Role.CONTROL_PLANE in self.roles

    @property
    def etcd(self) -> bool:
        """Whether an etcd member runs here."""
        return Role.ETCD in self.roles

    @property
    def load_balancer(self) -> bool:
        """Whether this machine may carry the virtual address of the API."""
        return Role.LOAD_BALANCER in self.roles

    @property
    def kubelet(self) -> bool:
        """Whether pods run here: every machine that does more than etcd and load balancing."""
        return self.control_plane or Role.WORKER in self.roles


def nodes(cluster: Cluster) -> tuple[Node, ...]:
    """All nodes of the object, pools in order, numbered from 1: '<cluster>-<pool>-<n>'.

    With the `machines` provider the nodes are the listed hosts under their own names.
    """
    pools = {pool.name: pool for pool in cluster.spec.machines.pools}
    existing = cluster.spec.machines.provider.machines
    if existing is not None:
        return tuple(_node(host.name, pools[host.pool]) for host in existing.hosts)
    return tuple(
        _node(f"{cluster.name}-{pool.name}-{number}", pool)
        for pool in pools.values()
        for number in range(1, pool.count + 1)
    )


def _node(name: str, pool: Pool) -> Node:
    return Node(
        name=name,
        pool=pool.name,
        roles=pool.roles,
        cpus=pool.cpus,
        memory=pool.memory,
        labels=dict(pool.labels),
        taints=pool.taints,
    )
