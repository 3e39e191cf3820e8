"""anykube apply."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anykube.cli.options import DRAIN_SECONDS, DrainTimeout, File, Format, Name, Output, Yes


def command(
    plan_file: Annotated[
        Path | None, typer.Argument(metavar="PLAN", help="A saved plan: run exactly this.")
    ] = None,
    file: File = None,
    cluster: Name = None,
    output: Format = Output.TABLE,
    yes: Yes = False,
    drain_timeout: DrainTimeout = DRAIN_SECONDS,
) -> int:
    """Make the world as the object says: show the plan, ask, do it. Run it again to finish after any stop."""
    from anykube.cli.running import run_apply

    return run_apply(plan_file, file, cluster, output, yes=yes, drain_seconds=drain_timeout)
