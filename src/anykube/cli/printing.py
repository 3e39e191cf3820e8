"""Printing data to stdout and messages to stderr, the same way in every command."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, TextIO

from anykube.cli.options import Output
from anykube.spec.problem import escaped


def plain(text: str) -> str:
    """Text without characters that could change a terminal: names and answers of hosts are input."""
    if text.isprintable():
        return text
    return "\n".join(escaped(line, len(line)) for line in text.split("\n"))


def message(text: str) -> None:
    """Lines for people, on stderr."""
    print(plain(text), file=sys.stderr, flush=True)


def show(text: str) -> None:
    """Lines of data for people, on stdout."""
    print(plain(text))


def colours(stream: TextIO | None = None) -> bool:
    """Whether stderr, or another stream, should be coloured (no-color.org: NO_COLOR wins when present and not
    empty)."""
    if os.environ.get("NO_COLOR"):
        return False
    return (stream or sys.stderr).isatty() and os.environ.get("TERM") != "dumb"


def document(kind: str, data: Mapping[str, Any], form: Output) -> None:
    """Structured output: JSON or YAML with apiVersion and kind."""
    body = {"apiVersion": "anykube.dev/v1alpha1", "kind": kind, **data}
    if form is Output.YAML:
        import yaml

        print(yaml.safe_dump(body, sort_keys=False), end="")
    else:
        print(json.dumps(body, indent=2, default=str))


def table(header: Sequence[str], rows: Sequence[Sequence[str]], hues: Sequence[str] = ()) -> None:
    """Columns as wide as their widest cell, on stdout. `hues`: the colour of each row ('31' is red), '' for
    none."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    painted = hues if colours(sys.stdout) else ()
    for row, hue in zip_longest([header, *rows], ["", *painted], fillvalue=""):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        print(f"\x1b[{hue}m{plain(line)}\x1b[0m" if hue else plain(line))


def confirm(question: str) -> bool:
    """Ask on the terminal; without a terminal nobody can answer, which is an error."""
    return _asked(f"{question} [y/N]") in ("y", "yes")


def typed(question: str, word: str) -> bool:
    """Ask for a word, for what must not be confirmed in passing."""
    return _asked(question) == word


def _asked(question: str) -> str:
    from anykube.errors import UsageError

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("This changes something, and there is no terminal to ask on.", remedy="add --yes")
    message("")
    print(f"{plain(question)} ", end="", file=sys.stderr, flush=True)
    return _answer()


def _answer() -> str:
    """A line from the terminal. Ctrl-C ends the wait, also where an event loop has its own handler."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return sys.stdin.readline().strip().lower()
    except KeyboardInterrupt:
        message("")
        raise
    finally:
        signal.signal(signal.SIGINT, previous)
