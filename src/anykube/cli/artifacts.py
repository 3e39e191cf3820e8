"""anykube artifacts: what a cluster's software is, having it here, and proving it unchanged."""

from __future__ import annotations

import typer

from anykube.cli.options import File, Format, Name, Output

app = typer.Typer(
    help="The software of a cluster: binaries and images, by sha256.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list")
def list_(file: File = None, cluster: Name = None, output: Format = Output.TABLE) -> None:
    """Show every artifact that the cluster needs: version, source, sha256, and whether it is here."""
    from anykube.cli.printing import document, table
    from anykube.cli.target import target
    from anykube.software import listing

    rows = listing(target(file, cluster).cluster)
    if output in (Output.JSON, Output.YAML):
        document("ArtifactList", {"items": [row.as_dict() for row in rows]}, output)
    elif output is Output.NAME:
        print("\n".join(row.name for row in rows))
    else:
        short = slice(None) if output is Output.WIDE else slice(12)
        table(
            ("ARTIFACT", "VERSION", "SOURCE", "SIZE", "SHA256", "HERE"),
            [(row.name, row.version, row.source, row.size, row.sha256[short], row.here) for row in rows],
        )


@app.command("get")
def get(file: File = None, cluster: Name = None, output: Format = Output.TABLE) -> None:
    """Fetch or build what is missing, and write the lock."""
    import asyncio

    from anykube.cli.printing import message
    from anykube.cli.progress import progress
    from anykube.cli.target import target
    from anykube.software import get_all

    show = progress(output)
    try:
        lock = asyncio.run(get_all(target(file, cluster).cluster, emit=show))
    finally:
        show.close()
    message(f"{len(lock.artifacts)} artifacts are locked and here.")


@app.command("verify")
def verify(file: File = None, cluster: Name = None) -> int:
    """Read every locked artifact again and compare its sha256."""
    from anykube.cli.printing import message
    from anykube.cli.target import target
    from anykube.software import verify_all

    count, problems = verify_all(target(file, cluster).cluster)
    for problem in problems:
        message(problem)
    message(f"{count - len(problems)} of {count} artifacts are unchanged.")
    return 1 if problems else 0
