"""The networks of this machine, and whether a cluster's addresses are free: asked before anything is touched."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence

from anykube.errors import SpecError
from anykube.facts.networks import Route, conflicts
from anykube.spec.model import Cluster


def routes() -> tuple[Route, ...]:
    """What this machine routes, from `ip route`; the default route is not one of them."""
    try:
        answer = subprocess.run(
            ["ip", "-j", "route", "show", "table", "main"], capture_output=True, check=True, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(
        Route(entry["dst"] if "/" in entry["dst"] else f"{entry['dst']}/32", entry.get("dev", ""))
        for entry in json.loads(answer.stdout or b"[]")
        if entry.get("dst", "default") != "default" and ":" not in entry["dst"]
    )


def check_addresses(cluster: Cluster, *, subnet: str | None = None, own: Sequence[str] = ()) -> None:
    """SpecError with all conflicts of the object with this machine. `own` are bridges of this cluster."""
    problems = conflicts(cluster, subnet, routes(), own)
    if problems:
        raise SpecError(cluster.name, problems)
