"""anykube status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from anykube.cli.options import File, Format, Name, Output

if TYPE_CHECKING:
    from anykube.plan.status import Status

UNHEALTHY = 3
SOON = 60
SOON_AUTHORITY = 365
"""Certificates, and authorities, that end within so many days are shown one by one."""


def command(
    file: File = None,
    cluster: Name = None,
    output: Format = Output.TABLE,
    check: Annotated[bool, typer.Option("--check", help="Exit with 3 unless all is well.")] = False,
) -> int:
    """Show nodes, etcd, who leads, certificates, addons and drift.

    Changes nothing.
    """
    import asyncio

    from anykube.cli.printing import document
    from anykube.cli.target import target
    from anykube.state.codec import encode
    from anykube.workflow import status

    found = asyncio.run(status(target(file, cluster).cluster))
    if output in (Output.JSON, Output.YAML):
        document("Status", {"status": encode(_plain(found)), "healthy": found.healthy}, output)
    elif output is Output.NAME:
        print("\n".join(node.name for node in found.nodes))
    else:
        _print(found, wide=output is Output.WIDE)
    return UNHEALTHY if check and not found.healthy else 0


def node_table(status: Status) -> None:
    """The nodes, as a table on stdout."""
    from anykube.cli.printing import table

    header = ("NODE", "ROLE", "VERSION", "ADDRESS", "STATE")
    table(
        header,
        [
            (node.name, ",".join(node.roles), node.version or "-", node.address, node.state)
            for node in status.nodes
        ],
    )


def _print(status: Status, *, wide: bool) -> None:
    from anykube.cli.printing import show

    version = f", Kubernetes {status.version}" if status.version else ""
    show(f"{status.cluster}: API {status.api}{version}\n")
    node_table(status)
    for node in status.nodes:
        for unit, state in node.components.items():
            show(f"  {node.name}: {unit} is {state}")
    show("")
    _print_endpoint(status)
    _print_etcd(status, wide=wide)
    if status.leaders:
        show(
            "leaders       "
            + ", ".join(f"{name} on {at or 'no node'}" for name, at in status.leaders.items())
        )
    _print_certificates(status, wide=wide)
    _print_backup(status)
    for addon in status.addons:
        show(f"addon         {addon.name}: {addon.ready} of {addon.wanted} ready")
    for line in status.under_way:
        show(f"under way     {line}")
    if status.drift:
        show(f"drift         {len(status.drift)} differences; anykube apply repairs them")
        for line in status.drift if wide else status.drift[:10]:
            show(f"  {line}")
    else:
        show("drift         none")


def _print_endpoint(status: Status) -> None:
    from anykube.cli.printing import show
    from anykube.plan.availability import where

    if found := status.endpoint:
        show(f"endpoint      {found.kind}, {where(found)}" + (f": {found.trouble}" if found.trouble else ""))


def _print_etcd(status: Status, *, wide: bool) -> None:
    """One line while all is well, else what is wrong with whom."""
    from anykube.cli.printing import show

    if (etcd := status.etcd) is None:
        return
    show(f"etcd          {etcd.summary}" + (f", leader {etcd.leader}" if etcd.leader else ""))
    for member in etcd.members:
        if wide or not member.healthy:
            show(f"  {member.node}: {member.role}, {member.state}")
    for alarm in etcd.alarms:
        show(f"  alarm: {alarm}")


def _print_certificates(status: Status, *, wide: bool) -> None:
    from anykube.cli.printing import show

    ordered = sorted(status.certificates, key=lambda certificate: certificate.days)
    if not ordered:
        show("certificates  none yet")
        return
    first = ordered[0]
    show(f"certificates  {len(ordered)}, the first ends in {first.days} days ({first.name})")
    for certificate in ordered:
        if wide or certificate.days < (SOON_AUTHORITY if certificate.authority else SOON):
            show(f"  {certificate.name:<40} {certificate.not_after:%Y-%m-%d}  {certificate.days} days")


def _print_backup(status: Status) -> None:
    from anykube.cli.printing import show

    if (backup := status.backup) is None:
        return
    if backup.age is None:
        show("backup        none is verified yet")
    else:
        late = "" if backup.healthy else f"; TOO OLD, at most {duration(backup.limit)} is expected"
        show(f"backup        verified {duration(backup.age)} ago on {backup.node}{late}")
    for node, reason in backup.failed.items():
        show(f"  failed on {node}: {reason}")


def duration(seconds: float) -> str:
    """A length of time in its two largest units, for people."""
    minutes = int(seconds // 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _plain(status: Status) -> Status:
    from dataclasses import replace

    certificates = tuple(
        replace(certificate, not_after=certificate.not_after.isoformat())  # type: ignore[arg-type]
        for certificate in status.certificates
    )
    return replace(status, certificates=certificates)
