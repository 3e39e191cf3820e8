"""anykube upgrade."""

from __future__ import annotations

from typing import Annotated

import typer

from anykube.cli.options import DRAIN_SECONDS, DrainTimeout, File, Format, Name, Output, Yes


def command(  # noqa: PLR0913  each is an option
    to: Annotated[
        str, typer.Option("--to", metavar="VERSION", help="The Kubernetes version, such as 1.36.3.")
    ],
    file: File = None,
    cluster: Name = None,
    output: Format = Output.TABLE,
    yes: Yes = False,
    drain_timeout: DrainTimeout = DRAIN_SECONDS,
    canary: Annotated[
        str, typer.Option("--canary", metavar="NODE", help="Begin with this node of its kind, stop after it.")
    ] = "",
    pause_after: Annotated[
        str, typer.Option("--pause-after", metavar="NODE|POOL", help="Stop when this node or pool is done.")
    ] = "",
    now: Annotated[bool, typer.Option("--now", help="Also outside of the maintenance window.")] = False,
    allow_removed_apis: Annotated[
        bool, typer.Option("--allow-removed-apis", help="Also if APIs are in use that the version lacks.")
    ] = False,
) -> int:
    """Bring a cluster to another Kubernetes version, node by node.

    Shows the plan and asks. Only the version changes in the file. A node that fails runs again what it ran
    before, and the upgrade stops; anykube apply goes on.
    """
    from anykube.cli.running import change_version
    from anykube.errors import UsageError
    from anykube.plan.upgrade import Asked

    if canary and pause_after:
        raise UsageError("--canary stops after its node.", remedy="leave --pause-after away")
    asked = Asked(first=canary, removed_apis=allow_removed_apis, now=now, pause=canary or pause_after)
    return change_version(to, asked, file, cluster, output, yes=yes, drain_seconds=drain_timeout)
