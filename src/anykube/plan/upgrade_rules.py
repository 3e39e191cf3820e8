"""Which upgrades are refused, each with the way that leads there. Pure.

Called by plan/assemble.py. The rules are those of https://kubernetes.io/releases/version-skew-policy/ .
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from anykube.errors import PlanError
from anykube.facts.cluster import Facts
from anykube.facts.etcd import margin
from anykube.facts.host import etcd_of
from anykube.facts.record import Record, Upgrade
from anykube.plan.upgrade import Asked, Version, changes_minor, parsed
from anykube.spec.catalog import VERSIONS
from anykube.spec.model import Cluster, Window
from anykube.spec.nodes import Node

KUBELET_MINORS = 3
"""A kubelet may be up to three minor versions older than an API server."""
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def refuse_upgrade(
    cluster: Cluster, wanted: tuple[Node, ...], facts: Facts, record: Record, upgrade: Upgrade, asked: Asked
) -> None:
    """PlanError if this upgrade may not begin, or not go on, with the way that leads there."""
    versions = _running(wanted, facts)
    _refuse_downgrade(upgrade, versions)
    _refuse_skips(upgrade, versions)
    if not asked.removed_apis and not upgrade.back:
        _refuse_removed_apis(upgrade, facts)
    if record.upgrade is None or record.upgrade.finished:
        _refuse_unhealthy(wanted, facts, record)
        window = cluster.spec.upgrade.window
        if window is not None and not asked.now and not is_open(window, facts.now):
            raise PlanError(
                f"The maintenance window of {cluster.name} is closed.",
                evidence=[f"it opens {', '.join(window.days)} at {window.start} UTC for {window.hours} h"],
                remedy="wait for it, or begin now: anykube upgrade --now",
            )


def way_back(record: Record) -> Upgrade:
    """The last upgrade, whose source can be gone back to: by the same road within a minor version, from its
    snapshot while it is unfinished (plan/rollback.py). PlanError if there is no such way."""
    upgrade = record.upgrade
    if upgrade is None or upgrade.back:
        raise PlanError(
            f"There is no upgrade of {record.name} to go back from.", remedy="anykube upgrade --to VERSION"
        )
    if not changes_minor(upgrade.source, upgrade.target):
        return upgrade
    if upgrade.finished or not upgrade.file:
        place = f"{upgrade.file} on {upgrade.node}"
        raise PlanError(
            f"The upgrade from {upgrade.source} to {upgrade.target} has "
            f"{'been finished' if upgrade.finished else 'no snapshot'}: what {upgrade.target} has written, "
            f"{upgrade.source} may not read.",
            evidence=[f"etcd as it was before is kept: {place}"] if upgrade.file else (),
            remedy="restore a backup of before, with all that was written since lost: anykube restore",
        )
    return upgrade


def is_open(window: Window, now: datetime) -> bool:
    """Whether a window that opened today or yesterday is still open."""
    now = now.astimezone(UTC)
    hour, minute = map(int, window.start.split(":"))
    for back in (0, 1):
        opened = (now - timedelta(days=back)).replace(hour=hour, minute=minute, second=0, microsecond=0)
        if DAYS[opened.weekday()] in window.days and opened <= now < opened + timedelta(hours=window.hours):
            return True
    return False


def _running(wanted: tuple[Node, ...], facts: Facts) -> Mapping[str, Version]:
    """What the kubelet of each node runs, which is never newer than its API server."""
    names = {node.name for node in wanted}
    return {
        name: parsed(node.version)
        for name, node in facts.kubernetes.nodes.items()
        if name in names and node.version
    }


def _refuse_downgrade(upgrade: Upgrade, versions: Mapping[str, Version]) -> None:
    target = parsed(upgrade.target)
    newer = sorted(name for name, version in versions.items() if version > target)
    if upgrade.back or not (newer or parsed(upgrade.source) > target):
        return
    runs = f"{newer[0]} runs {_text(versions[newer[0]])}" if newer else f"it runs {upgrade.source}"
    same = parsed(upgrade.source)[:2] == target[:2] or any(versions[name][:2] == target[:2] for name in newer)
    raise PlanError(
        f"A downgrade to {upgrade.target} is refused: {runs}.",
        remedy="go back the way you came: anykube rollback"
        if same
        else "what a newer version has written an older one may not read: set the version back, or restore a "
        "backup of before: anykube restore",
    )


def _refuse_skips(upgrade: Upgrade, versions: Mapping[str, Version]) -> None:
    target, source = parsed(upgrade.target), parsed(upgrade.source)
    if target[1] - source[1] > 1:
        path = ", then ".join(_path(source, target))
        raise PlanError(
            f"From {upgrade.source} to {upgrade.target} is more than one minor version: API servers "
            "may be only one apart, and etcd too.",
            remedy=f"one after another: first {path}"
            if path
            else "there is no version between in the catalog",
        )
    for name, version in versions.items():
        if target[1] - version[1] > KUBELET_MINORS:
            raise PlanError(
                f"The kubelet of {name} runs {_text(version)}, too old for API servers of "
                f"{upgrade.target}: at most {KUBELET_MINORS} minor versions may be between.",
                remedy=f"bring it to {upgrade.source} first: anykube replace {name}",
            )


def _path(source: Version, target: Version) -> Iterator[str]:
    """The newest version of each minor from the next one on."""
    for minor in range(source[1] + 1, target[1]):
        found = [version for version in VERSIONS if parsed(version)[1] == minor]
        if found:
            yield max(found, key=parsed)
    yield ".".join(map(str, target))


def _refuse_unhealthy(wanted: tuple[Node, ...], facts: Facts, record: Record) -> None:
    """An upgrade begins only where it can lose a node at a time."""
    if not facts.kubernetes.ready:
        raise PlanError(
            "No API server is ready; an upgrade does not begin.", remedy="anykube apply with the old version"
        )
    known = facts.kubernetes.nodes
    ill = [
        f"{node.name} is {known[node.name].reason or 'NotReady' if node.name in known else 'not registered'}"
        for node in wanted
        if node.kubelet
        and node.name in record.addresses
        and not (node.name in known and known[node.name].ready)
    ]
    etcd = etcd_of(facts.hosts)
    voters, healthy = len(etcd.voters), len(etcd.healthy)
    if voters != healthy or (voters > 2 and margin(voters, healthy) < 1):
        ill.append(f"etcd has {healthy} healthy voters of {voters}")
    if ill:
        raise PlanError(
            "The cluster is not well; an upgrade does not begin.",
            evidence=ill,
            remedy="put the old version back into the object, then: anykube apply, or anykube replace NODE",
        )


def _refuse_removed_apis(upgrade: Upgrade, facts: Facts) -> None:
    if facts.kubernetes.removed_apis:
        raise PlanError(
            f"APIs that {upgrade.target} does not have any more are in use.",
            evidence=facts.kubernetes.removed_apis,
            remedy="change those objects and programs, or go on with --allow-removed-apis",
        )


def _text(version: Version) -> str:
    return ".".join(map(str, version))
