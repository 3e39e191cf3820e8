"""The networks of this machine, and whether a cluster's addresses are free: asked before all else."""

from __future__ import annotations

import json
import subprocess

from anykube.errors import SpecError
from anykube.facts.networks import Route, conflicts
from anykube.spec.load import locate
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


def check_addresses(cluster: Cluster, text: str, source: str) -> None:
    """SpecError with every network of the object that this machine uses already, each at its line."""
    problems = conflicts(cluster, None, routes())
    if problems:
        raise SpecError(source or cluster.name, locate(text, source, problems) if text else problems)
