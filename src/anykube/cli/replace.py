"""anykube replace."""

from __future__ import annotations

from typing import Annotated

import typer

from anykube.cli.options import DRAIN_SECONDS, DrainTimeout, File, Format, Name, Output, Yes


def command(
    node: Annotated[str, typer.Argument(metavar="NODE", help="The node to make anew, as status names it.")],
    file: File = None,
    cluster: Name = None,
    output: Format = Output.TABLE,
    yes: Yes = False,
    drain_timeout: DrainTimeout = DRAIN_SECONDS,
) -> int:
    """Make a node anew, dead or alive.

    It is drained, leaves etcd and the cluster, and its machine is deleted and made again (a machine that
    existed before is cleaned instead). Refused if data would be lost. Any node, of any role.
    """
    from anykube.cli.running import run_replace

    return run_replace(node, file, cluster, output, yes=yes, drain_seconds=drain_timeout)
