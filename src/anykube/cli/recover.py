"""anykube recover."""

from __future__ import annotations

from typing import Annotated

import typer

from anykube.cli.options import File, Format, Name, Output, Yes


def command(
    node: Annotated[
        str, typer.Argument(metavar="NODE", help="The node whose etcd member, or snapshot file, is used.")
    ],
    snapshot: Annotated[
        str,
        typer.Option(
            "--snapshot", metavar="FILE", help="A snapshot of etcd, a file on NODE, in place of its data."
        ),
    ] = "",
    lost: Annotated[
        list[str] | None,
        typer.Option(
            "--lost",
            metavar="NODE",
            help="A machine that cannot be reached and will not come back. May be given again.",
        ),
    ] = None,
    file: File = None,
    cluster: Name = None,
    output: Format = Output.TABLE,
    yes: Yes = False,
) -> int:
    """Begin etcd anew when its quorum is lost.

    From one surviving member, or from a snapshot. Old data is moved aside, never deleted.
    """
    from anykube.cli.running import run_recover

    return run_recover(node, snapshot, lost or [], file, cluster, output, yes=yes)
