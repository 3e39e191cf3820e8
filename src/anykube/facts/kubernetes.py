"""What the API server says. Made by observe/kubernetes.py, asked by plan/addons.py and by status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A Node object. `pool` is the pool that anykube labelled it with, '' for a node that is not ours.

    `draining`: whether it is unschedulable because anykube made it so, for a drain.
    """

    name: str
    ready: bool
    version: str
    unschedulable: bool
    reason: str = ""
    pool: str = ""
    draining: bool = False


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A pod that a drain will meet. `name` is '<namespace>/<name>'.

    controller: the kind that will make another in its place, '' if none will.  scratch: whether it has data
    that ends with it (emptyDir).  budgets: the PodDisruptionBudgets that cover it, '<namespace>/<name>'.
    """

    name: str
    controller: str = ""
    scratch: bool = False
    budgets: tuple[str, ...] = ()


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
class LeaseFacts:
    """Who leads among the instances of a component. `holder` is the node of the one that does."""

    holder: str
    renewed: datetime


@dataclass(frozen=True, slots=True)
class KubernetesFacts:
    """The cluster as its API shows it. Object names are '<kind>/<namespace>/<name>', namespace may be ''.

    endpoint: what is wrong with a shared address of the API; '' if nothing is, or if there is none.
    pods_on: the pods that a drain would evict, of nodes that are to leave; nobody pays for it else.
    budgets: how many pods each PodDisruptionBudget lets go now; read together with `pods_on`.
    removed_apis: uses of APIs that the wanted version does not have, one line each.
    leases: the leader of each component that elects one.
    root_cas: sha256 of what namespaces have in their ConfigMap kube-root-ca.crt, which pods trust.
    request_cas: fingerprints of the CAs by which aggregated API servers know who asks.
    """

    ready: bool = False
    version: str = ""
    nodes: Mapping[str, NodeFacts] = field(default_factory=dict)
    objects: Mapping[str, ObjectFacts] = field(default_factory=dict)
    workloads: Mapping[str, WorkloadFacts] = field(default_factory=dict)
    inventory: Mapping[str, str] = field(default_factory=dict)
    """The objects that we applied earlier and that still exist, by name, and the addon that each is of."""
    pods_on: Mapping[str, tuple[PodFacts, ...]] = field(default_factory=dict)
    budgets: Mapping[str, int] = field(default_factory=dict)
    endpoint: str = ""
    removed_apis: tuple[str, ...] = ()
    leases: Mapping[str, LeaseFacts] = field(default_factory=dict)
    root_cas: frozenset[str] = frozenset()
    request_cas: frozenset[str] = frozenset()
