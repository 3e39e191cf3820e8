"""The planner's world with versions: what each process runs is known, nothing may be too new.

After each effect the version skew policy is judged: https://kubernetes.io/releases/version-skew-policy/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tests.unit.plan.etcd_world import EtcdWorld
from tests.unit.plan.world import digest

from anykube.content.paths import install_path
from anykube.facts.host import FileFacts, HostFacts, UnitFacts
from anykube.facts.kubernetes import KubernetesFacts
from anykube.plan import effects
from anykube.plan.model import Plan
from anykube.plan.upgrade import PLAIN, Asked, Version, parsed
from anykube.spec.catalog import RELEASES
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes

OWN = ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
"""Components of a control plane that speak to its own API server."""


@dataclass
class UpgradeWorld(EtcdWorld):
    """`kept` is what nodes can go back to; `before` is the object applied last; `ill` are nodes not Ready."""

    kept: dict[str, dict[str, FileFacts | None]] = field(default_factory=dict)
    before: Cluster | None = None
    ill: set[str] = field(default_factory=set)
    replacing: frozenset[str] = frozenset()
    asked: Asked = PLAIN

    def edit(self, cluster: Cluster) -> None:
        """Another object, and the note that a run makes of it before it begins."""
        self.before, self.cluster = self.cluster, cluster
        self.record = replace(self.record, born=True, addresses=dict(self.blueprint().addresses))
        self.record = replace(self.record, upgrade=self.plan().upgrade)

    def plan(self, previous: Cluster | None = None) -> Plan:
        from anykube.plan.assemble import plan

        before, drawn = previous or self.before, self.blueprint()
        replacing = self.replacing
        known = self.facts(), self.record, drawn, before
        return plan(self.cluster, *known, replacing=replacing, asked=self.asked)

    def perform(self, effect: effects.Effect) -> None:
        match effect:
            case effects.KeepFiles(node, label, paths):
                kept = self.kept.setdefault(f"{node} {label}", {})
                for path in paths:
                    kept.setdefault(path, self.hosts[node].files.get(path))
            case effects.ForgetKept(node, label):
                self.kept.pop(f"{node} {label}", None)
            case effects.ReturnFiles(node, label, units):
                self._return(node, self.kept.pop(f"{node} {label}", {}), units)
            case effects.PlaceFiles(node):
                known = any(kept.startswith(f"{node} ") for kept in self.kept)
                assert known or node in self.unpacked, f"{node} cannot go back"
                super().perform(effect)
            case _:
                super().perform(effect)
        self._must_keep_skew(str(effect))

    def runs(self, node: str, component: str) -> Version | None:
        """The version that a process has been started with; None if it does not run."""
        host = self.hosts.get(node)
        unit = (
            host.units.get(f"{component}.service", UnitFacts())
            if isinstance(host, HostFacts)
            else UnitFacts()
        )
        if not unit.running or node in self.dead:
            return None
        return _versions()[component][unit.inputs[install_path(component)]]

    def _return(self, node: str, kept: Mapping[str, FileFacts | None], units: tuple[str, ...]) -> None:
        host = self.hosts[node]
        files = {**host.files, **{path: file for path, file in kept.items() if file}}
        self.hosts[node] = replace(host, files={p: f for p, f in files.items() if kept.get(p, f) is not None})
        for unit in units:
            found = self.hosts[node].units[unit]
            now = {path: file.sha256 for path, file in self.hosts[node].files.items() if path in found.inputs}
            if {path: found.inputs[path] for path in now} != now:
                self.perform(effects.SetUnit(node, unit, "restarted"))

    def _kubernetes(self) -> KubernetesFacts:
        known = super()._kubernetes()
        seen = {}
        for name, node in known.nodes.items():
            version = self.runs(name, "kubelet")
            told = f"v{'.'.join(map(str, version))}" if version else ""
            seen[name] = replace(node, version=told, ready=node.ready and name not in self.ill)
        return replace(known, nodes=seen)

    def _must_keep_skew(self, what: str) -> None:
        wanted = {node.name: node for node in nodes(self.cluster)}
        servers = {name: found for name in wanted if (found := self.runs(name, "kube-apiserver")) is not None}
        if not servers:
            return
        oldest, newest = min(servers.values()), max(servers.values())
        assert newest[1] - oldest[1] <= 1, f"API servers are {servers} after {what}"
        for name, node in wanted.items():
            for component in OWN:
                version = self.runs(name, component)
                known = servers.get(name) if node.control_plane else oldest
                if version and known:
                    assert version[:2] <= known[:2], (
                        f"{component} of {name} is newer than its API server: {what}"
                    )
                    assert known[1] - version[1] <= 3


def _versions() -> Mapping[str, Mapping[str, Version]]:
    """Component and sha256 of its binary, and the version of that."""
    return {
        component: {digest("artifact", component, version): parsed(version) for version in RELEASES}
        for component in ("kube-apiserver", *OWN)
    }
