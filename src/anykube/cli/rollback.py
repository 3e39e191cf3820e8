"""anykube rollback."""

from __future__ import annotations

from typing import Annotated

import typer

from anykube.cli.options import DRAIN_SECONDS, DrainTimeout, File, Format, Name, Output, Yes
from anykube.errors import UsageError


def command(
    lost: Annotated[
        list[str] | None,
        typer.Option(
            "--lost",
            metavar="NODE",
            help="Across minor versions: a machine that cannot be reached and will not come back. May be "
            "given again.",
        ),
    ] = None,
    file: File = None,
    cluster: Name = None,
    output: Format = Output.TABLE,
    yes: Yes = False,
    drain_timeout: DrainTimeout = DRAIN_SECONDS,
) -> int:
    """Undo the last upgrade.

    Within a minor version, by the same road: node by node, finished or not. Across minor versions, as long
    as it is not finished: from the snapshot that it began with. All that was written since is lost then, and
    you type the cluster's name. Interrupted, run it again. Only the version changes in the file.
    """
    from anykube.cli.restoring import run_go_on, run_rollback
    from anykube.cli.running import change_version
    from anykube.cli.target import target
    from anykube.plan.upgrade import Asked, changes_minor
    from anykube.rollback import is_under_way
    from anykube.workflow import upgrade_to_undo

    found = target(file, cluster)
    if is_under_way(found.cluster.name):
        return run_go_on(found.cluster.name, lost or [], output, yes=yes, what="rollback")
    upgrade = upgrade_to_undo(found.cluster)
    if changes_minor(upgrade.source, upgrade.target):
        return run_rollback(upgrade.source, lost or [], file, cluster, output, yes=yes)
    if lost:
        raise UsageError(
            "--lost is for an upgrade across minor versions.", remedy="leave it out, or: anykube replace NODE"
        )
    asked = Asked(back=True, now=True)
    return change_version(upgrade.source, asked, file, cluster, output, yes=yes, drain_seconds=drain_timeout)
