"""The last phase: what nodes put into their backups is sealed, and placed. Pure.

It comes after everything that changes secrets, the object or the nodes, so that a backup holds what is true.
The schedule itself is a component like any other (content/backup.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anykube.content.backup import CREDENTIALS, STATE, bucket
from anykube.facts.cluster import Facts
from anykube.facts.host import HostFacts, Unreachable
from anykube.plan.contexts import Hosts
from anykube.plan.effects import (
    AddKey,
    CreateMachine,
    DropKeys,
    FetchArtifacts,
    ForgetNode,
    GenerateSecrets,
    IssueCertificates,
    PlaceState,
    SealState,
    UseKey,
)
from anykube.plan.model import LOCAL, Change, Phase, PhasePlan, Step
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes

SEAL = f"{LOCAL}/state"
CHANGING = (
    *(CreateMachine, FetchArtifacts, ForgetNode, GenerateSecrets, IssueCertificates),
    *(AddKey, UseKey, DropKeys),
)
"""Effects that change what is kept on this machine, and so what a backup must hold."""


@dataclass(frozen=True, slots=True)
class BackupStatus:
    """The newest verified backup of all nodes: its age in seconds, its name and the node that made it; None
    and '' for none. `failed`: node and reason of those that failed since. `limit`: what age is too old."""

    age: float | None
    archive: str
    node: str
    failed: dict[str, str]
    limit: float

    @property
    def healthy(self) -> bool:
        """Whether the newest one is young enough."""
        return self.age is not None and self.age <= self.limit


def plan_backup(
    cluster: Cluster, facts: Facts, previous: Cluster | None, hosts: Hosts, earlier: Sequence[PhasePlan]
) -> PhasePlan:
    """Seal what has changed or is about to, then place it where it differs."""
    pending = [step for phase in earlier for step in phase.pending]
    ahead = bool(pending) or any(phase.provisional for phase in earlier)
    if cluster.spec.backup is None:
        return PhasePlan(Phase.BACKUP, ())
    changing = cluster != previous or any(
        isinstance(effect, CHANGING) for step in pending for effect in step.effects
    )
    seal = _seal(facts, changing=ahead and changing)
    members = [node.name for node in nodes(cluster) if node.etcd]
    place = (_place(name, hosts[name], facts, cluster, sealed=not seal.skipped) for name in members)
    return PhasePlan(Phase.BACKUP, (seal, *place), provisional=ahead)


def backup_status(cluster: Cluster, facts: Facts) -> BackupStatus | None:
    """How old the newest verified backup is; None if there is no schedule."""
    if cluster.spec.backup is None:
        return None
    hosts = [host for host in facts.hosts.values() if isinstance(host, HostFacts)]
    made = [host for host in hosts if host.backups.verified]
    # By each node's own clock: a clock that is off is not taken for a backup that is old.
    newest = min(made, key=lambda host: host.system.clock - host.backups.verified, default=None)
    return BackupStatus(
        age=max(0.0, newest.system.clock - newest.backups.verified) if newest else None,
        archive=newest.backups.archive if newest else "",
        node=newest.name if newest else "",
        failed={host.name: host.backups.reason for host in hosts if host.backups.failed},
        limit=2 * period_seconds(cluster.spec.backup.every) + 3600,
    )


def period_seconds(every: str) -> float:
    """The seconds of a period such as 6h."""
    return int(every[:-1]) * {"m": 60.0, "h": 3600.0, "d": 86400.0}[every[-1]]


def _seal(facts: Facts, *, changing: bool) -> Step:
    if not facts.sealed.sha256:
        reason = "missing"
    elif changing:
        reason = "what it holds changes in this run"
    elif not facts.sealed.current:
        reason = "what it holds has changed"
    else:
        return Step(SEAL, Phase.BACKUP, LOCAL, "state for backups", "is as it should be")
    change = Change("update" if facts.sealed.sha256 else "create", "state", "state.age", reason)
    return Step(SEAL, Phase.BACKUP, LOCAL, "state for backups", reason, (change,), (SealState(),))


def _place(name: str, host: HostFacts | Unreachable, facts: Facts, cluster: Cluster, *, sealed: bool) -> Step:
    backup = cluster.spec.backup
    s3 = bucket(backup) if backup else None
    wanted = {STATE: facts.sealed.sha256, **({CREDENTIALS: facts.sealed.credentials} if s3 else {})}
    title, reason = "state for backups", "is as it should be"
    changes: tuple[Change, ...] = ()
    if isinstance(host, HostFacts):
        there = {path: found.sha256 for path, found in host.files.items() if path in wanted}
        differing = [path for path, sha256 in wanted.items() if sealed or there.get(path) != sha256]
        why = "sealed anew" if sealed else "differs"
        changes = tuple(
            Change("update" if path in there else "create", "file", path, why) for path in differing
        )
    if not changes:
        return Step(f"{name}/state", Phase.BACKUP, name, title, reason, needs=(SEAL,))
    effect = PlaceState(name)
    return Step(f"{name}/state", Phase.BACKUP, name, title, changes[0].reason, changes, (effect,), (SEAL,))
