"""Which machines exist, as their provider says. Made by providers, asked by plan/provision.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class MachineState(StrEnum):
    """What a machine is doing."""

    RUNNING = "running"
    STOPPED = "stopped"
    BROKEN = "broken"
    """Made in part only: it is removed and made again."""


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """One machine. `settings` is the digest of what it was made with (size, image), to see a change."""

    name: str
    state: MachineState
    address: str
    settings: str = ""


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """What a provider has beside machines. `parts` maps the name of a shared part (a bridge, a firewall
    table, a root file system) to the digest of its settings; a part that is absent is not in it."""

    parts: Mapping[str, str] = field(default_factory=dict)
    machines: Mapping[str, MachineFacts] = field(default_factory=dict)
