"""Options that several commands share, so that they are named and explained once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Output(StrEnum):
    """How data is printed."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


File = Annotated[
    Path | None,
    typer.Option(
        "-f",
        "--file",
        metavar="FILE",
        help="File of the cluster object; '-' is standard input. Without -f and -c: cluster.yaml.",
        show_default=False,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        "-c",
        "--cluster",
        metavar="NAME",
        help="A cluster that is known here, in place of its file.",
        envvar="ANYKUBE_CLUSTER",
    ),
]
Format = Annotated[Output, typer.Option("-o", "--output", help="Form of the output.")]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")]

DRAIN_SECONDS = 300.0
"""As plan/leave.py has it; named here because the command line starts without loading the planner."""
DrainTimeout = Annotated[
    float,
    typer.Option(
        "--drain-timeout",
        metavar="SECONDS",
        min=0,
        help="How long pods of a node that leaves may take to go.",
        envvar="ANYKUBE_DRAIN_TIMEOUT",
    ),
]
