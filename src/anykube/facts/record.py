"""What cannot be observed again: the record of a cluster, as a value. state/record.py reads and writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Upgrade:
    """From one Kubernetes version to another, from its first step until every node runs the other.

    `node` and `file`: where the snapshot of etcd from before it is, '' if none was taken. `back`: it returns
    to an earlier version. `epoch`: the run that began it.
    """

    source: str
    target: str
    epoch: int
    node: str = ""
    file: str = ""
    back: bool = False
    finished: bool = False


class Stage(StrEnum):
    """How far the replacement of a key is."""

    TRUST = "trust"
    """The new key is trusted everywhere, the old one is used."""
    USE = "use"
    """The new key is used, the old one is still trusted. Of the cluster's CA: but not yet for what the API
    servers show, so that kubeconfigs of before still work."""
    SHOW = "show"
    """The API servers show certificates of the new CA; kubeconfigs of before work no more."""
    DISTRUST = "distrust"
    """The old key goes."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """A key that is being replaced. `old` is its id (SecretFacts.keys). `reached`: when the stage was seen to
    be complete everywhere, as ISO 8601 in UTC; '' until then."""

    stage: Stage
    old: str
    reached: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One per cluster. `lineage` never changes; `serial` grows with each write; `epoch` with each run.

    `site` holds what the provider chose (such as the subnet), `addresses` the address of each node.
    `departing` holds, as JSON, machines that were listed in the object and are to be cleaned.
    `born`: etcd of this cluster has served; it is never founded a second time.
    `upgrade`: the one that is under way, or the last one.
    `rotations`: by the name of a secret, how far the replacement of its key is.
    `object` is the text of the cluster object that was applied last, `source` the file it came from.
    """

    name: str
    lineage: str
    serial: int = 0
    epoch: int = 0
    site: Mapping[str, str] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)
    object: str = ""
    source: str = ""
    departing: Mapping[str, str] = field(default_factory=dict)
    born: bool = False
    upgrade: Upgrade | None = None
    rotations: Mapping[str, Rotation] = field(default_factory=dict)
