"""Using a cluster that is there: commands and logs of its nodes, and the administrator's kubeconfig."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anykube.content.node import managed_units
from anykube.errors import StateError, UsageError
from anykube.pki import kubeconfig
from anykube.secret import Secret
from anykube.session import Folders, Session
from anykube.spec.endpoint import API_PORT, ApiEndpoint, url
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes
from anykube.transports.base import Result

ADMIN = "users/admin"
USER = "admin"
"""The user's name in the kubeconfig: contexts are 'admin@CLUSTER' and 'admin@NODE'."""
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


@dataclass(frozen=True, slots=True)
class AdminKubeconfig:
    """The administrator's kubeconfig. `server`: what it names. `note`: '' or what the user should know."""

    content: Secret
    server: str
    note: str = ""


async def admin_kubeconfig(cluster: Cluster, *, folders: Folders | None = None) -> AdminKubeconfig:
    """The kubeconfig of the administrator, with its key. It names a server that answers, if one does.

    With several ways to the cluster there is a context for each control plane besides: 'admin@NODE'.
    StateError if the cluster is not there yet.
    """
    async with Session(cluster, folders) as session:
        there = any(node.control_plane and node.name in session.addresses() for node in nodes(cluster))
        if not there or ADMIN not in session.secrets.names():
            raise StateError(f"{cluster.name} has no administrator yet.", remedy="bring it up: anykube apply")
        endpoint = session.endpoint()
        server, note = _chosen(endpoint, await session.kube().readiness_of_each())
        direct = {name: url(address, API_PORT) for name, address in endpoint.servers}
        several = len(endpoint.urls) > 1
        content = kubeconfig.render(
            cluster.name,
            server,
            session.secrets.part("ca/cluster", "bundle"),
            session.secrets.part(ADMIN, "certificate"),
            session.secrets.part(ADMIN, "key"),
            USER,
            {name: way for name, way in direct.items() if several and name != cluster.name},
        )
        return AdminKubeconfig(content, server, note)


def write_kubeconfig(cluster: Cluster, found: AdminKubeconfig, *, folders: Folders | None = None) -> Path:
    """Write the administrator's kubeconfig into the cluster's folder (0600) and return its path."""
    path = Session(cluster, folders).folder / "kubeconfig"
    kubeconfig.write(path, found.content)
    return path


def _chosen(endpoint: ApiEndpoint, readiness: Mapping[str, str]) -> tuple[str, str]:
    """The URL to name, and a note when it does not answer: an address of its own stays, others can move."""
    first = endpoint.urls[0]
    ready = [one for one in endpoint.urls if readiness.get(one) == ""]
    if not ready:
        return first, f"No API server answers now. The kubeconfig names {first}: {readiness.get(first, '')}"
    if endpoint.shared and first not in ready:
        names = [name for name, address in endpoint.servers if url(address, API_PORT) in ready]
        ways = " or ".join(f"--context {USER}@{name}" for name in names)
        return first, f"The endpoint {first} does not answer ({readiness[first]}); until it does: {ways}"
    return ready[0], ""


def _unit(name: str) -> str:
    full = name if name.endswith(".service") else f"{name}.service"
    if full not in managed_units():
        known = ", ".join(unit.removesuffix(".service") for unit in managed_units())
        raise UsageError(f"anykube runs no component {name[:60]!r}.", remedy=f"components: {known}")
    return full
