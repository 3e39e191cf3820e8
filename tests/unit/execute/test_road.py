"""Software that lies ready and the way back, on simulated hosts: real shell, real files, at every stage."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.execute.test_node import APP, CONFIG, UNIT_FILE, look, resolve, temporaries

from anykube.content.model import ArtifactFile, File, Text
from anykube.content.paths import KEPT, LEDGER, SOFTWARE
from anykube.errors import CommandError
from anykube.execute.node import NodeHand
from anykube.execute.road import perform
from anykube.plan.effects import ForgetKept, KeepFiles, PlaceFiles, ReturnFiles, RoadEffect, StageFiles
from anykube.testing import SimulatedHost, simulated_hosts, why_unavailable
from anykube.transports.ssh import SSHTransport

pytestmark = pytest.mark.skipif(bool(why_unavailable()), reason=why_unavailable() or "available")

NEW_CONFIG = replace(CONFIG, source=Text("colour: red\n"))
EXTRA = File("/etc/app/extra file", Text("new\n"))
PATHS = (APP.path, CONFIG.path, UNIT_FILE.path, EXTRA.path)


class Node:
    """A node on which an application of version one runs, and the software of version two."""

    def __init__(self, host: SimulatedHost, transport: SSHTransport, two: Path) -> None:
        self.host = host
        self.transport = transport
        self.hand = NodeHand(transport, "lineage-a", 5, resolve)
        self.app = replace(APP, source=ArtifactFile(str(two)))
        self.staged = host.path(f"{SOFTWARE}/{resolve(self.app.source)[1]}")

    async def do(self, *effects: RoadEffect) -> None:
        for effect in effects:
            await perform(self.hand, effect, resolve)

    def text(self, path: str) -> str:
        return self.host.path(path).read_text()


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    two = tmp_path / "two"
    two.write_text("#!/bin/sh\n# two\n")
    async with simulated_hosts(1) as hosts:
        transport = hosts[0].transport()
        made = Node(hosts[0], transport, two)
        await made.hand.put([APP, CONFIG, UNIT_FILE])
        await made.hand.set_unit("app.service", "started")
        yield made
        await transport.close()


KEEP = KeepFiles("node", "two", PATHS)
RETURN = ReturnFiles("node", "two", ("app.service",))


async def test_staged_software_changes_nothing_until_it_is_placed(node: Node) -> None:
    await node.do(KEEP, StageFiles("node", (node.app,)))
    assert "two" not in node.text(APP.path)
    assert "two" in node.staged.read_text()
    await node.do(PlaceFiles("node", (node.app,)))
    assert "two" in node.text(APP.path)
    assert oct(node.host.path(APP.path).stat().st_mode)[-3:] == "755"
    assert not node.staged.exists()
    assert SOFTWARE + "/" not in node.text(LEDGER)
    assert temporaries(node.host) == []


async def test_what_is_not_staged_or_damaged_is_not_placed(node: Node) -> None:
    with pytest.raises(CommandError, match="placing"):
        await node.do(PlaceFiles("node", (node.app,)))
    await node.do(StageFiles("node", (node.app,)))
    node.staged.write_text("damaged")
    with pytest.raises(CommandError, match="placing") as caught:
        await node.do(PlaceFiles("node", (node.app,)))
    assert "damaged" in str(caught.value)
    assert "two" not in node.text(APP.path)


@pytest.mark.parametrize("reached", range(5))
@pytest.mark.parametrize("again", [False, True])
async def test_the_way_back_from_everywhere(node: Node, reached: int, again: bool) -> None:
    """`again`: the run was killed, and the next one kept what it found before it failed too."""

    async def restart() -> None:
        await node.hand.set_unit("app.service", "restarted")

    before = {path: node.text(path) for path in PATHS[:3]}
    started = (await look(node.transport, "app.service")).units["app.service"]
    await node.do(KEEP, StageFiles("node", (node.app,)))
    works: tuple[Callable[[], Awaitable[None]], ...] = (
        lambda: node.do(PlaceFiles("node", (node.app,))),
        lambda: node.hand.put([NEW_CONFIG]),
        restart,
        lambda: node.hand.put([EXTRA]),
    )
    for work in works[:reached]:
        await work()
    if again:
        await node.do(KEEP)
    await node.do(RETURN, RETURN)
    assert {path: node.text(path) for path in PATHS[:3]} == before
    assert not node.host.path(EXTRA.path).exists()
    now = (await look(node.transport, "app.service")).units["app.service"]
    assert (now.running, now.inputs) == (True, started.inputs)
    assert list(node.host.path(KEPT).iterdir()) == []


async def test_what_is_done_cannot_go_back_and_leaves_nothing(node: Node) -> None:
    await node.do(KEEP, StageFiles("node", (node.app,)), PlaceFiles("node", (node.app,)))
    await node.do(ForgetKept("node", "two"), RETURN)
    assert "two" in node.text(APP.path)
    assert list(node.host.path(KEPT).iterdir()) == []


async def test_what_was_kept_for_another_change_goes(node: Node) -> None:
    await node.do(KEEP, KeepFiles("node", "three", PATHS))
    assert [path.name for path in node.host.path(KEPT).iterdir()] == ["three"]
