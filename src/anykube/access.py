"""Using a cluster that is there: commands and logs of its nodes, and the administrator's kubeconfig."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from anykube.content.node import managed_units
from anykube.errors import StateError, UsageError
from anykube.pki import kubeconfig
from anykube.secret import Secret
from anykube.session import Folders, Session
from anykube.spec.model import Cluster
from anykube.transports.base import Result

ADMIN = "users/admin"
EXEC_SECONDS = 24 * 3600.0


async def run_on(
    cluster: Cluster, node: str, arguments: Sequence[str], *, folders: Folders | None = None
) -> Result:
    """Run an argument list on a node and wait for it. UsageError if there is no such node."""
    async with Session(cluster, folders) as session:
        return await session.transport(node).run(arguments, seconds=EXEC_SECONDS)


async def journal_of(
    cluster: Cluster,
    node: str,
    unit: str | None,
    *,
    lines: int = 100,
    follow: bool = False,
    folders: Folders | None = None,
) -> AsyncIterator[str]:
    """Lines of the journal of one component of a node, or of all that anykube runs there."""
    units = managed_units() if unit is None else (_unit(unit),)
    argv = ["journalctl", "--no-pager", "--output=short-iso", f"--lines={lines}"]
    argv += [f"--unit={name}" for name in units]
    if follow:
        argv.append("--follow")
    async with Session(cluster, folders) as session:
        async for line in session.transport(node).stream(argv):
            yield line


def admin_kubeconfig(cluster: Cluster, *, folders: Folders | None = None) -> Secret:
    """The kubeconfig of the administrator, with its key. StateError if the cluster is not there yet."""
    session = Session(cluster, folders)
    if ADMIN not in session.secrets.names():
        raise StateError(f"{cluster.name} has no administrator yet.", remedy="bring it up: anykube apply")
    return kubeconfig.render(
        cluster.name,
        session.server(),
        session.secrets.part("ca/cluster", "certificate"),
        session.secrets.part(ADMIN, "certificate"),
        session.secrets.part(ADMIN, "key"),
        "admin",
    )


def write_kubeconfig(cluster: Cluster, *, folders: Folders | None = None) -> Path:
    """Write the administrator's kubeconfig into the cluster's folder (0600) and return its path."""
    path = Session(cluster, folders).folder / "kubeconfig"
    kubeconfig.write(path, admin_kubeconfig(cluster, folders=folders))
    return path


def _unit(name: str) -> str:
    full = name if name.endswith(".service") else f"{name}.service"
    if full not in managed_units():
        known = ", ".join(unit.removesuffix(".service") for unit in managed_units())
        raise UsageError(f"anykube runs no component {name[:60]!r}.", remedy=f"components: {known}")
    return full
