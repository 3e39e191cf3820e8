"""anykube logs."""

from __future__ import annotations

from typing import Annotated

import typer

from anykube.cli.options import File, Name


def command(
    node: Annotated[str, typer.Argument(metavar="NODE", help="Name of the node.")],
    unit: Annotated[
        str | None, typer.Argument(metavar="COMPONENT", help="Such as kubelet; all without it.")
    ] = None,
    file: File = None,
    cluster: Name = None,
    lines: Annotated[
        int,
        typer.Option(
            "-n", "--lines", metavar="COUNT", min=1, max=100_000, help="How many of the newest lines."
        ),
    ] = 100,
    follow: Annotated[bool, typer.Option("-F", "--follow", help="Go on as new lines come.")] = False,
) -> None:
    """Show what the components of a node wrote to their journal."""
    import asyncio

    from anykube.access import journal_of
    from anykube.cli.target import target

    async def show() -> None:
        async for line in journal_of(target(file, cluster).cluster, node, unit, lines=lines, follow=follow):
            print(line.rstrip("\n"), flush=True)

    asyncio.run(show())
