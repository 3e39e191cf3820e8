"""anykube exec."""

from __future__ import annotations

from typing import Annotated

import typer

from anykube.cli.options import File, Name


def command(
    node: Annotated[str, typer.Argument(metavar="NODE", help="Name of the node.")],
    arguments: Annotated[
        list[str], typer.Argument(help="The command and its arguments, after --.", metavar="-- COMMAND")
    ],
    file: File = None,
    cluster: Name = None,
) -> int:
    """Run a command on a node; its exit status is ours. It goes over SSH, as apply does."""
    import asyncio
    import sys

    from anykube.access import run_on
    from anykube.cli.target import target

    result = asyncio.run(run_on(target(file, cluster).cluster, node, arguments))
    sys.stdout.write(result.stdout)
    sys.stderr.write(result.stderr)
    return result.status
