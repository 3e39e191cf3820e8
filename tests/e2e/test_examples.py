"""The examples with several control planes, as they are in the repository, brought up for real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.story import Story, telling

from anykube.facts.probe_script import ETCD_CLIENT

pytestmark = pytest.mark.e2e
EXAMPLES = {"ha.yaml": ("ha", 3, 5), "separate-etcd.yaml": ("separate-etcd", 3, 4)}
"""By file: the name in it, its members of etcd, its Kubernetes nodes."""


@pytest.fixture(params=EXAMPLES)
def example(alone: None, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Story, int, int]]:
    """A cluster made from an example, its members and its nodes."""
    file = request.param
    name, members, nodes = EXAMPLES[file]
    with telling(f"e2e-x-{name}"[:20], tmp_path) as story:
        story.write_example(file, name)
        yield story, members, nodes


def test_an_example_comes_up_and_the_second_apply_changes_nothing(example: tuple[Story, int, int]) -> None:
    story, members, nodes = example
    story.apply()
    assert len(story.ready_nodes()) == nodes
    holder = next(node for node in story.nodes if "-etcd-" in node or members == nodes - 2)
    listed = story.on(holder, *ETCD_CLIENT.split(), "member", "list", "--write-out=simple").splitlines()
    assert len(listed) == members
    assert all(line.endswith("false") for line in listed), "a learner is left"
    story.must_be_settled()
    shown = story.run("status", "-c", story.name, "-o", "json").json
    assert shown["healthy"] is True
