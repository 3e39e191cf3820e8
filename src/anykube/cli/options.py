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
        "-f", "--file", help="Cluster object; '-' reads standard input.", show_default="cluster.yaml"
    ),
]
Name = Annotated[
    str | None,
    typer.Option("-c", "--cluster", help="A cluster that is known here.", envvar="ANYKUBE_CLUSTER"),
]
Format = Annotated[Output, typer.Option("-o", "--output", help="How to print.")]
Yes = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")]
