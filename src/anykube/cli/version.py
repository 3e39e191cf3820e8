"""anykube version."""

from __future__ import annotations

from anykube.cli.options import Format, Output


def command(output: Format = Output.TABLE) -> None:
    """Print the versions of anykube and of its Kubernetes."""
    from importlib.metadata import version

    from anykube.cli.printing import document
    from anykube.spec.catalog import VERSIONS

    own = version("anykube")
    if output in (Output.JSON, Output.YAML):
        document("Version", {"version": own, "kubernetes": list(VERSIONS)}, output)
    else:
        print(f"anykube {own}")
        print(f"kubernetes {', '.join(VERSIONS)}")
