"""How `apply` ends: what was done, the nodes, and the next commands as they would be typed here."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from anykube.cli.printing import message

if TYPE_CHECKING:
    from anykube.cli.target import Target
    from anykube.run import Report
    from anykube.spec.model import Cluster

NAME = "anykube"


def finish(report: Report, found: Target, *, live: bool) -> None:
    """Say how it went on stderr; nodes and next commands go to stdout. `live`: phases still stand above."""
    name = found.cluster.name
    if not report.approved:
        message("Nothing was changed.")
        return
    if report.unchanged:
        from anykube.plan.render import summary

        message(summary(report.plan))
    else:
        total = sum(report.seconds.values())
        phases = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in report.seconds.items())
        message(f"{name}: {report.done} steps done in {total:.1f} s" + ("" if live else f" ({phases})"))
    if report.status is not None:
        from anykube.cli.status import node_table

        message("")
        sys.stderr.flush()
        node_table(report.status)
        print()
        print("\n".join(next_commands(found)))


def next_commands(found: Target) -> list[str]:
    """Use it, look at it, grow it, remove it."""
    run, name = program(), found.cluster.name
    # A kubeconfig that root wrote cannot be read by the person who used sudo.
    use = f"export KUBECONFIG=$({run} kubeconfig -c {name} --path)"
    if run.startswith("sudo "):
        use = f"{run} kubeconfig -c {name} > {name}.kubeconfig; export KUBECONFIG=$PWD/{name}.kubeconfig"
    return [
        f"Use it:     {use}",
        f"Look at it: {run} status -c {name}",
        f"Grow it:    {_grow(found.cluster, found.source, run)}",
        f"Remove it:  {run} destroy -c {name}",
    ]


def _grow(cluster: Cluster, source: str, run: str) -> str:
    pools = cluster.spec.machines.pools
    pool = next((pool for pool in pools if set(map(str, pool.roles)) == {"worker"}), None)
    file = _short(Path(source)) if source and Path(source).exists() else "FILE"
    again = f"{run} apply -f {shlex.quote(file)}"
    if cluster.spec.machines.provider.machines is not None:
        return f"add a host in {file}, then: {again}"
    if pool is None:
        return f"add a pool of workers in {file}, then: {again}"
    if file == "FILE":
        return f"count: {pool.count + 1} for the pool {pool.name} in {file}, then: {again}"
    return f"{run} scale {pool.name}={pool.count + 1} -c {cluster.name}"


def program() -> str:
    """This program as the person would type it: its name when that finds it, else the shortest path."""
    typed = Path(sys.argv[0])
    if typed.name != NAME:
        return NAME
    found = shutil.which(NAME)
    path = NAME if found and Path(found).resolve() == typed.resolve() else shlex.quote(_short(typed))
    return f"sudo {path}" if os.environ.get("SUDO_USER") and os.geteuid() == 0 else path


def _short(path: Path) -> str:
    """The path from here if it is below, else in full."""
    full = path.absolute()
    return str(full.relative_to(Path.cwd())) if full.is_relative_to(Path.cwd()) else str(full)
