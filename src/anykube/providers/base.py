"""What every provider offers. `observe` reads, `perform` changes; what to do is decided in plan/provision.py.

A provider is made for one cluster with its record. It keeps no state of its own besides what it makes:
`observe` must find everything again, also after a reboot of this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from anykube.facts.artifacts import ArtifactLock
from anykube.facts.host import SystemFacts
from anykube.facts.machines import SiteFacts
from anykube.facts.record import Record
from anykube.plan.blueprint import Blueprint
from anykube.plan.effects import MachineEffect
from anykube.spec.nodes import Node
from anykube.transports.base import Endpoint

Report = Callable[[str, str, float | None, float | None, str], None]
"""item, message, done, total, unit: long work says what it does now."""


class Provider(Protocol):
    """Machines of one cluster."""

    def blueprint(
        self, nodes: Sequence[Node], record: Record, lock: ArtifactLock | None, taken: Sequence[str]
    ) -> Blueprint:
        """What should exist. No I/O: `taken` are the networks (CIDR) that this machine already routes.

        Addresses and choices in the record are kept; new ones never collide. ProviderError if impossible.
        """
        ...

    async def observe(self) -> SiteFacts:
        """What exists now. Read-only, no connection to the machines themselves."""
        ...

    async def perform(self, effect: MachineEffect, report: Report) -> Mapping[str, str]:
        """Do one effect; doing it again is harmless. Returns named outputs (may be empty)."""
        ...

    async def fresh(self) -> SystemFacts | None:
        """What a machine made now would look like, to plan on before it exists; None if unknown."""
        ...

    def endpoint(self, machine: str, address: str) -> Endpoint:
        """Where a machine answers SSH, with the host key that is pinned for it."""
        ...
