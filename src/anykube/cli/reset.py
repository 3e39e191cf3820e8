"""anykube reset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anykube.cli.options import DRAIN_SECONDS, DrainTimeout, File, Format, Name, Output, Yes
from anykube.errors import UsageError

if TYPE_CHECKING:
    from anykube.transports.base import Endpoint

SSH_PORT = 22


def command(  # noqa: PLR0913  options of a command
    node: Annotated[
        str | None, typer.Argument(metavar="NODE", help="The node whose machine is given back.")
    ] = None,
    file: File = None,
    cluster: Name = None,
    force: Annotated[
        bool, typer.Option("--force", help="Only clean the machine: do not drain, do not leave etcd.")
    ] = False,
    address: Annotated[
        str,
        typer.Option("--address", metavar="[USER@]HOST[:PORT]", help="A machine that no record here knows."),
    ] = "",
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="The private SSH key for --address.")
    ] = None,
    host_key: Annotated[
        str,
        typer.Option("--host-key", metavar="KEY", help="Its public host key; else from ~/.ssh/known_hosts."),
    ] = "",
    lineage: Annotated[
        str,
        typer.Option("--lineage", metavar="ID", help="Whose a machine is that no record here knows."),
    ] = "",
    output: Format = Output.TABLE,
    yes: Yes = False,
    drain_timeout: DrainTimeout = DRAIN_SECONDS,
) -> int:
    """Take from a machine what anykube put there, and nothing else. The machine stays.

    Its node is drained and leaves etcd and the cluster first. With --address, or when the record is gone,
    only the ledger on the machine says what goes. What was there before anykube comes back, all else stays.
    """
    from anykube.cli.running import run_reset, run_reset_machine

    if bool(node) == bool(address):
        raise UsageError("reset takes a node, or --address.", remedy="anykube reset NODE -c CLUSTER")
    if node:
        return run_reset(
            node, file, cluster, output, yes=yes, force=force, lineage=lineage, drain_seconds=drain_timeout
        )
    if key is None:
        raise UsageError("--address needs an SSH key.", remedy="add --key FILE")
    return run_reset_machine(endpoint_of(address, host_key), key, output, yes=yes, lineage=lineage)


def endpoint_of(address: str, host_key: str) -> Endpoint:
    """How [USER@]HOST[:PORT] is reached; without a host key, that of ~/.ssh/known_hosts or HostKeyError."""
    from anykube.transports.base import Endpoint
    from anykube.transports.known import known_key

    user, _, place = address.rpartition("@")
    host, colon, port = place.rpartition(":")
    if not colon or (":" in host.strip("[]") and not place.startswith("[")):
        host, port = place, str(SSH_PORT)
    host = host.strip("[]")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError(f"{address[:80]!r} is not an address.", remedy="for example root@192.0.2.7:22")
    return Endpoint(host, host, int(port), user or "root", host_key or known_key(host, int(port)))
