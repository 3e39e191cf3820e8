"""anykube adopt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anykube.cli.options import Format, Output
from anykube.errors import UsageError


def command(
    archive: Annotated[
        str,
        typer.Option("--from", metavar="ARCHIVE", help="What anykube backup made: a file, or s3://…"),
    ] = "",
    node: Annotated[
        str,
        typer.Option(
            "--node",
            metavar="[USER@]HOST[:PORT]",
            help="A node of etcd, in place of an archive: it holds what the last apply sealed.",
        ),
    ] = "",
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="The private SSH key for --node.")
    ] = None,
    host_key: Annotated[
        str,
        typer.Option("--host-key", metavar="KEY", help="Its public host key; else from ~/.ssh/known_hosts."),
    ] = "",
    identity: Annotated[
        list[Path] | None,
        typer.Option("--identity", metavar="FILE", help="A key of age that can read it. May be given again."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("-f", "--file", metavar="FILE", help="The object of today; default: the sealed one."),
    ] = None,
    output: Format = Output.TABLE,
) -> int:
    """Know a living cluster again whose record is lost.

    Keys, object and lock come from a backup, the rest from the cluster as it is. Nothing on a node changes.
    Refused when the backup is older than a change of authorities, members or nodes.
    """
    if bool(archive) == bool(node):
        raise UsageError("adopt takes an archive, or a node.", remedy="anykube adopt --from ARCHIVE")
    if node and key is None:
        raise UsageError("--node needs an SSH key.", remedy="add --key FILE")
    from anykube.cli.restoring import run_adopt

    return run_adopt(archive, node, key, host_key, identity or [], file, output)
