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
    """Print the administrator's kubeconfig. Use: export KUBECONFIG=$(anykube kubeconfig -c NAME --path)."""
    from anykube.access import admin_kubeconfig, write_kubeconfig
    from anykube.cli.target import target

    found = target(file, cluster).cluster
    if path:
        print(write_kubeconfig(found))
    else:
        print(admin_kubeconfig(found).reveal().decode(), end="")
