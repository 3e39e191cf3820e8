"""Everything that is known at one moment: the input of the planner beside the object and the record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from anykube.facts.artifacts import ArtifactLock
from anykube.facts.backup import SealedFacts
from anykube.facts.host import HostFacts, SystemFacts, Unreachable
from anykube.facts.kubernetes import KubernetesFacts
from anykube.facts.machines import SiteFacts
from anykube.facts.secrets import SecretFacts


@dataclass(frozen=True, slots=True)
class Facts:
    """One snapshot. `stored` are the sha256 of locked artifacts that the local store holds.

    `fresh` is what a machine made now would look like; `hosts` has no entry for a
    machine that is not running. `at_rest` counts Secrets by the encryption key that they are stored under
    (facts/at_rest.py); looked at while that key is being replaced.
    """

    now: datetime
    lock: ArtifactLock | None = None
    stored: frozenset[str] = frozenset()
    site: SiteFacts = SiteFacts()
    hosts: Mapping[str, HostFacts | Unreachable] = field(default_factory=dict)
    secrets: Mapping[str, SecretFacts] = field(default_factory=dict)
    kubernetes: KubernetesFacts = KubernetesFacts()
    fresh: SystemFacts | None = None
    at_rest: Mapping[str, int] | None = None
    sealed: SealedFacts = SealedFacts()
