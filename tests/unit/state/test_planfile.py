"""A saved plan reads back equal, whatever is in it; anything else is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anykube.content.model import CertificateRequest, File, SecretPart, Text
from anykube.errors import StateError
from anykube.plan.effects import ApplyObjects, Effect, IssueCertificates, PutFiles, SetUnit, WaitFor
from anykube.plan.model import Change, Phase, PhasePlan, Plan, Step
from anykube.state import codec
from anykube.state.planfile import SavedPlan, load_plan, save_plan

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(st.text(max_size=8), JSON, max_size=3), max_size=3).map(tuple)
EFFECT_STRATEGIES: dict[type, st.SearchStrategy[Any]] = {
    **{member: st.from_type(member) for member in get_args(Effect)},
    **{
        # A deadline is a finite number of seconds; JSON has no other.
        member: st.builds(member, seconds=st.floats(allow_nan=False, allow_infinity=False))
        for member in get_args(Effect)
        if "seconds" in member.__dataclass_fields__
    },
    ApplyObjects: st.builds(ApplyObjects, objects=OBJECTS),
}
EFFECTS = st.one_of(*EFFECT_STRATEGIES.values())
STEPS = st.builds(Step, effects=st.lists(EFFECTS, max_size=4).map(tuple))
PLANS = st.builds(
    Plan,
    phases=st.lists(st.builds(PhasePlan, steps=st.lists(STEPS, max_size=3).map(tuple)), max_size=3).map(
        tuple
    ),
)

PLAN = Plan(
    "demo",
    (
        PhasePlan(
            Phase.BOOTSTRAP,
            (
                Step(
                    "demo-cp-1/files",
                    Phase.BOOTSTRAP,
                    "demo-cp-1",
                    "place files",
                    "differs",
                    changes=(Change("update", "file", "/etc/x", "differs"),),
                    effects=(
                        PutFiles(
                            "demo-cp-1",
                            (
                                File("/etc/x", Text("a\nb")),
                                File("/etc/k", SecretPart("ca/cluster", "key"), "600"),
                            ),
                        ),
                        SetUnit("demo-cp-1", "kubelet.service", "restarted"),
                        IssueCertificates((CertificateRequest("a", "b", "c", addresses=("::1",)),)),
                        WaitFor("ready", "demo-cp-1", 60),
                    ),
                ),
            ),
        ),
        PhasePlan(Phase.ADDONS, (), provisional=True),
    ),
)
SAVED = SavedPlan(PLAN, object="kind: Cluster\n", source="cluster.yaml")


@given(PLANS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_plan_survives_its_json_form(plan: Plan) -> None:
    assert codec.decode(Plan, json.loads(json.dumps(codec.encode(plan)))) == plan


@pytest.mark.parametrize("effect", get_args(Effect), ids=lambda effect: effect.__name__)
@given(st.data())
@settings(max_examples=10, deadline=None)
def test_every_effect_survives_its_json_form(effect: type, data: st.DataObject) -> None:
    step = Step("x", Phase.ADDONS, "cluster", "", "", effects=(data.draw(EFFECT_STRATEGIES[effect]),))
    assert codec.decode(Step, json.loads(json.dumps(codec.encode(step)))) == step


def test_a_plan_is_read_back_equal_from_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    save_plan(path, SAVED)
    assert load_plan(path) == SAVED
    assert (path.stat().st_mode & 0o777) == 0o600


def test_a_plan_copied_by_hand_is_accepted_unless_others_can_change_it(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    save_plan(path, SAVED)
    path.chmod(0o644)
    assert load_plan(path) == SAVED
    for mode in (0o620, 0o602):
        path.chmod(mode)
        with pytest.raises(StateError, match="open to other users"):
            load_plan(path)


def test_a_missing_plan_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no plan") as caught:
        load_plan(tmp_path / "plan.json")
    assert "plan --out" in str(caught.value.remedy)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_json_is_not_saved(tmp_path: Path, value: float) -> None:
    step = Step("x", Phase.ADDONS, "cluster", "", "", effects=(WaitFor("c", "s", value),))
    with pytest.raises(StateError, match="cannot be saved"):
        save_plan(tmp_path / "plan.json", SavedPlan(Plan("demo", (PhasePlan(Phase.ADDONS, (step,)),))))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("manifest", [{"list": (1, 2)}, {1: "x"}, {"bytes": b"x"}, {"set": {1}}])
def test_objects_that_would_read_back_different_are_not_saved(
    tmp_path: Path, manifest: Mapping[Any, Any]
) -> None:
    step = Step("x", Phase.ADDONS, "cluster", "", "", effects=(ApplyObjects((manifest,)),))
    with pytest.raises(StateError, match="cannot be saved"):
        save_plan(tmp_path / "plan.json", SavedPlan(Plan("demo", (PhasePlan(Phase.ADDONS, (step,)),))))


def tampered(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"type": "PutFiles"', '"type": "RunAnything"'),
        ('"type": "PutFiles"', '"type": "Text"'),
        ('"type": "Text"', '"type": "SetUnit"'),
        ('"type": "Step"', '"type": "Plan"'),
        ('"unit": "kubelet.service"', '"unit": "kubelet.service", "extra": 1'),
        ('"unit": "kubelet.service"', '"unit": "kubelet.service", "unit": "other.service"'),
        ('"unit": "kubelet.service"', '"unit": null'),
        ('"unit": "kubelet.service"', '"unit": ["kubelet.service"]'),
        ('"unit": "kubelet.service",', ""),
        ('"phase": "bootstrap"', '"phase": "conquest"'),
        ('"seconds": 60', '"seconds": "60"'),
        ('"seconds": 60', '"seconds": true'),
        ('"seconds": 60', '"seconds": NaN'),
        ('"provisional": false', '"provisional": 0'),
        ('"schema": 1', '"schema": 2'),
        ('"kind": "plan"', '"kind": "record"'),
        ('"cluster": "demo"', '"cluster": ' + "[" * 100_000),
    ],
)
def test_a_plan_that_was_tampered_with_is_refused(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "plan.json"
    save_plan(path, SAVED)
    text = tampered(path.read_text(), old, new)
    path.write_text(text)
    with pytest.raises(StateError) as caught:
        load_plan(path)
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    assert len(str(caught.value)) < 1000


@given(st.binary(max_size=200))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "plan.json"
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(StateError):
        load_plan(path)
