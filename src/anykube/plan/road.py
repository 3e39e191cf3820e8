"""The road that every restart on living nodes takes: node by node, and each can go back. Pure.

plan/bootstrap.py makes the steps of each node as if it were alone. Where several nodes would restart
something, or the version changes, all that is pending on a node becomes one step here:

  all nodes at once: new software beside the old, verified; what will be replaced is kept
  > control planes, members of etcd and load balancers one by one, etcd's leader last
  > workers in lanes, as many at once as may be missing

A step ends when its node is well. One that fails returns its node to what it ran before (Step.undo), and all
that comes after does not begin. Why the order keeps the version skew policy is in docs/decisions/0016.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from anykube.content.apiserver import NAME as API_SERVER
from anykube.content.containerd import NAME as CONTAINERD
from anykube.content.etcd import NAME as ETCD
from anykube.content.kubelet import NAME as KUBELET
from anykube.content.kubelet import node_taints
from anykube.content.model import ArtifactFile, File
from anykube.content.paths import SOFTWARE
from anykube.facts.artifacts import ArtifactLock
from anykube.facts.host import HostFacts, Unreachable
from anykube.facts.kubernetes import KubernetesFacts
from anykube.facts.record import Upgrade
from anykube.plan.bootstrap import API_READY, FOLLOWERS
from anykube.plan.certificates import STEP as CERTIFICATES
from anykube.plan.effects import (
    DrainNode,
    Effect,
    ForgetKept,
    KeepFiles,
    PlaceFiles,
    PutFiles,
    ReturnFiles,
    SetUnit,
    StageFiles,
    UncordonNode,
    WaitFor,
)
from anykube.plan.endpoint import ENDPOINT
from anykube.plan.forecast import forecast
from anykube.plan.model import Change, Obstacle, Phase, Step
from anykube.plan.upgrade import changes_minor
from anykube.spec.catalog import release
from anykube.spec.endpoint import API_PORT, url
from anykube.spec.model import Cluster, Role
from anykube.spec.nodes import Node

BACK = (
    "kube-proxy",
    "kubelet",
    "kube-scheduler",
    "kube-controller-manager",
    "kube-apiserver",
    "etcd",
    "containerd",
)
"""The order in which components go back."""
ROLLING = frozenset(BACK)
"""Components whose restart a node's users may notice."""
ROLL = "/roll"
"""How the ids of these steps end."""
READY_SECONDS = 180.0
"""For an API server or a node that was restarted."""
MENDED_SECONDS = 120.0
NO_TAKERS = frozenset({"NoSchedule", "NoExecute"})


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the order depends on, beside the steps.

    leader: the node whose member of etcd leads, ''.  first: a node that goes before others of its kind, ''.
    lock: the software that is wanted; what is not in it is not known yet.  fixed: nodes whose member of etcd
    comes, goes or moves in this run; they are changed as that demands (plan/rolling.py).
    """

    cluster: Cluster
    wanted: Sequence[Node]
    hosts: Mapping[str, HostFacts | Unreachable]
    addresses: Mapping[str, str]
    kubernetes: KubernetesFacts
    lock: ArtifactLock | None
    upgrade: Upgrade | None
    leader: str = ""
    first: str = ""
    fixed: Collection[str] = ()
    drain_seconds: float = 0.0

    def host(self, name: str) -> HostFacts | None:
        """A node on which something may be done."""
        found = self.hosts.get(name)
        return found if isinstance(found, HostFacts) else None


def on_the_road(
    steps: Sequence[Step], traffic: Traffic, before: Sequence[str] = ()
) -> tuple[tuple[Step, ...], tuple[Obstacle, ...]]:
    """The steps, with those of nodes that roll made into one for each node, in their order.

    `before`: steps that come before any of them. And the workers that have to wait for the next run.
    """
    rolling = [node for node in traffic.wanted if _rolls(node, steps, traffic)]
    if len(rolling) < 2 and not (rolling and traffic.upgrade):
        return tuple(steps), ()
    return _Road(steps, traffic, rolling, before).built()


def lanes(given: str, workers: int) -> int:
    """How many workers may be missing at once: '2', or a part of all such as '20%'; at least one."""
    number = int(given.removesuffix("%"))
    return max(1, workers * number // 100 if given.endswith("%") else number)


def _rolls(node: Node, steps: Sequence[Step], traffic: Traffic) -> bool:
    """Whether a node that works restarts something; in an upgrade, whether anything of it is pending."""
    host = traffic.host(node.name)
    if host is None or not host.ledger.units or node.name in traffic.fixed:
        return False
    own = [step for step in steps if _component(step, node.name) and not step.skipped]
    if traffic.upgrade:
        return bool(own)
    return any(
        isinstance(effect, SetUnit)
        and effect.state == "restarted"
        and step.title in ROLLING
        and effect.unit in host.units
        and host.units[effect.unit].running
        for step in own
        for effect in step.effects
    )


def _component(step: Step, name: str) -> bool:
    return step.target == name and step.id != f"{name}/leftovers"


class _Road:
    """The steps of one plan, on their way to become the road."""

    def __init__(
        self, steps: Sequence[Step], traffic: Traffic, rolling: Sequence[Node], before: Sequence[str]
    ) -> None:
        self._steps = steps
        self._traffic = traffic
        self._before = tuple(before)
        self._servers = _in_turn([node for node in rolling if _serves(node)], traffic)
        self._workers = _in_turn([node for node in rolling if not _serves(node)], traffic)
        names = {node.name for node in rolling}
        self._pending = {
            name: tuple(step for step in steps if _component(step, name) and not step.skipped)
            for name in names
        }
        self._merged = {step.id: _roll(name) for name, own in self._pending.items() for step in own}
        self._label = _label(traffic)

    def built(self) -> tuple[tuple[Step, ...], tuple[Obstacle, ...]]:
        """All steps, and the obstacles."""
        stages = tuple(self._stage(node) for node in (*self._servers, *self._workers))
        staged = (*self._before, *(step.id for step in stages))
        rolls: list[Step] = []
        chain = staged
        for node in self._servers:
            rolls.append(self._rolled(node, chain))
            chain = (*staged, rolls[-1].id)
        width = lanes(self._traffic.cluster.spec.upgrade.max_unavailable, len(self._all_workers))
        for lane in range(width):
            ahead = chain
            for node in self._workers[lane::width]:
                rolls.append(self._rolled(node, ahead))
                ahead = (*chain, rolls[-1].id)
        others = tuple(self._redirected(step) for step in self._steps if step.id not in self._merged)
        return (*others, *stages, *rolls), tuple(self._waiting())

    @property
    def _all_workers(self) -> list[Node]:
        return [node for node in self._traffic.wanted if node.kubelet and not _serves(node)]

    def _redirected(self, step: Step) -> Step:
        """A step of somebody else, with needs on the steps that have become one."""
        needs = self._mapped(step.needs)
        newcomer = step.target not in self._pending and step.title in FOLLOWERS and not step.skipped
        if self._traffic.upgrade and newcomer:
            # A kubelet that comes now is of the new version: no API server it may meet is older.
            needs = (*needs, *(_roll(node.name) for node in self._servers if node.name != step.target))
        return replace(step, needs=tuple(dict.fromkeys(needs)), needs_any=self._mapped(step.needs_any))

    def _mapped(self, needs: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._merged.get(need, need) for need in needs))

    def _waiting(self) -> Iterator[Obstacle]:
        """In an upgrade no worker goes ahead of an API server that cannot be seen."""
        silent = [
            node.name
            for node in self._traffic.wanted
            if node.control_plane and self._traffic.host(node.name) is None
        ]
        if self._traffic.upgrade and silent:
            names = ", ".join(silent)
            for node in self._workers:
                brief = f"waits for the upgrade of {names}: a kubelet may not be newer than any API server"
                yield Obstacle(node.name, brief, f"mend {names}, or: anykube replace {silent[0]}")

    def _stage(self, node: Node) -> Step:
        """The new software lies on the node before anything stops anywhere."""
        name, host = node.name, self._traffic.host(node.name)
        assert host is not None  # noqa: S101  only such roll
        files = tuple(file for file in self._replaced(node) if isinstance(file.source, ArtifactFile))
        missing = tuple(file for file in files if not self._is_staged(file, host))
        paths = tuple(file.path for file in self._kept(node))
        changes = tuple(
            Change("create", "staged", file.source.artifact, "on the node, verified, before anything stops")
            for file in missing
            if isinstance(file.source, ArtifactFile)
        )
        changes += (Change("create", "copy", f"{len(paths)} files", "what the node can go back to"),)
        effects: list[Effect] = [StageFiles(name, missing)] if missing else []
        effects.append(KeepFiles(name, self._label, paths))
        reason = changes[0].reason
        return Step(f"{name}/stage", Phase.BOOTSTRAP, name, "stage", reason, changes, tuple(effects))

    def _is_staged(self, file: File, host: HostFacts) -> bool:
        sha256 = _wanted_sha256(file, self._traffic.lock)
        found = host.files.get(f"{SOFTWARE}/{sha256}") if sha256 else None
        return found is not None and found.sha256 == sha256

    def _replaced(self, node: Node) -> Iterator[File]:
        """Files that are there and become others; new ones are sent when their turn comes."""
        host = self._traffic.host(node.name)
        for step in self._pending[node.name]:
            for effect in step.effects:
                if isinstance(effect, PutFiles):
                    yield from (file for file in effect.files if host and file.path in host.files)

    def _kept(self, node: Node) -> Iterator[File]:
        """What the node may go back to: all that is written. But for an etcd that has taken over a new data
        format, which its old version does not read."""
        upgrade = self._traffic.upgrade
        stays = upgrade is not None and self._last_member(node) and _minor_of_etcd_changes(upgrade)
        for step in self._pending[node.name]:
            if not (stays and step.title == ETCD):
                for effect in step.effects:
                    if isinstance(effect, PutFiles):
                        yield from effect.files

    def _last_member(self, node: Node) -> bool:
        """Once it runs the new version, so do all members, and etcd begins to use it."""
        members = [other for other in self._servers if other.etcd and self._has(other, ETCD)]
        return bool(members) and members[-1] == node

    def _has(self, node: Node, component: str) -> bool:
        return any(step.title == component for step in self._pending[node.name])

    def _rolled(self, node: Node, chain: tuple[str, ...]) -> Step:
        """One step of all that is pending on a node."""
        name, own = node.name, self._pending[node.name]
        changes = tuple(change for step in own for change in step.changes)
        drains = self._drains(node)
        ahead: tuple[Effect, ...] = ()
        if drains:
            pods = self._traffic.kubernetes.pods_on.get(name, ())
            seconds = self._traffic.drain_seconds
            told = forecast(pods, self._traffic.kubernetes.budgets, seconds)
            changes = (Change("drain", "node", name, drains), *told, *changes)
            ahead = (DrainNode(name, seconds),)
        effects = (*ahead, *self._changed(node), *self._well(node), ForgetKept(name, self._label))
        needs = [need for step in own for need in self._mapped(step.needs)]
        outside = {CERTIFICATES} if _serves(node) else {CERTIFICATES, API_READY, ENDPOINT}
        kept = [need for need in needs if need in outside]
        upgrade = self._traffic.upgrade
        return Step(
            _roll(name),
            Phase.BOOTSTRAP,
            name,
            f"upgrade to {upgrade.target}" if upgrade else "restart",
            own[0].reason,
            changes,
            effects,
            tuple(dict.fromkeys((*kept, *chain))),
            "; ".join(dict.fromkeys(step.disruption for step in own if step.disruption)),
            undo=self._undo(node),
        )

    def _changed(self, node: Node) -> Iterator[Effect]:
        """Files, then the restart, component by component; an API server is waited for before its own."""
        host = self._traffic.host(node.name)
        for step in self._pending[node.name]:
            for effect in step.effects:
                if isinstance(effect, PutFiles):
                    yield from _placed(effect, host)
                else:
                    yield effect
            if step.title == API_SERVER:
                server = url(self._traffic.addresses[node.name], API_PORT)
                yield WaitFor("server-ready", server, READY_SECONDS)

    def _well(self, node: Node) -> Iterator[Effect]:
        """What must hold before the next node begins."""
        if not node.kubelet:
            return
        upgrade = self._traffic.upgrade
        if upgrade and self._has(node, KUBELET):
            yield WaitFor("node-runs", f"{node.name} v{upgrade.target}", READY_SECONDS)
        else:
            yield WaitFor("node-ready", node.name, READY_SECONDS)
        yield UncordonNode(node.name)

    def _undo(self, node: Node) -> tuple[Effect, ...]:
        """All its units are looked at: a run before this one may have restarted some."""
        host = self._traffic.host(node.name)
        assert host is not None  # noqa: S101  only such roll
        units = sorted(host.ledger.units, key=_turn_back)
        back: list[Effect] = [ReturnFiles(node.name, self._label, tuple(units))]
        if node.kubelet:
            back += [WaitFor("node-ready", node.name, MENDED_SECONDS), UncordonNode(node.name)]
        return tuple(back)

    def _drains(self, node: Node) -> str:
        """Why pods leave a node before it changes; '' if they may stay, or have nowhere to go."""
        found = self._traffic.kubernetes.nodes.get(node.name)
        upgrade = self._traffic.upgrade
        if (
            found is None
            or not found.ready
            or not any(_takes_pods(other) for other in self._traffic.wanted if other.name != node.name)
        ):
            return ""
        if upgrade and self._has(node, KUBELET) and changes_minor(found.version, upgrade.target):
            return f"its kubelet goes from {found.version} to another minor version"
        runtime = {"containerd", "runc"}
        replaced = (file.source for file in self._replaced(node))
        if self._has(node, CONTAINERD) and any(
            isinstance(source, ArtifactFile) and source.artifact in runtime for source in replaced
        ):
            return "its container runtime becomes another"
        return ""


def _placed(effect: PutFiles, host: HostFacts | None) -> Iterator[Effect]:
    """Staged software is moved to its place; all else is sent."""
    staged = tuple(
        file
        for file in effect.files
        if isinstance(file.source, ArtifactFile) and host and file.path in host.files
    )
    if sent := tuple(file for file in effect.files if file not in staged):
        yield replace(effect, files=sent)
    if staged:
        yield PlaceFiles(effect.node, staged)


def _in_turn(nodes: Sequence[Node], traffic: Traffic) -> list[Node]:
    """The chosen one first, then those that are not well: to mend them costs nobody anything. Machines that
    have etcd alone before API servers, as these may need the newer; who leads etcd comes last."""
    known = traffic.kubernetes.nodes

    def ill(node: Node) -> bool:
        host = traffic.host(node.name)
        units = (
            [unit for name, unit in host.units.items() if name.removesuffix(".service") in ROLLING]
            if host
            else []
        )
        silent = (
            node.kubelet and traffic.kubernetes.ready and not (node.name in known and known[node.name].ready)
        )
        return silent or not all(unit.running for unit in units if unit.load != "not-found")

    return sorted(
        nodes,
        key=lambda node: (
            node.name != traffic.first,
            not ill(node),
            node.control_plane,
            node.name == traffic.leader,
        ),
    )


def _turn_back(unit: str) -> tuple[int, str]:
    """Clients before their servers, so that none is newer than its server on the way back either."""
    name = unit.removesuffix(".service")
    return (BACK.index(name) if name in BACK else len(BACK), name)


def _serves(node: Node) -> bool:
    """Whether others depend on it: such nodes go one by one, before all others."""
    return node.control_plane or node.etcd or Role.LOAD_BALANCER in node.roles


def _takes_pods(node: Node) -> bool:
    return node.kubelet and not any(taint["effect"] in NO_TAKERS for taint in node_taints(node))


def _minor_of_etcd_changes(upgrade: Upgrade) -> bool:
    return changes_minor(release(upgrade.source).etcd, release(upgrade.target).etcd)


def _wanted_sha256(file: File, lock: ArtifactLock | None) -> str:
    if lock is None or not isinstance(file.source, ArtifactFile):
        return ""
    found = lock.artifacts.get(file.source.artifact)
    return found.sha256 if found else ""


def _label(traffic: Traffic) -> str:
    """Names what the nodes are on their way to: a run that goes on finds what the one before it has kept."""
    wanted = traffic.cluster.model_dump_json() + (traffic.lock.digest if traffic.lock else "")
    return hashlib.sha256(wanted.encode()).hexdigest()[:16]


def _roll(name: str) -> str:
    return f"{name}{ROLL}"
