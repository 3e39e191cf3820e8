"""What is allowed: refusals of a whole plan, and obstacles of single nodes. Each names its way out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from anykube.content.context import NodeContext
from anykube.content.node import managed_programs, programs
from anykube.errors import PlanError
from anykube.facts.cluster import Facts
from anykube.facts.host import HostFacts, Unreachable, WrongHostKey
from anykube.facts.packages import install_command, missing
from anykube.facts.record import Record
from anykube.plan.model import Obstacle
from anykube.spec.model import Cluster
from anykube.spec.nodes import Node

CLOCK_REFUSED = 60.0
"""Seconds that a node's clock may differ from ours: certificates and leases fail beyond (harvester#2860)."""
CLOCK_NOTED = 5.0
SUPPORTED_ARCHITECTURES = ("amd64", "arm64")

NEW_HOST_KEY = "find out why first; if the machine was reinstalled, pin its new key (hostKey in the object)"
"""Never tried again or waited for: what answers may be somebody else's."""

FIXED = {
    "network.pods": "pods keep their old addresses",
    "network.services": "Services keep their old addresses",
    "network.domain": "running pods look names up in the old domain",
    "security.externalAuthorities": "all certificates would be of other authorities",
}
"""Fields that cannot change once the cluster exists, and what would go wrong."""


def refuse_forbidden(cluster: Cluster, previous: Cluster | None) -> None:
    """PlanError if the object asks for a change that a running cluster would not survive."""
    if previous is None:
        return
    if previous.spec.machines.provider.kind != cluster.spec.machines.provider.kind:
        raise PlanError(
            f"{cluster.name} was made with the provider {previous.spec.machines.provider.kind}; "
            f"it cannot move to {cluster.spec.machines.provider.kind}.",
            remedy="restore the provider in the object, or give the new cluster another name",
        )
    if previous.spec.security.encryption_at_rest and not cluster.spec.security.encryption_at_rest:
        raise PlanError(
            "security.encryptionAtRest cannot be turned off: the API server could not read its Secrets.",
            remedy="set security.encryptionAtRest back to true",
        )
    for path, consequence in FIXED.items():
        old, new = _field(previous, path), _field(cluster, path)
        if old != new:
            raise PlanError(
                f"{path} cannot change from {_shown(old)} to {_shown(new)} on a cluster that exists: "
                f"{consequence}.",
                remedy=f"set {path} back to {json.dumps(old)}, or destroy the cluster and make it again",
            )


def obstacles(
    wanted: Sequence[Node], hosts: Mapping[str, HostFacts | Unreachable], record: Record, facts: Facts
) -> tuple[Obstacle, ...]:
    """Nodes on which nothing may be changed now."""
    found = [
        obstacle for node in wanted if (obstacle := _obstacle(node.name, hosts[node.name], record, facts))
    ]
    return (*found, *_twins(hosts))


def missing_programs(context: NodeContext, host: HostFacts, *, made: bool) -> tuple[Obstacle, ...]:
    """A node without a program that its components need. `made`: whether its provider makes machines."""
    if host.tools.issuperset(managed_programs()):
        return ()
    packages = missing(host, programs(context))
    if not packages:
        return ()
    again = f", or make the machine anew: anykube replace {host.name}" if made else ""
    noun = "the package" if len(packages) == 1 else "the packages"
    brief = f"lacks {noun} {', '.join(packages)}"
    return (Obstacle(host.name, brief, f"{install_command(host, packages)}{again}"),)


def notes(hosts: Mapping[str, HostFacts | Unreachable], facts: Facts) -> tuple[str, ...]:
    """What a person should know of the nodes, though nothing is in the way."""
    lines: list[str] = []
    known = [host for host in hosts.values() if isinstance(host, HostFacts)]
    if constrained := [host.name for host in known if host.system.constrained]:
        lines.append(
            f"no CAP_SYS_RESOURCE on {_names(constrained)}: oom scores are left alone, "
            "the kubelet runs with KubeletInUserNamespace"
        )
    if old := [host.name for host in known if host.system.cgroup == 1]:
        lines.append(f"cgroup v1 on {_names(old)}: the kubelet is told to accept it")
    if own_clock_is_doubtful(facts):
        lines.append(
            "no node agrees with the clock of this machine: nothing is renewed by date until one does"
        )
    for host in known:
        skew = host.system.clock - facts.now.timestamp()
        if CLOCK_NOTED < abs(skew) <= CLOCK_REFUSED:
            lines.append(f"the clock of {host.name} differs by {skew:+.0f} s")
    return tuple(lines)


def own_clock_is_doubtful(facts: Facts) -> bool:
    """Whether no machine agrees with our clock: then certificates are not issued because of a date."""
    clocks = [host.system.clock for host in facts.hosts.values() if isinstance(host, HostFacts)]
    return bool(clocks) and all(abs(clock - facts.now.timestamp()) > CLOCK_REFUSED for clock in clocks)


def _obstacle(name: str, host: HostFacts | Unreachable, record: Record, facts: Facts) -> Obstacle | None:
    if isinstance(host, WrongHostKey):
        return Obstacle(name, f"may be another machine: {host.reason}", NEW_HOST_KEY)
    if isinstance(host, Unreachable):
        remedy = host.remedy or "start the machine or mend its network"
        return Obstacle(name, f"cannot be reached: {host.reason}", remedy)
    ledger = host.ledger
    if ledger.lineage and ledger.lineage != record.lineage:
        return Obstacle(
            name,
            f"belongs to another cluster (lineage {ledger.lineage})",
            "destroy that cluster first, or take this machine out of the object",
        )
    if ledger.epoch > record.epoch:
        return Obstacle(
            name,
            f"has seen run {ledger.epoch}, this record knows {record.epoch} only",
            "use the newest copy of the state folder: another machine has changed this cluster",
        )
    skew = host.system.clock - facts.now.timestamp()
    if abs(skew) > CLOCK_REFUSED:
        return Obstacle(
            name,
            f"its clock differs by {skew:+.0f} s, more than {CLOCK_REFUSED:.0f} s",
            f"anykube exec {name} -- timedatectl set-ntp true",
        )
    if host.system.arch not in SUPPORTED_ARCHITECTURES:
        return Obstacle(name, f"has the architecture {host.system.arch}", "use an amd64 or arm64 machine")
    return None


def _twins(hosts: Mapping[str, HostFacts | Unreachable]) -> tuple[Obstacle, ...]:
    seen: dict[str, str] = {}
    found: list[Obstacle] = []
    for name, host in hosts.items():
        if isinstance(host, Unreachable) or not host.system.machine_id:
            continue
        twin = seen.setdefault(host.system.machine_id, name)
        if twin != name:
            found.append(
                Obstacle(
                    name,
                    f"has the machine id of {twin}: one machine under two names, or a clone",
                    "remove one of them, or: rm /etc/machine-id && systemd-machine-id-setup",
                )
            )
    return tuple(found)


def _field(cluster: Cluster, path: str) -> Any:
    value: Any = cluster.spec.model_dump(mode="json", by_alias=True)
    for part in path.split("."):
        value = value[part]
    return value


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _names(names: Sequence[str], shown: int = 3) -> str:
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")
