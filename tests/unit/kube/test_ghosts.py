"""Nodes of machines that are no more go, and pods on them; what belongs to others stays."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from anykube.addons.rbac import POOL_LABEL
from anykube.addons.references import reference
from anykube.kube.client import KubeClient
from anykube.kube.connection import JSON
from anykube.kube.ghosts import clear_ghosts


class Api(KubeClient):
    """Answers from a list of objects, and notes what is deleted."""

    def __init__(self, *things: Mapping[str, Any]) -> None:
        self.things = {reference(thing): dict(thing) for thing in things}
        self.at_once: list[str] = []
        self.deleted: list[str] = []

    async def list_objects(
        self, kind: str, *, namespace: str = "", labels: str = "", fields: str = "", accept: str = JSON
    ) -> tuple[dict[str, Any], ...]:
        return tuple(thing for thing in self.things.values() if thing["kind"] == kind)

    async def delete(self, name: str, *, at_once: bool = False) -> bool:
        (self.at_once if at_once else self.deleted).append(name)
        return self.things.pop(name, None) is not None


def node(name: str, pool: str = "worker") -> dict[str, Any]:
    labels = {POOL_LABEL: pool} if pool else {}
    return {"kind": "Node", "metadata": {"name": name, "labels": labels}}


def pod(name: str, on: str) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": {"nodeName": on}}


def test_ghosts() -> None:
    api = Api(
        node("here"),
        node("gone"),
        node("foreign", pool=""),
        pod("stays", "here"),
        pod("ghost", "gone"),
        pod("of-nobody", "never-seen"),
        pod("theirs", "foreign"),
        pod("waits", ""),
    )
    asyncio.run(clear_ghosts(api, ("here", "coming")))
    assert api.deleted == ["Node//gone", "Lease/kube-node-lease/gone"]
    assert api.at_once == ["Pod/default/ghost", "Pod/default/of-nobody"]
