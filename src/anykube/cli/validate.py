"""anykube validate."""

from __future__ import annotations

from anykube.cli.options import File, Format, Name, Output


def command(file: File = None, cluster: Name = None, output: Format = Output.TABLE) -> None:
    """Check the cluster object and its addresses; touch nothing."""
    from anykube.cli.printing import document
    from anykube.cli.target import target
    from anykube.spec.nodes import nodes
    from anykube.workflow import validate

    found = target(file, cluster)
    validate(found.cluster, text=found.text, source=found.source)
    wanted = nodes(found.cluster)
    if output in (Output.JSON, Output.YAML):
        data = {"cluster": found.cluster.name, "nodes": [node.name for node in wanted], "problems": []}
        document("Validation", data, output)
    else:
        version = found.cluster.spec.kubernetes.version
        print(f"{found.cluster.name}: valid; Kubernetes {version}, {len(wanted)} nodes")
