"""anykube plan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anykube.cli.options import DRAIN_SECONDS, DrainTimeout, File, Format, Name, Output

CHANGES_PENDING = 2


def command(
    file: File = None,
    cluster: Name = None,
    output: Format = Output.TABLE,
    out: Annotated[
        Path | None, typer.Option(metavar="PLAN", help="Save the plan; apply PLAN runs it.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Show every change, also long lists of alike ones.")
    ] = False,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 2 when there are changes.")
    ] = False,
    drain_timeout: DrainTimeout = DRAIN_SECONDS,
) -> int:
    """Say what apply would do, where and why. Changes nothing."""
    import asyncio

    from anykube.cli.printing import document, message, show
    from anykube.cli.target import target
    from anykube.plan.render import lines
    from anykube.state.codec import encode
    from anykube.state.planfile import SavedPlan, save_plan
    from anykube.workflow import plan

    found = target(file, cluster)
    made = asyncio.run(plan(found.cluster, text=found.text, source=found.source, drain_seconds=drain_timeout))
    if out:
        save_plan(out, SavedPlan(made, found.text, found.source))
        message(f"Saved. Run it with: anykube apply {out}")
    if output in (Output.JSON, Output.YAML):
        document("Plan", {"plan": encode(made)}, output)
    else:
        show("\n".join(lines(made, full=full)))
    return CHANGES_PENDING if detailed_exitcode and not made.empty else 0
