"""A saved plan of a phase that was provisional: what may differ when its turn comes, and what may not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anykube.plan.effects import ApplyObjects
from anykube.plan.model import Change, Phase, PhasePlan, Step
from anykube.plan.stale import difference

NODE = "Node//demo-worker-2"


def phase(action: str, subject: str = NODE, kind: str = "object", *, provisional: bool = False) -> PhasePlan:
    change = Change(action, kind, subject, "missing")
    step = Step("cluster/nodes", Phase.ADDONS, "cluster", "nodes", "", (change,), (ApplyObjects(()),))
    return PhasePlan(Phase.ADDONS, (step,), provisional=provisional)


def test_a_node_that_registered_meanwhile_is_updated_where_it_was_to_be_created() -> None:
    assert difference(phase("create", provisional=True), phase("update")) == ""


@pytest.mark.parametrize(
    "now",
    [phase("delete"), phase("update", "Node//other"), phase("update", "/etc/x", "file"), phase("wait")],
    ids=["deleted", "another object", "a file", "nothing left"],
)
def test_anything_else_is_stale(now: PhasePlan) -> None:
    assert difference(phase("create", provisional=True), now)


def test_a_phase_planned_on_facts_must_be_equal() -> None:
    assert difference(phase("create"), phase("update"))
    assert not difference(phase("create"), phase("create"))
    assert difference(phase("create", kind="file", provisional=True), phase("update", kind="file"))
    assert difference(phase("create"), replace(phase("create"), steps=()))
