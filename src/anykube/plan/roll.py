"""How one node changes while the others serve: what lies ready, what is done, and the way back. Pure.

plan/road.py decides which nodes do so, and in which order.
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
from anykube.plan.effects import (
    DrainNode,
    Effect,
    ForgetKept,
    KeepFiles,
    PlaceFiles,
    PutFiles,
    ReturnFiles,
    StageFiles,
    UncordonNode,
    WaitFor,
)
from anykube.plan.forecast import forecast
from anykube.plan.model import Change, Phase, Step
from anykube.plan.upgrade import changes_minor
from anykube.spec.catalog import release
from anykube.spec.endpoint import API_PORT, url
from anykube.spec.model import Cluster
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
ROLL = "/roll"
"""How the ids of these steps end."""
READY_SECONDS = 180.0
"""For an API server or a node that was restarted."""
MENDED_SECONDS = 120.0
NO_TAKERS = frozenset({"NoSchedule", "NoExecute"})
RUNTIME = frozenset({"containerd", "runc"})


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


@dataclass(frozen=True, slots=True)
class Roll:
    """What is pending on one node, to be done as one.

    host: the node as it is.  keeps_etcd: whether its etcd stays when the node goes back: one that has taken
    over a new data format, which its old version does not read.
    """

    node: Node
    host: HostFacts
    pending: Sequence[Step]
    traffic: Traffic
    keeps_etcd: bool = False

    @property
    def id(self) -> str:
        """The id of its step."""
        return f"{self.node.name}{ROLL}"

    def has(self, component: str) -> bool:
        """Whether anything of a component is pending."""
        return any(step.title == component for step in self.pending)

    def stage(self) -> Step:
        """The new software lies on the node before anything stops anywhere."""
        name = self.node.name
        files = tuple(file for file in self._replaced() if isinstance(file.source, ArtifactFile))
        missing = tuple(file for file in files if not self._is_staged(file))
        paths = tuple(file.path for file in self._kept())
        changes = tuple(
            Change("create", "staged", file.source.artifact, "on the node, verified, before anything stops")
            for file in missing
            if isinstance(file.source, ArtifactFile)
        )
        changes += (Change("create", "copy", f"{len(paths)} files", "what the node can go back to"),)
        effects: list[Effect] = [StageFiles(name, missing)] if missing else []
        effects.append(KeepFiles(name, _label(self.traffic), paths))
        reason = changes[0].reason
        return Step(f"{name}/stage", Phase.BOOTSTRAP, name, "stage", reason, changes, tuple(effects))

    def _is_staged(self, file: File) -> bool:
        sha256 = _wanted_sha256(file, self.traffic.lock)
        found = self.host.files.get(f"{SOFTWARE}/{sha256}") if sha256 else None
        return found is not None and found.sha256 == sha256

    def step(self, needs: Sequence[str]) -> Step:
        """All that is pending, then the wait until the node is well."""
        name, own = self.node.name, self.pending
        changes = tuple(change for step in own for change in step.changes)
        drains = self._drains()
        ahead: tuple[Effect, ...] = ()
        if drains:
            pods = self.traffic.kubernetes.pods_on.get(name, ())
            seconds = self.traffic.drain_seconds
            told = forecast(pods, self.traffic.kubernetes.budgets, seconds)
            changes = (Change("drain", "node", name, drains), *told, *changes)
            ahead = (DrainNode(name, seconds),)
        effects = (*ahead, *self._changed(), *self._well(), ForgetKept(name, _label(self.traffic)))
        upgrade = self.traffic.upgrade
        return Step(
            self.id,
            Phase.BOOTSTRAP,
            name,
            f"upgrade to {upgrade.target}" if upgrade else "restart",
            own[0].reason,
            changes,
            effects,
            tuple(dict.fromkeys(needs)),
            "; ".join(dict.fromkeys(step.disruption for step in own if step.disruption)),
            undo=self._undo(),
        )

    def _replaced(self) -> Iterator[File]:
        """Files that are there and become others; new ones are sent when their turn comes."""
        for step in self.pending:
            for effect in step.effects:
                if isinstance(effect, PutFiles):
                    yield from (file for file in effect.files if file.path in self.host.files)

    def _kept(self) -> Iterator[File]:
        """What the node may go back to: all that is written, but for an etcd that stays."""
        for step in self.pending:
            if not (self.keeps_etcd and step.title == ETCD):
                for effect in step.effects:
                    if isinstance(effect, PutFiles):
                        yield from effect.files

    def _changed(self) -> Iterator[Effect]:
        """Files, then the restart, component by component; an API server is waited for before its own."""
        for step in self.pending:
            for effect in step.effects:
                if isinstance(effect, PutFiles):
                    yield from _placed(effect, self.host)
                else:
                    yield effect
            if step.title == API_SERVER:
                server = url(self.traffic.addresses[self.node.name], API_PORT)
                yield WaitFor("server-ready", server, READY_SECONDS)

    def _well(self) -> Iterator[Effect]:
        """What must hold before the next node begins."""
        if not self.node.kubelet:
            return
        upgrade = self.traffic.upgrade
        if upgrade and self.has(KUBELET):
            yield WaitFor("node-runs", f"{self.node.name} v{upgrade.target}", READY_SECONDS)
        else:
            yield WaitFor("node-ready", self.node.name, READY_SECONDS)
        yield UncordonNode(self.node.name)

    def _undo(self) -> tuple[Effect, ...]:
        """All its units are looked at: a run before this one may have restarted some."""
        units = sorted(self.host.ledger.units, key=_turn_back)
        back: list[Effect] = [ReturnFiles(self.node.name, _label(self.traffic), tuple(units))]
        if self.node.kubelet:
            back += [WaitFor("node-ready", self.node.name, MENDED_SECONDS), UncordonNode(self.node.name)]
        return tuple(back)

    def _drains(self) -> str:
        """Why pods leave a node before it changes; '' if they may stay, or have nowhere to go."""
        found = self.traffic.kubernetes.nodes.get(self.node.name)
        upgrade = self.traffic.upgrade
        if (
            found is None
            or not found.ready
            or not any(_takes_pods(other) for other in self.traffic.wanted if other.name != self.node.name)
        ):
            return ""
        if upgrade and self.has(KUBELET) and changes_minor(found.version, upgrade.target):
            return f"its kubelet goes from {found.version} to another minor version"
        replaced = (file.source for file in self._replaced())
        if self.has(CONTAINERD) and any(
            isinstance(source, ArtifactFile) and source.artifact in RUNTIME for source in replaced
        ):
            return "its container runtime becomes another"
        return ""


def _placed(effect: PutFiles, host: HostFacts) -> Iterator[Effect]:
    """Staged software is moved to its place; all else is sent."""
    staged = tuple(
        file for file in effect.files if isinstance(file.source, ArtifactFile) and file.path in host.files
    )
    if sent := tuple(file for file in effect.files if file not in staged):
        yield replace(effect, files=sent)
    if staged:
        yield PlaceFiles(effect.node, staged)


def _turn_back(unit: str) -> tuple[int, str]:
    """Clients before their servers, so that none is newer than its server on the way back either."""
    name = unit.removesuffix(".service")
    return (BACK.index(name) if name in BACK else len(BACK), name)


def _takes_pods(node: Node) -> bool:
    return node.kubelet and not any(taint["effect"] in NO_TAKERS for taint in node_taints(node))


def minor_of_etcd_changes(upgrade: Upgrade) -> bool:
    """Whether etcd goes to another minor version with this upgrade."""
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
