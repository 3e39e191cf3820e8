"""What leaves the cluster in ADDONS: what anykube applied earlier and the object asks for no more.

Only what carries our labels and was applied by us is known here (observe/kubernetes.py), so a copy that a
person made stays. A Namespace stays too: others may have put things into it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from anykube.addons.catalog import LOSSES
from anykube.plan.effects import DeleteObjects
from anykube.plan.model import CLUSTER, Change, Phase, Plan, Step

REMOVED = "removed"
FIRST = ("APIService", "Deployment", "DaemonSet")
"""An API that is served no more must not be announced; then what runs, before the rights that it needs."""
LAST = ("ServiceAccount",)
KEPT = "Namespace/"


def plan_removals(
    inventory: Mapping[str, str], names: Collection[str], addons: Collection[str], needs: tuple[str, ...]
) -> tuple[Step, ...]:
    """A step for each addon that is off now, and one for what those that are on need no more.

    `inventory`: the addon of each object that we applied. `names`, `addons`: those that are wanted.
    """
    surplus = {
        name: addon for name, addon in inventory.items() if name not in names and not name.startswith(KEPT)
    }
    off = sorted({addon for addon in surplus.values() if addon not in addons})
    left = [name for name, addon in surplus.items() if addon in addons]
    return (
        *(_remove(addon, [name for name in surplus if surplus[name] == addon], needs) for addon in off),
        _prune(left, needs),
    )


def removed_addons(plan: Plan) -> tuple[str, ...]:
    """The addons that a plan takes from the cluster."""
    ends = f" {REMOVED}"
    return tuple(
        step.title.removesuffix(ends)
        for step in plan.pending
        if step.phase is Phase.ADDONS and step.target == CLUSTER and step.title.endswith(ends)
    )


def _remove(addon: str, names: Collection[str], needs: tuple[str, ...]) -> Step:
    return _delete(f"{addon} {REMOVED}", names, f"the addon {addon} is off", needs, LOSSES.get(addon, ""))


def _prune(names: Collection[str], needs: tuple[str, ...]) -> Step:
    if not names:
        return Step(f"{CLUSTER}/prune", Phase.ADDONS, CLUSTER, "prune", "nothing left over", needs=needs)
    return _delete("prune", names, "applied earlier, not in the object any more", needs)


def _delete(
    title: str, names: Collection[str], reason: str, needs: tuple[str, ...], disruption: str = ""
) -> Step:
    ordered = tuple(sorted(names, key=_rank))
    changes = tuple(Change("delete", "object", name, reason) for name in ordered)
    return Step(
        f"{CLUSTER}/{title}",
        Phase.ADDONS,
        CLUSTER,
        title,
        reason,
        changes,
        (DeleteObjects(ordered),),
        needs,
        disruption,
    )


def _rank(name: str) -> tuple[int, bool, str]:
    kind = name.partition("/")[0]
    return FIRST.index(kind) if kind in FIRST else len(FIRST), kind in LAST, name
