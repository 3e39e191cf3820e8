"""anykube certs: every certificate of a cluster, and what is done about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from anykube.cli import rotate, signing
from anykube.cli.options import File, Format, Name, Output, Yes

if TYPE_CHECKING:
    from anykube.plan.inventory import Inventory, Row

ATTENTION = 3
"""Exit status of --check, as that of `status --check`."""
RED, YELLOW = "31", "33"
HERE = "this machine"
NAMES_SHOWN = 4

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@app.callback()
def command(
    context: typer.Context,
    file: File = None,
    cluster: Name = None,
    output: Format = Output.TABLE,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 3 when one is due, ended, or not the one it should be.")
    ] = False,
) -> int:
    """Show every certificate, and until when; renew them.

    Those kept here, those in files and kubeconfigs on every node, and those that processes serve. Only
    certificates are read on nodes, never keys.
    """
    if context.invoked_subcommand is not None:
        return 0
    import asyncio

    from anykube.certificates import certificates
    from anykube.cli.printing import document
    from anykube.cli.target import target

    chosen = target(file, cluster).cluster
    found = asyncio.run(certificates(chosen))
    if output in (Output.JSON, Output.YAML):
        items = [_plain(row, found) for row in found.rows]
        body = {"cluster": chosen.name, "healthy": found.healthy, "notes": list(found.notes), "items": items}
        document("CertificateList", body, output)
    elif output is Output.NAME:
        print("\n".join(f"{row.node or HERE}:{row.place}" for row in found.rows))
    else:
        _print(chosen.name, found, wide=output is Output.WIDE)
    return ATTENTION if check and not found.healthy else 0


@app.command("renew")
def renew(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NODE|CERTIFICATE]...", help="Of a node, or by its name; else what is due."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them, due or not.")] = False,
    file: File = None,
    cluster: Name = None,
    output: Format = Output.TABLE,
    yes: Yes = False,
) -> int:
    """Make certificates anew over SSH, also with the API down.

    It does not matter whether they have ended. etcd and API servers go on without a restart, other components
    restart; pods keep running. Not for authorities: see rotate-ca.
    """
    from anykube.cli.running import run_renew

    return run_renew(names or (), file, cluster, output, everything=everything, yes=yes)


app.command("requests")(signing.requests)
app.command("import")(signing.import_)
app.command("rotate-ca")(rotate.authority)
app.command("rotate-key")(rotate.key)


def _print(cluster: str, found: Inventory, *, wide: bool) -> None:
    from anykube.cli.printing import show, table
    from anykube.plan.inventory import FINE

    amiss = [row for row in found.rows if row.state not in FINE]
    verdict = f"{len(amiss)} need attention" if amiss else "all are as they should be"
    show(f"{cluster}: {len(found.rows)} certificates, {verdict}\n")
    rows = [row for row in found.rows if wide or _telling(row)]
    header = ["NODE", "WHERE", "SUBJECT", "ENDS", "DAYS", "STATE"]
    header += ["RENEWS", "NAMES", "ISSUER"] if wide else []
    table(header, [_cells(row, found, wide=wide) for row in rows], [_hue(row) for row in rows])
    if len(rows) < len(found.rows):
        show(f"and {len(found.rows) - len(rows)} in files on nodes, as they should be (-o wide)")
    show("")
    for month, ending in found.calendar().items():
        show(f"{month}  {len(ending):>4} end: {_named(ending)}")
    for note in found.notes:
        show(f"note: {note}")


def _telling(row: Row) -> bool:
    """Files on nodes that are as they should be only say once more what is kept here."""
    from anykube.facts.certificates import Where
    from anykube.plan.inventory import FINE

    return row.state not in FINE or row.where in (Where.KEPT, Where.PORT)


def _cells(row: Row, found: Inventory, *, wide: bool) -> list[str]:
    state = f"{row.state}: {row.note}" if row.note else str(row.state)
    node = row.node or HERE
    if (certificate := row.certificate) is None:
        return [node, row.place or "files", "", "", "", state, *(["", "", ""] if wide else [])]
    subject = ", ".join((certificate.common_name, *(f"O={name}" for name in certificate.organizations)))
    days = str(row.days(found.now))
    cells = [node, row.place, subject, f"{certificate.not_after:%Y-%m-%d}", days, state]
    if wide:
        names = " ".join((*certificate.dns_names, *certificate.addresses))
        cells += [f"{certificate.due:%Y-%m-%d}", names, certificate.issued_by]
    return cells


def _hue(row: Row) -> str:
    from anykube.plan.inventory import FINE, State

    if row.state in FINE:
        return ""
    return YELLOW if row.state in (State.DUE, State.UNSEEN) else RED


def _named(rows: tuple[Row, ...]) -> str:
    """Certificates of a node together, the others one by one."""
    counts: dict[str, int] = {}
    for row in rows:
        folder, _, rest = row.place.partition("/")
        name = rest.partition("/")[0] if folder == "nodes" else row.place
        counts[name] = counts.get(name, 0) + 1
    named = [f"{name} ({count})" if count > 1 else name for name, count in counts.items()]
    more = len(named) - NAMES_SHOWN
    return ", ".join(named[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _plain(row: Row, found: Inventory) -> dict[str, Any]:
    common = {
        "node": row.node,
        "where": str(row.where),
        "place": row.place,
        "state": str(row.state),
        "note": row.note,
    }
    if (certificate := row.certificate) is None:
        return common
    return {
        **common,
        "subject": certificate.common_name,
        "organizations": list(certificate.organizations),
        "names": [*certificate.dns_names, *certificate.addresses],
        "issuer": certificate.issued_by,
        "authority": certificate.authority,
        "notBefore": certificate.not_before.isoformat(),
        "notAfter": certificate.not_after.isoformat(),
        "renews": certificate.due.isoformat(),
        "days": row.days(found.now),
        "fingerprint": certificate.fingerprint,
    }
