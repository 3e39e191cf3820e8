"""From one Kubernetes version to another: what it begins with, and what is known of it. Pure.

Called by plan/assemble.py and plan/bootstrap_phase.py. What is refused is in upgrade_rules.py, the order of
the nodes in road.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from anykube.content.paths import SNAPSHOTS
from anykube.facts.artifacts import ArtifactLock
from anykube.facts.cluster import Facts
from anykube.facts.host import etcd_of
from anykube.facts.record import Record, Upgrade
from anykube.plan.effects import SaveSnapshot
from anykube.plan.membership import names_of
from anykube.plan.model import Change, Phase, Step
from anykube.spec.catalog import component_of, release
from anykube.spec.model import Cluster

Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user says beside the object.

    first: the node to begin with.  removed_apis: go on although the target lacks APIs in use.
    now: outside of the window too.  back: to an earlier version.  pause: the node or pool to stop after.
    """

    first: str = ""
    removed_apis: bool = False
    now: bool = False
    back: bool = False
    pause: str = ""


PLAIN = Asked()


def upgrade_of(
    cluster: Cluster, facts: Facts, record: Record, previous: Cluster | None, asked: Asked
) -> Upgrade | None:
    """The upgrade that this object begins, or the one that is under way; None if versions stay."""
    target, known = cluster.spec.kubernetes.version, record.upgrade
    if known is not None and not known.finished:
        if known.target == target:
            return known
        return replace(
            known, source=known.target if asked.back else known.source, target=target, back=asked.back
        )
    source = previous.spec.kubernetes.version if previous else target
    if source == target or not record.born:
        return None
    epoch = record.epoch + 1
    node = _member(facts, record)
    file = f"{SNAPSHOTS}/{epoch}-{source}.db" if node else ""
    return Upgrade(source, target, epoch, node, file, asked.back)


def snapshot_step(upgrade: Upgrade) -> Step | None:
    """etcd as it was before, on the node of one member; what a way back may need."""
    if not upgrade.file:
        return None
    reason = f"before the upgrade from {upgrade.source} to {upgrade.target}"
    change = Change("create", "snapshot", upgrade.file, reason)
    effect = SaveSnapshot(upgrade.node, upgrade.file)
    return Step(
        f"{upgrade.node}/snapshot", Phase.BOOTSTRAP, upgrade.node, "snapshot", reason, (change,), (effect,)
    )


def foreseen(lock: ArtifactLock | None, cluster: Cluster) -> ArtifactLock | None:
    """The lock as it will be once the artifacts of this object are here: what becomes another is unknown."""
    if lock is None:
        return None
    now, then = release(lock.kubernetes), release(cluster.spec.kubernetes.version)
    kept = {
        name: item
        for name, item in lock.artifacts.items()
        if now.version_of(component_of(name)) == then.version_of(component_of(name))
    }
    return replace(lock, artifacts=kept)


def changes_minor(version: str, target: str) -> bool:
    """Whether a kubelet of this version ('v1.35.4') gets another minor one."""
    return bool(version) and parsed(version)[:2] != parsed(target)[:2]


def parsed(version: str) -> Version:
    """'v1.36.3' as numbers."""
    major, minor, patch = version.removeprefix("v").split("-")[0].split("+")[0].split(".")
    return int(major), int(minor), int(patch)


def _member(facts: Facts, record: Record) -> str:
    """A node with a healthy member to take a snapshot on: not the leader, if there are others."""
    etcd = etcd_of(facts.hosts)
    names = names_of(etcd, record.addresses)
    healthy = sorted(names[member] for member in etcd.healthy if names.get(member) in facts.hosts)
    others = [name for name in healthy if name != names.get(etcd.leader)]
    return next(iter(others or healthy), "")
