"""anykube restore."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anykube.cli.options import File, Format, Name, Output, Yes
from anykube.errors import UsageError


def command(  # noqa: PLR0913  options
    archive: Annotated[
        str,
        typer.Argument(
            metavar="ARCHIVE",
            help="What anykube backup made: a file, or s3://… Without it: go on with a restore.",
        ),
    ] = "",
    identity: Annotated[
        list[Path] | None,
        typer.Option("--identity", metavar="FILE", help="A key of age that can read it. May be given again."),
    ] = None,
    node: Annotated[
        str,
        typer.Option("--node", metavar="NODE", help="Where etcd begins; default: the first that answers."),
    ] = "",
    lost: Annotated[
        list[str] | None,
        typer.Option(
            "--lost",
            metavar="NODE",
            help="A machine that cannot be reached and will not come back. May be given again.",
        ),
    ] = None,
    abort: Annotated[
        bool,
        typer.Option("--abort", help="Return to what was, as long as no API server has started since."),
    ] = False,
    file: File = None,
    cluster: Name = None,
    output: Format = Output.TABLE,
    yes: Yes = False,
) -> int:
    """Go back to what an archive holds.

    Onto the same machines or others, in whatever topology. The archive is verified before anything is
    touched; what was there is moved aside, never deleted. The object is that of -f, else the one applied
    last here, else that of the archive. Interrupted, run it again, or --abort.
    """
    from anykube.cli.restoring import run_abort, run_go_on, run_restore

    if not archive:
        if cluster is None or file is not None or node:
            raise UsageError(
                "There is no archive to restore.",
                remedy="anykube restore ARCHIVE; or, to go on with one that was interrupted: "
                "anykube restore -c NAME",
            )
        return (
            run_abort(cluster, output, yes=yes) if abort else run_go_on(cluster, lost or [], output, yes=yes)
        )
    if abort:
        raise UsageError("--abort takes no archive.", remedy="anykube restore --abort -c NAME")
    if cluster is not None:
        raise UsageError("An archive names its cluster itself.", remedy="leave -c away")
    return run_restore(archive, identity or [], node, lost or [], file, output, yes=yes)
