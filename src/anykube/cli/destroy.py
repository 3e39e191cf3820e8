"""anykube destroy."""

from __future__ import annotations

from anykube.cli.options import File, Format, Name, Output, Yes


def command(file: File = None, cluster: Name = None, output: Format = Output.TABLE, yes: Yes = False) -> int:
    """Remove the cluster and everything that anykube made for it. Its data is gone for good."""
    from anykube.cli.running import run_destroy

    return run_destroy(file, cluster, output, yes=yes)
