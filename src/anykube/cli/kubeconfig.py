"""anykube kubeconfig."""

from __future__ import annotations

from typing import Annotated

import typer

from anykube.cli.options import File, Name


def command(
    file: File = None,
    cluster: Name = None,
    path: Annotated[
        bool, typer.Option("--path", help="Write it to a private file, and print the path of that.")
    ] = False,
) -> None:
    """Print the administrator's kubeconfig.

    Use: export KUBECONFIG=$(anykube kubeconfig -c NAME --path). It names an API server that answers. With
    several, each has a context of its own: admin@NODE.
    """
    import asyncio

    from anykube.access import admin_kubeconfig, write_kubeconfig
    from anykube.cli.printing import message
    from anykube.cli.target import target

    chosen = target(file, cluster).cluster
    found = asyncio.run(admin_kubeconfig(chosen))
    if found.note:
        message(found.note)
    if path:
        print(write_kubeconfig(chosen, found))
    else:
        print(found.content.reveal().decode(), end="")
