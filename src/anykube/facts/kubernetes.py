"""What the API server says. Made by observe/kubernetes.py, asked by plan/addons.py and by status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A Node object. `pool` is the pool that anykube labelled it with, '' for a node that is not ours."""

    name: str
    ready: bool
    version: str
    unschedulable: bool
    reason: str = ""
    pool: str = ""


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """How an object that we would apply compares with the live one (server-side dry run).

    `differences` are paths of fields that an apply would change; empty for an object that is right.
    """

    present: bool
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkloadFacts:
    """A Deployment or DaemonSet that we keep: how many pods it wants and how many are ready."""

    wanted: int
    ready: int


@dataclass(frozen=True, slots=True)
class KubernetesFacts:
    """The cluster as its API shows it. Object names are '<kind>/<namespace>/<name>', namespace may be ''."""

    ready: bool = False
    version: str = ""
    nodes: Mapping[str, NodeFacts] = field(default_factory=dict)
    objects: Mapping[str, ObjectFacts] = field(default_factory=dict)
    workloads: Mapping[str, WorkloadFacts] = field(default_factory=dict)
    inventory: frozenset[str] = frozenset()
    """Names of the objects that we applied earlier and that still exist."""
