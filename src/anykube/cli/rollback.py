"""anykube rollback."""

from __future__ import annotations

from anykube.cli.options import DRAIN_SECONDS, DrainTimeout, File, Format, Name, Output, Yes


def command(
    file: File = None,
    cluster: Name = None,
    output: Format = Output.TABLE,
    yes: Yes = False,
    drain_timeout: DrainTimeout = DRAIN_SECONDS,
) -> int:
    """Undo the last upgrade, if it was a patch.

    Within a minor version, by the same road: node by node, finished or not. Only the version changes in the
    file.
    """
    from anykube.cli.running import change_version
    from anykube.cli.target import target
    from anykube.plan.upgrade import Asked
    from anykube.workflow import version_before

    found = target(file, cluster)
    before = version_before(found.cluster)
    asked = Asked(back=True, now=True)
    return change_version(before, asked, file, cluster, output, yes=yes, drain_seconds=drain_timeout)
