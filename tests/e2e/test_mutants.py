"""The proof is proven: anykube broken on purpose (tests/mutants) must be caught by it. Part of `make soak`.

Each mutant gets a cluster of its own, which it may wreck, and the story that catches it; what caught it is
printed. That the same stories pass with anykube as it is, is shown where they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.e2e.proof import Proof, proving
from tests.e2e.shapes import shape
from tests.e2e.story import REPOSITORY, telling
from tests.e2e.test_high_availability import (
    test_a_control_plane_without_power_is_replaced as replacement,
)
from tests.e2e.test_high_availability import (
    test_one_control_plane_becomes_three as growth,
)
from tests.e2e.test_membership_faults import (
    test_one_too_many_is_not_taken_away as one_too_many,
)
from tests.e2e.test_membership_faults import (
    test_the_data_of_a_member_vanish as lost_data,
)

pytestmark = pytest.mark.soak

FOLDER = REPOSITORY / "tests" / "mutants"
CAUGHT: dict[str, tuple[int, Callable[[Proof], None]]] = {
    "joins-as-voter": (1, growth),
    "removes-nobody": (3, replacement),
    "removes-another": (3, replacement),
    "starts-anew": (3, lost_data),
    "counts-no-quorum": (3, one_too_many),
}
"""Mutant: how many control planes it begins with, and the story that catches it."""


@pytest.mark.parametrize("mutant", CAUGHT)
def test_a_mutant_is_caught(alone: None, tmp_path: Path, mutant: str) -> None:
    planes, story_of = CAUGHT[mutant]
    with telling("e2e-mutant", tmp_path) as sound:
        path = os.pathsep.join(filter(None, (str(FOLDER), os.environ.get("PYTHONPATH"))))
        broken = replace(sound, environment={"PYTHONPATH": path, "ANYKUBE_MUTANT": mutant})
        shape(broken, planes=planes)
        broken.apply()
        broken.must_be_settled()
        with (
            pytest.raises(AssertionError) as caught,  # a time-out catches nothing
            proving(broken) as proof,
        ):
            story_of(proof)
    print(f"{mutant} is caught by {story_of.__name__}: {str(caught.value)[:600]}")
