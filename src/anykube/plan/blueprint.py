"""What the machines should be, as the provider's pure part sees it: an input of plan/provision.py.

`Provider.blueprint` makes it from the object and the record without I/O, so that provider knowledge stays
in the provider's folder and the decision what to do stays here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class MachineBlueprint:
    """A machine as it should be: its address and the settings it is made with (cpus, memory, …)."""

    address: str
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What the provider should have.

    choices: what the provider chose and the record must keep (such as the subnet).
    parts: shared parts in the order they are made, with their settings.
    baked: artifacts that are already in place on a fresh machine.
    creates: whether this provider makes and removes machines at all.
    for_births: the parts that machines are made from, and then do not need any more.
    """

    machines: Mapping[str, MachineBlueprint]
    choices: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    baked: tuple[str, ...] = ()
    creates: bool = True
    for_births: frozenset[str] = frozenset()

    @property
    def addresses(self) -> Mapping[str, str]:
        """Name of each machine and its address."""
        return {name: machine.address for name, machine in self.machines.items()}


def settings_digest(settings: Mapping[str, str]) -> str:
    """A short stable digest of settings, kept beside what was made with them."""
    return hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode()).hexdigest()[:16]
