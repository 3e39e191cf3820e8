"""What `status` says: nodes, components, certificates, addons and drift, from facts and a plan. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from anykube.facts.cluster import Facts
from anykube.facts.host import HostFacts
from anykube.plan.availability import EndpointStatus, EtcdStatus, endpoint_status, etcd_status, leaders
from anykube.plan.backup import BackupStatus, backup_status
from anykube.plan.blueprint import Blueprint
from anykube.plan.contexts import endpoint
from anykube.plan.model import Plan
from anykube.spec.model import Cluster
from anykube.spec.nodes import Node, nodes


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A node for people. `components` maps a unit that does not run to what it is doing."""

    name: str
    roles: tuple[str, ...]
    version: str
    address: str
    state: str
    components: dict[str, str]


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """A certificate and the days until it ends."""

    name: str
    not_after: datetime
    days: int
    authority: bool


@dataclass(frozen=True, slots=True)
class AddonStatus:
    """A workload that anykube keeps."""

    name: str
    ready: int
    wanted: int


@dataclass(frozen=True, slots=True)
class Status:
    """Everything at one glance. `drift` are the changes that apply would make, as lines.

    leaders: component and the node whose instance leads, '' while none does.  under_way: what was begun and
    is to be gone on with, as lines.
    """

    cluster: str
    api: str
    version: str
    nodes: tuple[NodeStatus, ...]
    certificates: tuple[CertificateStatus, ...]
    addons: tuple[AddonStatus, ...]
    drift: tuple[str, ...]
    endpoint: EndpointStatus | None = None
    etcd: EtcdStatus | None = None
    leaders: dict[str, str] = field(default_factory=dict)
    backup: BackupStatus | None = None
    under_way: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether everything runs, every member of etcd takes part, and nothing drifted."""
        ready = all(node.state in ("Ready", "running") and not node.components for node in self.nodes)
        reached = self.endpoint is None or not self.endpoint.trouble
        sound = self.etcd is None or self.etcd.healthy
        ready_addons = all(addon.ready >= addon.wanted for addon in self.addons)
        saved = self.backup is None or self.backup.healthy
        return ready and reached and sound and ready_addons and saved and not self.drift


def status(cluster: Cluster, facts: Facts, blueprint: Blueprint, plan: Plan) -> Status:
    """The status of a cluster."""
    wanted = nodes(cluster)
    return Status(
        cluster=cluster.name,
        api="ready" if facts.kubernetes.ready else "not ready",
        version=facts.kubernetes.version,
        nodes=tuple(_node(node, facts, blueprint) for node in wanted),
        certificates=tuple(_certificates(facts)),
        addons=tuple(
            AddonStatus(name, found.ready, found.wanted) for name, found in facts.kubernetes.workloads.items()
        ),
        drift=tuple(
            f"{change.action} {change.kind} {change.subject} on {step.target}: {change.reason}"
            for step in plan.pending
            for change in step.changes
        )
        + tuple(f"{obstacle.target} {obstacle.brief}" for obstacle in plan.obstacles),
        endpoint=endpoint_status(endpoint(cluster, blueprint), facts),
        etcd=etcd_status(wanted, facts, blueprint),
        leaders=leaders(facts.kubernetes.leases, facts.now),
        backup=backup_status(cluster, facts),
        under_way=plan.under_way,
    )


def _node(node: Node, facts: Facts, blueprint: Blueprint) -> NodeStatus:
    live = facts.kubernetes.nodes.get(node.name)
    return NodeStatus(
        name=node.name,
        roles=tuple(str(role) for role in node.roles),
        version=live.version if live else "",
        address=blueprint.machines[node.name].address,
        state=_state(node, facts),
        components=_stopped(facts, node.name),
    )


def _state(node: Node, facts: Facts) -> str:
    machine = facts.site.machines.get(node.name)
    host = facts.hosts.get(node.name)
    if machine is None:
        return "missing"
    if not isinstance(host, HostFacts):
        return str(machine.state) if host is None else "unreachable"
    live = facts.kubernetes.nodes.get(node.name)
    if live is None:
        return "not registered" if node.kubelet and facts.kubernetes.ready else "running"
    if not live.ready:
        return f"NotReady ({live.reason})" if live.reason else "NotReady"
    return "Ready, unschedulable" if live.unschedulable else "Ready"


def _stopped(facts: Facts, name: str) -> dict[str, str]:
    host = facts.hosts.get(name)
    if not isinstance(host, HostFacts):
        return {}
    return {
        unit: found.active
        for unit, found in host.units.items()
        if found.load != "not-found" and not found.running
    }


def _certificates(facts: Facts) -> Iterator[CertificateStatus]:
    for name, secret in sorted(facts.secrets.items()):
        if found := secret.certificate:
            days = (found.not_after - facts.now).days
            yield CertificateStatus(name, found.not_after, days, found.authority)
