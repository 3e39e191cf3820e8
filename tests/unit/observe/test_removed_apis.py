"""Uses of APIs that a wanted version lacks: told by objects and by requests, and nothing else is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from anykube.observe import removed_apis as room
from anykube.observe.removed_apis import SHOWN, removed_apis

THING = "example.io/v1beta1"


class Server:
    """An API server with these documents; notes what it is asked for."""

    def __init__(self, metrics: str = "", documents: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.metrics = metrics
        self.documents = documents or {}
        self.asked: list[str] = []

    async def text(self, path: str) -> str:
        self.asked.append(path)
        return self.metrics

    async def document(self, path: str) -> Mapping[str, Any]:
        self.asked.append(path)
        return self.documents.get(path, {})


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "REMOVED", {"1.36": {THING: ("Thing",)}})


def things(*names: str, version: str = THING) -> dict[str, Any]:
    managed = [{"manager": "helm", "apiVersion": version}]
    items = [{"metadata": {"name": name, "namespace": "shop", "managedFields": managed}} for name in names]
    served = {"name": "things", "kind": "Thing", "verbs": ["get", "list"]}
    part = {"name": "things/status", "kind": "Thing", "verbs": ["get", "list"]}
    return {f"/apis/{THING}": {"resources": [served, part]}, f"/apis/{THING}/things": {"items": items}}


async def test_objects_written_in_it_are_named() -> None:
    found = await removed_apis(Server(documents=things("a")), "v1.35.4", "1.36.1")
    assert found == (f"{THING} Thing shop/a: written by helm",)


async def test_objects_written_in_another_version_are_not() -> None:
    server = Server(documents=things("a", version="example.io/v1"))
    assert await removed_apis(server, "v1.35.4", "1.36.1") == ()


@pytest.mark.parametrize(("release", "count"), [("1.35", 1), ("1.36", 1), ("1.37", 0)])
async def test_requests_that_were_counted(release: str, count: int) -> None:
    labels = (
        f'group="example.io",removed_release="{release}",resource="things",subresource="",version="v1beta1"'
    )
    server = Server(f"# HELP\napiserver_requested_deprecated_apis{{{labels}}} 1\nother 1\n")
    assert len(await removed_apis(server, "v1.35.4", "1.36.1")) == count


async def test_a_patch_asks_nothing() -> None:
    server = Server(documents=things("a"))
    assert await removed_apis(server, "v1.36.1", "1.36.3") == ()
    assert server.asked == []


async def test_many_are_counted() -> None:
    server = Server(documents=things(*(f"a{number:02}" for number in range(SHOWN + 3))))
    found = await removed_apis(server, "v1.35.4", "1.36.1")
    assert len(found) == SHOWN + 1
    assert found[-1] == "and 3 more"
