"""What observe and execute reach the world through: one value, made by session.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from anykube.artifacts.store import Store
from anykube.facts.backup import SealedFacts
from anykube.facts.record import Record
from anykube.kube.client import KubeClient
from anykube.pki.store import SecretStore
from anykube.providers.base import Provider
from anykube.state.lockfile import LockFile
from anykube.transports.base import Transport

SUPER_ADMIN = "users/super-admin"
"""anykube's own client certificate (system:masters): it must work before any role binding exists."""


@dataclass(frozen=True, slots=True)
class Ports:
    """One cluster's doors. Functions open what they return when first used.

    `record` gives lineage and epoch, with which every change of a node is fenced; `fence` raises FencedError
    when another run has taken the cluster over, for all that is not on a node. `forget_node` removes what is
    kept here of a node that is gone, and closes its connection. `files` are what a run brings along
    (content/model.py, LocalFile). `made`: whether the provider made the machines, so that all on them is
    ours. `seal` makes what goes into the backups of nodes, `sealed` says how it is.
    """

    record: Record
    provider: Provider
    transport: Callable[[str], Transport]
    kube: Callable[[], KubeClient]
    secrets: SecretStore
    store: Store
    lock_file: LockFile
    forget: Callable[[], None]
    forget_node: Callable[[str], Awaitable[None]]
    fence: Callable[[], None]
    files: Mapping[str, Path] = field(default_factory=dict)
    made: bool = False
    seal: Callable[[], None] = lambda: None
    sealed: Callable[[], SealedFacts] = SealedFacts
