"""Which APIs a wanted Kubernetes version does not have any more are in use: before an upgrade. Reads only.

Two witnesses: objects whose last writer used such an API (managedFields), and requests for it that the API
server has counted since it started.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from anykube.plan.upgrade import parsed
from anykube.spec.removed_apis import REMOVED

METRIC = re.compile(r"^apiserver_requested_deprecated_apis\{([^}]*)\} 1$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')
SHOWN = 20


class Api(Protocol):
    """What is needed of kube/client.py."""

    async def text(self, path: str) -> str:
        """What lies behind a path; '' if nothing does."""

    async def document(self, path: str) -> Mapping[str, Any]:
        """The same as JSON; empty if there is nothing."""


async def removed_apis(api: Api, running: str, target: str) -> tuple[str, ...]:
    """One line for each use, at most SHOWN. Nothing is asked unless the minor version changes."""
    minors = range(parsed(running)[1] + 1, parsed(target)[1] + 1)
    if not minors:
        return ()
    gone = {name: kinds for minor in minors for name, kinds in REMOVED.get(f"1.{minor}", {}).items()}
    found = [*_requested(await api.text("/metrics"), minors.stop - 1)]
    for group_version, kinds in gone.items():
        found += await _written(api, group_version, kinds)
    shown = sorted(set(found))
    return (*shown[:SHOWN], *((f"and {len(shown) - SHOWN} more",) if len(shown) > SHOWN else ()))


def _requested(metrics: str, minor: int) -> Iterator[str]:
    for labels in METRIC.findall(metrics):
        of = dict(LABEL.findall(labels))
        removed = of.get("removed_release", "").split(".")
        if len(removed) == 2 and removed[1].isdigit() and int(removed[1]) <= minor:
            name = "/".join(part for part in (of.get("group"), of.get("version")) if part)
            yield f"{name} {of.get('resource')}: requested, is gone in {'.'.join(removed)}"


async def _written(api: Api, group_version: str, kinds: tuple[str, ...]) -> list[str]:
    served = (await api.document(f"/apis/{group_version}")).get("resources") or ()
    found: list[str] = []
    for resource in served:
        if (
            resource.get("kind") not in kinds
            or "list" not in resource.get("verbs", ())
            or "/" in resource["name"]
        ):
            continue
        listed = await api.document(f"/apis/{group_version}/{resource['name']}")
        for item in listed.get("items") or ():
            if writer := _writer(item, group_version):
                metadata = item["metadata"]
                place = "/".join(part for part in (metadata.get("namespace"), metadata["name"]) if part)
                found.append(f"{group_version} {resource['kind']} {place}: written by {writer}")
    return found


def _writer(item: Mapping[str, Any], group_version: str) -> str:
    """Who wrote an object in this version of its API; '' if nobody did."""
    entries = item["metadata"].get("managedFields") or ()
    return next((str(one.get("manager")) for one in entries if one.get("apiVersion") == group_version), "")
