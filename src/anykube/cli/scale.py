"""anykube scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from anykube.cli.options import DRAIN_SECONDS, DrainTimeout, File, Format, Name, Output, Yes
from anykube.errors import UsageError

if TYPE_CHECKING:
    from anykube.cli.target import Target


def command(
    pools: Annotated[
        list[str], typer.Argument(metavar="POOL=N", help="A pool and how many machines it should have.")
    ],
    file: File = None,
    cluster: Name = None,
    output: Format = Output.TABLE,
    yes: Yes = False,
    drain_timeout: DrainTimeout = DRAIN_SECONDS,
) -> int:
    """Give a pool another number of machines.

    Shows the plan and asks. Only the numbers change in the file, comments and layout stay; without a yes it
    is not touched.
    """
    from pathlib import Path

    from anykube.cli.running import apply_target
    from anykube.cli.target import Target, target
    from anykube.objectfile import rewrite
    from anykube.spec.edit import with_counts
    from anykube.spec.load import load

    counts = _counts(pools)
    found = target(file, cluster)
    editable(found, named=cluster, what="number")
    text = with_counts(found.text, counts, found.source)
    wanted = Target(load(text, found.source), text, found.source)

    def keep() -> None:
        rewrite(Path(found.source), found.text, text)

    return apply_target(wanted, output, yes=yes, drain_seconds=drain_timeout, keep=keep)


def _counts(pools: list[str]) -> dict[str, int]:
    """'worker=3' as a mapping. UsageError for anything else, or for a pool that is named twice."""
    counts: dict[str, int] = {}
    for given in pools:
        name, equals, number = given.partition("=")
        if not (name and equals and number.isascii() and number.isdigit() and len(number) < 10):
            raise UsageError(f"{given[:60]!r} is not a pool and a number.", remedy="for example worker=3")
        if name in counts:
            raise UsageError(f"The pool {name[:60]!r} is named twice.", remedy="give each pool one number")
        counts[name] = int(number)
    return counts


def editable(found: Target, *, named: str | None, what: str) -> None:
    """UsageError unless the object came from a file that says what is known of the cluster."""
    from anykube.errors import SpecError
    from anykube.objectfile import read

    if not found.source:
        raise UsageError(f"There is no file to write the {what} to.", remedy="name the object's file with -f")
    if named is None:
        return
    try:
        same = read(found.source)[0] == found.text
    except SpecError:
        brief = f"The file that {named} was applied from cannot be read: {found.source}"
        raise UsageError(brief, remedy="name the object's file with -f") from None
    if not same:
        brief = f"{found.source} is not as it was applied to {named}; its other edits would be applied too."
        remedy = f"look: anykube plan -f {found.source}; if all of it is meant, give -f instead of -c"
        raise UsageError(brief, remedy=remedy)
