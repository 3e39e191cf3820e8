"""The Provider interface for machines that exist: addresses and host keys come from the object.

Whether a machine answers is not asked here: the probe, over SSH, finds out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from anykube.errors import ProviderError
from anykube.facts.artifacts import ArtifactLock
from anykube.facts.host import SystemFacts
from anykube.facts.machines import MachineFacts, MachineState, SiteFacts
from anykube.facts.record import Record
from anykube.plan.blueprint import Blueprint, MachineBlueprint
from anykube.plan.effects import MachineEffect
from anykube.providers.base import Report
from anykube.spec.model import Cluster, Machine
from anykube.spec.nodes import Node
from anykube.transports.base import Endpoint


class MachinesProvider:
    """The machines that the object lists, and those that it listed before and that are to be cleaned."""

    def __init__(self, cluster: Cluster, departing: Callable[[], Mapping[str, Machine]] = dict) -> None:
        listed = cluster.spec.machines.provider.machines
        self._machines: Mapping[str, Machine] = {host.name: host for host in listed.hosts} if listed else {}
        self._departing = departing

    def blueprint(
        self, nodes: Sequence[Node], record: Record, lock: ArtifactLock | None, taken: Sequence[str]
    ) -> Blueprint:
        """What should exist: exactly what the object lists; see Provider."""
        return Blueprint(
            machines={node.name: MachineBlueprint(self._machine(node.name).address) for node in nodes},
            creates=False,
        )

    async def observe(self) -> SiteFacts:
        """Every machine that is or was listed, taken to run; see Provider."""
        return SiteFacts(
            machines={
                name: MachineFacts(name, MachineState.RUNNING, machine.address)
                for name, machine in {**self._departing(), **self._machines}.items()
            }
        )

    async def perform(self, effect: MachineEffect, report: Report) -> Mapping[str, str]:
        """Refuses: there is nothing that anykube may do to these machines; see Provider."""
        raise ProviderError(
            f"{type(effect).__name__} is not possible: anykube neither makes nor removes existing machines.",
            remedy="change the machines yourself, then the list in spec.machines.provider.machines.hosts",
        )

    async def fresh(self) -> SystemFacts | None:
        """Unknown: each machine is as its owner made it; see Provider."""
        return None

    def endpoint(self, machine: str, address: str) -> Endpoint:
        """Where a machine answers SSH, as the object says; see Provider."""
        host = self._machine(machine)
        return Endpoint(host.name, host.address, host.port, host.user, host.host_key)

    def _machine(self, name: str) -> Machine:
        if found := self._machines.get(name) or self._departing().get(name):
            return found
        raise ProviderError(
            f"There is no machine {name!r} in the object.", evidence=[f"listed: {', '.join(self._machines)}"]
        )
