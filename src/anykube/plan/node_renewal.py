"""The renewal of one node: which files are placed, and how its processes take them over. Pure.

plan/renewal.py puts the steps of all nodes in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from anykube.content.apiserver import NAME as API_SERVER
from anykube.content.context import NodeContext
from anykube.content.etcd import NAME as ETCD
from anykube.content.model import Component, File, SecretPart, expected_sha256
from anykube.content.node import components
from anykube.facts.cluster import Facts
from anykube.facts.host import HostFacts
from anykube.plan.bootstrap import DISRUPTIONS, STATES
from anykube.plan.effects import PutFiles, SetUnit, WaitFor
from anykube.plan.model import LOCAL, Change, Phase, Step

ISSUE = f"{LOCAL}/renewal"
SERVED_SECONDS = 90.0
"""An API server that missed the change of its files looks again after a minute."""


@dataclass(frozen=True)
class NodeRenewal:
    """The renewal of one node that answers. `renewed`: names of the certificates that are made anew."""

    context: NodeContext
    host: HostFacts
    facts: Facts
    renewed: frozenset[str]

    @property
    def name(self) -> str:
        """The node's."""
        return self.context.node.name

    @property
    def placed(self) -> frozenset[str]:
        """The certificates of which files are placed here."""
        return frozenset(
            file.source.secret
            for files in self._files.values()
            for file in files
            if isinstance(file.source, SecretPart)
        )

    @cached_property
    def _components(self) -> tuple[Component, ...]:
        return components(self.context)

    @cached_property
    def _files(self) -> Mapping[str, tuple[File, ...]]:
        """By component: certificates and keys that are there and not as they are kept, or will be."""
        found: dict[str, tuple[File, ...]] = {}
        for component in self._components:
            if files := tuple(file for file in component.files if self._differs(file)):
                found[component.name] = files
        return found

    def _differs(self, file: File) -> bool:
        if not isinstance(file.source, SecretPart) or not file.source.secret.startswith("nodes/"):
            return False
        if file.path not in self.host.files:
            return False  # Not installed yet: that is the bootstrap phase's.
        expected = expected_sha256(file, self.facts.secrets, self.facts.lock)
        return file.source.secret in self.renewed or (
            expected is not None and self.host.files[file.path].sha256 != expected
        )

    def runs(self, component: str) -> bool:
        """Whether the unit of a component is active."""
        unit = self.host.units.get(f"{component}.service")
        return unit is not None and unit.running

    def place(self) -> Step:
        """All files of the node in one go."""
        files = tuple(file for group in self._files.values() for file in group)
        reason = "its certificate is made anew"
        return Step(
            f"{self.name}/certificates",
            Phase.RENEW,
            self.name,
            "certificates",
            reason,
            tuple(Change("update", "file", file.path, reason) for file in files),
            (PutFiles(self.name, files),),
            (ISSUE,),
        )

    def turns(self, placed: tuple[str, ...]) -> Iterator[Step]:
        """What has the processes take over what was placed; etcd and the API server before the others."""
        done: dict[str, str] = {}
        for component in self._components:
            action, reason = self._action(component)
            if component.unit is None or not action:
                continue
            unit = component.unit.name
            found = self.host.units[unit]
            # One that is about to serve, such as etcd after a boot, is waited for and not held up.
            states = ("started",) if action == "reload" and not found.running else ()
            first = [done[name] for name in (ETCD, API_SERVER) if name in done]
            step = Step(
                f"{self.name}/{component.name}",
                Phase.RENEW,
                self.name,
                component.name,
                reason,
                (Change(action, "unit", unit, reason),),
                tuple(SetUnit(self.name, unit, state) for state in (*states, STATES[action])),
                (*placed, *first),
                DISRUPTIONS.get(component.name, "") if action == "restart" and found.running else "",
            )
            done[component.name] = step.id
            yield step

    def _action(self, component: Component) -> tuple[str, str]:
        """What is done with a unit. etcd that runs reads its certificates for each handshake, whatever
        became of the old ones; others that lost theirs may have given up for minutes."""
        files = self._files.get(component.name, ())
        if component.unit is None or not files:
            return "", ""
        found = self.host.units.get(component.unit.name)
        if found is None or found.load != "loaded":
            return "", ""
        live = component.unit.reloadable.issuperset(file.path for file in files)
        starting = found.active == "activating"
        if not found.running and not (starting and live):
            return "restart", f"is {found.active}"
        if not live:
            return "restart", f"{files[0].path} changes"
        if component.name != ETCD and not starting and self._lost(files):
            return "restart", "its certificates had ended"
        return "reload", "it takes its new certificates over by itself"

    def _lost(self, files: Sequence[File]) -> bool:
        secrets = {file.source.secret for file in files if isinstance(file.source, SecretPart)}
        known = [self.facts.secrets[name].certificate for name in secrets if name in self.facts.secrets]
        return any(found is not None and self.facts.now >= found.not_after for found in known)

    def look(self, asked: Sequence[str], turns: tuple[str, ...]) -> Step:
        """Wait until the processes of the node are seen to serve the new certificates."""
        reason = "proven on the wire"
        return Step(
            f"{self.name}/served",
            Phase.RENEW,
            self.name,
            "served",
            reason,
            tuple(Change("wait", "served", one.partition(" at ")[2], reason) for one in asked),
            tuple(WaitFor("served", one, SERVED_SECONDS) for one in asked),
            tuple(turn for turn in turns if turn.startswith(f"{self.name}/")),
        )
