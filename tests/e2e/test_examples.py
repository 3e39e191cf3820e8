"""The examples with several control planes, as they are in the repository, brought up for real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.story import Story, telling

from anykube.facts.probe_script import ETCD_CLIENT

pytestmark = pytest.mark.e2e
EXAMPLES = {"ha.yaml": ("ha", "cp", 5), "separate-etcd.yaml": ("separate-etcd", "etcd", 4)}
"""By file: the name in it, the pool with its members of etcd, its Kubernetes nodes."""
MEMBERS = 3


@pytest.fixture(params=EXAMPLES)
def example(alone: None, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Story, str, int]]:
    """A cluster made from an example, the pool of its members, and its nodes."""
    file = request.param
    name, pool, nodes = EXAMPLES[file]
    with telling(f"e2e-x-{name}"[:20], tmp_path) as story:
        story.write_example(file, name)
        yield story, pool, nodes


def test_an_example_comes_up_and_the_second_apply_changes_nothing(example: tuple[Story, str, int]) -> None:
    story, pool, nodes = example
    story.apply()
    assert len(story.ready_nodes()) == nodes
    listed = story.on(
        story.node(pool), *ETCD_CLIENT.split(), "member", "list", "--write-out=simple"
    ).splitlines()
    assert len(listed) == MEMBERS
    assert all(line.endswith("false") for line in listed), "a learner is left"
    story.must_be_settled()
    shown = story.run("status", "-c", story.name, "-o", "json").json
    assert shown["healthy"] is True
