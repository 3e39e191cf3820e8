"""Rules between fields, all checked at once. Pure; the last step of `load.py`.

`validate` does the same for a `Cluster` made in Python. Each rule is a function
over the parts it needs. Codes and their meaning: `problem.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from anykube.errors import SpecError
from anykube.spec import hosts, labels, networks, topology
from anykube.spec.catalog import VERSIONS
from anykube.spec.model import (
    Artifacts,
    Backup,
    Cluster,
    ClusterNetwork,
    Endpoint,
    Kubernetes,
    Machines,
    MachineSet,
    Model,
    Pool,
    Runtime,
)
from anykube.spec.problem import Finding, Path, dotted, nearest

POOLS: Path = ("spec", "machines", "pools")
PROVIDER: Path = ("spec", "machines", "provider")
HOSTS: Path = (*PROVIDER, "machines", "hosts")
MAX_NODE_NAME = 52
"""A certificate's common name holds 64 characters (RFC 5280), of which 'system:node:' takes 12."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The object in parts that can be judged alone; None for a part that is broken itself."""

    name: str | None
    kubernetes: Kubernetes | None
    machines: MachineSet | None
    endpoint: Endpoint | None
    network: ClusterNetwork | None
    runtime: Runtime | None
    artifacts: Artifacts | None
    backup: Backup | None = None

    @classmethod
    def of(cls, cluster: Cluster) -> Parts:
        """All parts of a whole object."""
        spec = cluster.spec
        return cls(
            cluster.name,
            spec.kubernetes,
            spec.machines,
            spec.endpoint,
            spec.network,
            spec.runtime,
            spec.artifacts,
            spec.backup,
        )


def validate(cluster: Cluster) -> None:
    """Check a cluster that was made in Python; SpecError with all findings, by path instead of by line."""
    if found := list(findings(Parts.of(cluster))):
        raise SpecError(f"cluster {cluster.name}", found)


def findings(parts: Parts) -> Iterator[Finding]:
    """Everything that is wrong between the fields of the parts that are there."""
    if parts.kubernetes:
        yield from _version(parts.kubernetes)
    if parts.machines:
        yield from _machines(parts.machines, parts.endpoint)
        yield from _node_names(parts.name, parts.machines)
    if parts.network:
        yield from _one_of(("spec", "network", "cni"), parts.network.cni)
    if parts.runtime:
        yield from _one_of(("spec", "runtime"), parts.runtime)
    if parts.backup and parts.backup.to:
        yield from _one_of(("spec", "backup", "to"), parts.backup.to, defaults=False)
    if parts.artifacts:
        yield from _artifacts(parts.artifacts)
    total = sum(counts(parts.machines).values()) if parts.machines else 1
    yield from networks.check(parts.network, parts.machines, parts.endpoint, total)


def _version(kubernetes: Kubernetes) -> Iterator[Finding]:
    if kubernetes.version not in VERSIONS:
        yield Finding(
            ("spec", "kubernetes", "version"),
            "SPEC-026",
            f"kubernetes.version: {kubernetes.version} is not offered",
            f"choose one of {', '.join(VERSIONS)}",
        )


def _one_of(path: Path, part: Model, *, defaults: bool = True) -> Iterator[Finding]:
    """Exactly one key of a part that is a choice. `defaults`: whether the first may be empty."""
    given = [name for name in type(part).model_fields if getattr(part, name) is not None]
    if len(given) == 1:
        return
    choices = list(type(part).model_fields)
    named = f"'{choices[0]}'" if len(choices) == 1 else f"exactly one of {', '.join(choices)}"
    has = f"has {' and '.join(given)}" if given else "has none"
    hint = "" if given or not defaults else f"for the defaults write {choices[0]}: {{}}"
    yield Finding(path, "SPEC-020", f"{dotted(path)}: needs {named}, {has}", hint, key=True)


def _machines(machines: MachineSet, endpoint: Endpoint | None) -> Iterator[Finding]:
    unclear = [*_one_of(PROVIDER, machines.provider), *_pool_names(machines.pools)]
    yield from unclear
    for index, pool in enumerate(machines.pools):
        yield from _roles((*POOLS, index, "roles"), pool)
        yield from labels.check((*POOLS, index), pool)
    if machines.provider.machines:
        yield from hosts.check(HOSTS, machines.provider.machines)
    if not unclear:
        yield from _numbers(machines, endpoint)


