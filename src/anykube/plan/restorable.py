"""Whether a cluster object can take what an archive holds: refused before anything is touched. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from anykube.errors import PlanError
from anykube.facts.cluster import Facts
from anykube.facts.host import HostFacts
from anykube.spec.catalog import release
from anykube.spec.model import Cluster

SAME = ("pods", "services", "domain")
"""Fields of network that what is in etcd depends on."""


def refuse_unfit(cluster: Cluster, archived: Cluster, kubernetes: str, etcd: str) -> None:
    """PlanError with everything that does not fit. kubernetes, etcd: the versions that the archive was made
    with; `archived` is its object."""
    problems = list(_problems(cluster, archived, kubernetes, etcd))
    if problems:
        raise PlanError(
            f"The archive does not fit the object of {cluster.name}.",
            evidence=problems,
            remedy=f'set that in the object, such as kubernetes.version: "{kubernetes}"; '
            "what may change on a cluster that exists can be changed after the restore",
        )


def _problems(cluster: Cluster, archived: Cluster, kubernetes: str, etcd: str) -> Iterator[str]:
    if archived.name != cluster.name:
        yield f"it is of {archived.name}, the object of {cluster.name}"
    wanted = cluster.spec.kubernetes.version
    if _minor(wanted) != _minor(kubernetes):
        yield f"it was made with Kubernetes {kubernetes}, the object has {wanted}"
    elif _numbers(release(wanted).etcd)[:2] < _numbers(etcd)[:2]:
        yield f"its snapshot is of etcd {etcd}, Kubernetes {wanted} comes with etcd {release(wanted).etcd}"
    for name in SAME:
        old, new = getattr(archived.spec.network, name), getattr(cluster.spec.network, name)
        if old != new:
            yield f"network.{name} was {old}, the object has {new}"
    if archived.spec.security.encryption_at_rest and not cluster.spec.security.encryption_at_rest:
        yield "its Secrets are encrypted, the object says security.encryptionAtRest: false"


def refuse_foreign(facts: Facts, lineage: str) -> None:
    """PlanError if a machine of the object belongs to another cluster."""
    foreign = [
        f"{host.name} belongs to lineage {host.ledger.lineage}"
        for host in facts.hosts.values()
        if isinstance(host, HostFacts) and host.ledger.lineage not in ("", lineage)
    ]
    if foreign:
        raise PlanError(
            "Machines of the object belong to another cluster than the archive.",
            evidence=foreign,
            remedy=f"the archive is of lineage {lineage}; name other machines, or reset those",
        )


def newest_run(facts: Facts) -> int:
    """The epoch of the newest run that any machine has seen, 0 if none has seen one."""
    return max((host.ledger.epoch for host in facts.hosts.values() if isinstance(host, HostFacts)), default=0)


def _minor(version: str) -> tuple[int, ...]:
    return _numbers(version)[:2]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
