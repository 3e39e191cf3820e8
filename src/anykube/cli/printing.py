"""Printing data to stdout and messages to stderr, the same way in every command."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from anykube.cli.options import Output


def message(text: str) -> None:
    """A line for people, on stderr."""
    print(text, file=sys.stderr, flush=True)


def colours() -> bool:
    """Whether stderr should be coloured (no-color.org: NO_COLOR wins when present and not empty)."""
    if os.environ.get("NO_COLOR"):
        return False
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def document(kind: str, data: Mapping[str, Any], form: Output) -> None:
    """Structured output: JSON or YAML with apiVersion and kind."""
    body = {"apiVersion": "anykube.dev/v1alpha1", "kind": kind, **data}
    if form is Output.YAML:
        import yaml

        print(yaml.safe_dump(body, sort_keys=False), end="")
    else:
        print(json.dumps(body, indent=2, default=str))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell, on stdout."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def confirm(question: str) -> bool:
    """Ask on the terminal; without a terminal nobody can answer, which is an error."""
    from anykube.errors import UsageError

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("This changes something, and there is no terminal to ask on.", remedy="add --yes")
    message("")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