def _numbers(machines: MachineSet, endpoint: Endpoint | None) -> Iterator[Finding]:
    """How many machines do what; only asked when it is clear which machines there are."""
    existing = machines.provider.machines
    strangers = list(_strangers(existing, machines.pools)) if existing else []
    yield from strangers
    if existing and not strangers:
        yield from _contradictions(existing, machines.pools)
    if not strangers:
        yield from topology.check(machines, endpoint, counts(machines))


def _pool_names(pools: tuple[Pool, ...]) -> Iterator[Finding]:
    first: dict[str, int] = {}
    for index, pool in enumerate(pools):
        if pool.name in first:
            message = f"machines.pools[{index}]: pool {first[pool.name]} has the name '{pool.name}' too"
            yield Finding((*POOLS, index, "name"), "SPEC-021", message, "pools need names of their own")
        first.setdefault(pool.name, index)


def _roles(path: Path, pool: Pool) -> Iterator[Finding]:
    for role, times in Counter(pool.roles).items():
        if times > 1:
            yield Finding(path, "SPEC-021", f"{dotted(path)}: '{role}' is there {times} times")


def counts(machines: MachineSet) -> dict[str, int]:
    """How many machines each pool has: its `count`, or the listed hosts that name it."""
    existing = machines.provider.machines
    if existing is None:
        return {pool.name: pool.count for pool in machines.pools}
    listed = Counter(host.pool for host in existing.hosts)
    return {pool.name: listed[pool.name] for pool in machines.pools}


def _strangers(existing: Machines, pools: tuple[Pool, ...]) -> Iterator[Finding]:
    """Hosts of pools that do not exist."""
    names = [pool.name for pool in pools]
    for index, host in enumerate(existing.hosts):
        if host.pool not in names:
            message = f"host '{host.name}' names the pool '{host.pool}', which does not exist"
            yield Finding((*HOSTS, index, "pool"), "SPEC-029", message, nearest(host.pool, names))


def _contradictions(existing: Machines, pools: tuple[Pool, ...]) -> Iterator[Finding]:
    """Pools that say another number than the hosts that name them."""
    listed = Counter(host.pool for host in existing.hosts)
    for index, pool in enumerate(pools):
        if "count" in pool.model_fields_set and pool.count != listed[pool.name]:
            number = listed[pool.name]
            words = f"{number} {'host names' if number == 1 else 'hosts name'} it"
            message = f"pool '{pool.name}' says {pool.count}, but {words}"
            hint = "leave count out: the listed hosts say it"
            yield Finding((*POOLS, index, "count"), "SPEC-029", message, hint)


def _node_names(cluster: str | None, machines: MachineSet) -> Iterator[Finding]:
    """Made names are '<cluster>-<pool>-<number>'; listed hosts have names of their own."""
    if cluster is None or machines.provider.machines is not None:
        return
    seen: dict[str, str] = {}
    for index, pool in enumerate(machines.pools):
        longest = f"{cluster}-{pool.name}-{max(pool.count, 1)}"
        if len(longest) > MAX_NODE_NAME:
            message = (
                f"the node name {longest} has {len(longest)} characters, at most {MAX_NODE_NAME} are allowed"
            )
            yield Finding(
                (*POOLS, index, "name"), "SPEC-022", message, "shorten the pool's or the cluster's name"
            )
        for number in range(1, pool.count + 1):
            name = f"{cluster}-{pool.name}-{number}"
            other = seen.setdefault(name, pool.name)
            if other != pool.name:
                message = f"the pools '{other}' and '{pool.name}' would both have a node {name}"
                yield Finding((*POOLS, index, "name"), "SPEC-022", message, "rename one pool")
                break


def _artifacts(artifacts: Artifacts) -> Iterator[Finding]:
    path: Path = ("spec", "artifacts")
    if artifacts.source == "mirror" and artifacts.mirror is None:
        hint = "for example mirror: https://mirror.example.com"
        yield Finding(
            (*path, "source"), "SPEC-027", "artifacts: source 'mirror' needs the key 'mirror'", hint
        )
    if artifacts.mirror is not None and artifacts.source != "mirror":
        message = f"artifacts: a mirror is given, but source is '{artifacts.source}'"
        yield Finding((*path, "mirror"), "SPEC-027", message, "write source: mirror")
