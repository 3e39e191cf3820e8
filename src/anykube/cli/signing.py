"""anykube certs requests and import: authorities of somebody else sign for a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anykube.cli.options import File, Name


def requests(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write to.")],
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NODE|CERTIFICATE]...", help="Of a node, or by its name; else what is wanting."
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them, also those that are good.")] = False,
    file: File = None,
    cluster: Name = None,
) -> None:
    """Write requests for authorities of yours to sign.

    For clusters with security.externalAuthorities. One file a certificate, and requests.json, which says who
    is to sign what. The keys stay here.
    """
    import asyncio

    from anykube.cli.printing import message
    from anykube.cli.target import DEFAULT_FILE, target
    from anykube.signing import request_certificates

    found = target(file, cluster)
    made = asyncio.run(
        request_certificates(
            found.cluster, out, names or (), everything=everything, text=found.text, source=found.source
        )
    )
    if not made:
        message(f"{found.cluster.name}: no certificate is wanting or due (--all requests all of them).")
        return
    message(
        f"{found.cluster.name}: {len(made)} requests are in {out}. Put each certificate beside its request, "
        "as NAME.crt, and the authorities as ca/cluster.crt, ca/etcd.crt and ca/front-proxy.crt; then:\n"
        f"  anykube certs import {out} {f'-c {cluster}' if cluster else f'-f {file or DEFAULT_FILE}'}"
    )


def import_(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder of the requests, with what was signed.")
    ],
    file: File = None,
    cluster: Name = None,
) -> None:
    """Take over certificates that were signed elsewhere.

    Each is checked against its request: key, subject, names, usages, authority, dates. All that is wrong is
    told at once, and nothing is taken then. apply puts them in place.
    """
    import asyncio

    from anykube.cli.printing import message
    from anykube.cli.target import target
    from anykube.signing import take_certificates

    chosen = target(file, cluster).cluster
    taken = asyncio.run(take_certificates(chosen, folder))
    message(f"{chosen.name}: {len(taken)} certificates taken over. Put them in place: anykube apply")
