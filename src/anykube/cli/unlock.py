"""anykube unlock."""

from __future__ import annotations

from pathlib import Path

from anykube.cli.options import File, Name, Yes


def command(file: File = None, cluster: Name = None, yes: Yes = False) -> int:
    """Take the lock of a cluster away from a run that hangs. When that run wakes up it is refused."""
    from anykube.cli.printing import confirm, message
    from anykube.paths import state_dir
    from anykube.state.clusters import folder
    from anykube.state.takeover import held, take_over

    name = _name(file, cluster)
    home = folder(state_dir(), name)
    found = held(home)
    if found is None:
        message(f"Nobody holds the lock of {name}.")
        return 0
    message(f"{name} is locked by {found.holder or 'a process that left no name'}.")
    message(f"That process {found.process}.")
    if not yes and not confirm(f"Take the lock of {name} away from it?"):
        message("It was left alone.")
        return 0
    take_over(home, found)
    message(f"The lock of {name} is free. The run that held it is refused from now on. Go on: anykube apply")
    return 0


def _name(file: Path | None, cluster: str | None) -> str:
    """The cluster's name. With -c no record is needed: the first run may hang before it wrote one."""
    if file is None and cluster is not None:
        return cluster
    from anykube.cli.target import target

    return target(file, cluster).cluster.name
