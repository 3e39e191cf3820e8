"""A machine gets another address: an edit of the object, planned, and applied one member at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from tests.e2e.bare import Bare
from tests.e2e.story import Story, eventually

from anykube.facts.probe_script import ETCD_CLIENT

pytestmark = pytest.mark.e2e
NAME = "e2e-address"
POOLS = ({"name": "cp", "roles": ["control-plane", "etcd", "worker"], "count": 3},)
MOVES = f"{NAME}-cp-2"
SHIFT = 100
"""From the old address to the new one."""


@pytest.fixture(scope="module")
def bare(alone: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    made = Bare(tmp_path_factory.mktemp("machines"), NAME, POOLS)
    try:
        asyncio.run(made.make())
        yield made
    finally:
        asyncio.run(made.remove())


def members(story: Story) -> dict[int, list[str]]:
    """Peer URLs of each member by its id, as the member on the first node lists them."""
    listed = story.on(story.node("cp"), *ETCD_CLIENT.split(), "member", "list")
    return {member["ID"]: member["peerURLs"] for member in json.loads(listed)["members"]}


def hashes(story: Story) -> set[int]:
    """What the members' data hashes to: one number if all hold the same."""
    answer = story.on(story.node("cp"), *ETCD_CLIENT.split(), "endpoint", "hashkv", "--cluster")
    return {entry["HashKV"]["hash"] for entry in json.loads(answer)}


def test_a_machine_with_another_address(bare: Bare, tmp_path: Path) -> None:
    story = Story(NAME, tmp_path)
    story.file.write_text(bare.object())
    story.apply()
    before = members(story)

    old = bare.blueprint.machines[MOVES].address
    new = str(ip_address(old) + SHIFT)
    prefix = bare.blueprint.choices["subnet"].partition("/")[2]
    story.on(MOVES, "ip", "address", "add", f"{new}/{prefix}", "dev", "eth0")
    story.file.write_text(bare.object({MOVES: new}))
    planned = [c for c in story.changes() if c["kind"] == "etcd member"]
    assert [(c["action"], c["subject"]) for c in planned] == [("move", MOVES)]
    story.apply()
    story.must_be_settled()
    now = members(story)
    assert now.keys() == before.keys(), "a member is another one"
    assert [f"https://{new}:2380"] in now.values()
    assert [f"https://{old}:2380"] not in now.values()
    eventually(lambda: "" if len(found := hashes(story)) == 1 else f"hashes {found}")
    (node,) = (node for node in story.objects("nodes") if node["metadata"]["name"] == MOVES)
    assert {"type": "InternalIP", "address": new} in node["status"]["addresses"]
