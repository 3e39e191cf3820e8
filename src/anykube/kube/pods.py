"""What a drain must know of pods and PodDisruptionBudgets, read from their objects. Without I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anykube.facts.kubernetes import PodFacts

MIRROR = "kubernetes.io/config.mirror"
"""On the picture of a static pod: only its kubelet can end it."""


def evictable(pod: Mapping[str, Any]) -> bool:
    """Whether a drain waits for this pod: not if it is done, belongs to the node, or to a DaemonSet."""
    metadata = pod["metadata"]
    done = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    mirror = MIRROR in (metadata.get("annotations") or {})
    return not (done or mirror or controller(pod) in ("DaemonSet", "Node"))


def controller(pod: Mapping[str, Any]) -> str:
    """The kind of what will make another pod in its place, '' if nothing will."""
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((str(owner.get("kind", "")) for owner in owners if owner.get("controller")), "")


def pod_facts(pod: Mapping[str, Any], budgets: Sequence[Mapping[str, Any]]) -> PodFacts:
    """A pod as the forecast of a drain sees it."""
    volumes = pod.get("spec", {}).get("volumes") or ()
    return PodFacts(
        name=pod_name(pod),
        controller=controller(pod),
        scratch=any("emptyDir" in volume for volume in volumes),
        budgets=tuple(budget_name(budget) for budget in budgets if covers(budget, pod)),
    )


def pod_name(pod: Mapping[str, Any]) -> str:
    """'<namespace>/<name>' of any object in a namespace."""
    return f"{pod['metadata'].get('namespace', '')}/{pod['metadata']['name']}"


budget_name = pod_name


def disruptions_allowed(budget: Mapping[str, Any]) -> int:
    """How many pods a PodDisruptionBudget lets go now."""
    return int(budget.get("status", {}).get("disruptionsAllowed") or 0)


def covers(budget: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    """Whether a PodDisruptionBudget selects a pod. An empty selector selects all pods of its namespace."""
    if budget["metadata"].get("namespace") != pod["metadata"].get("namespace"):
        return False
    selector = budget.get("spec", {}).get("selector")
    if selector is None:
        return False
    labels = pod["metadata"].get("labels") or {}
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_holds(expression, labels) for expression in selector.get("matchExpressions") or ())


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = expression.get("key", ""), expression.get("values") or ()
    match expression.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False
