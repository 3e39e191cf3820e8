"""anykube backup: an archive now, those that are there, proof of one, retention, and the key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anykube.cli.options import File, Format, Name, Output, Yes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from anykube.backup.names import Entry
    from anykube.backup.places import Place
    from anykube.spec.model import Cluster

app = typer.Typer(
    help="Make, list and prove backups: etcd, keys, object, record.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
To = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="PLACE",
        help="A folder, or s3://BUCKET/PREFIX. Default: spec.backup.to of the object.",
    ),
]


@app.command("create")
def create(file: File = None, cluster: Name = None, to: To = "", output: Format = Output.TABLE) -> None:
    """Make an archive now, verified before it gets its name.

    Nothing is written on the nodes. Retention is not applied: see prune.
    """
    import asyncio

    from anykube.cli.printing import document, message
    from anykube.cli.target import target
    from anykube.safekeeping import create, place_of

    found = target(file, cluster).cluster
    place = place_of(found, to)
    entry, made = asyncio.run(create(found, place, say=message))
    if output in (Output.JSON, Output.YAML):
        document("Backup", {"place": place.name, "name": entry.name, **made.model_dump()}, output)
    else:
        message(
            f"Made and verified: revision {made.snapshot.revision}, {made.snapshot.keys} keys, "
            f"{_size(entry.size)}."
        )
        print(_full_name(place, entry.name))
    _warn_about_key(found)


@app.command("list")
def list_(file: File = None, cluster: Name = None, to: To = "", output: Format = Output.TABLE) -> None:
    """Show the archives of a cluster in a place, the newest first."""
    from anykube.cli.printing import document, table
    from anykube.cli.status import duration
    from anykube.cli.target import target
    from anykube.safekeeping import entries, place_of, since

    found = target(file, cluster).cluster
    items = list(reversed(entries(found, place_of(found, to))))
    if output in (Output.JSON, Output.YAML):
        rows = [
            {"name": item.name, "taken": item.taken.isoformat(), "node": item.node, "size": item.size}
            for item in items
        ]
        document("BackupList", {"items": rows}, output)
    elif output is Output.NAME:
        print("\n".join(item.name for item in items))
    else:
        table(
            ("ARCHIVE", "TAKEN", "AGE", "NODE", "SIZE"),
            [
                (
                    item.name,
                    f"{item.taken:%Y-%m-%d %H:%M}",
                    duration(since(item.taken)),
                    item.node,
                    _size(item.size),
                )
                for item in items
            ],
        )


@app.command("verify")
def verify(
    archive: Annotated[
        str,
        typer.Argument(metavar="ARCHIVE", help="A file, or a name as list shows it. Default: the newest."),
    ] = "",
    identity: Annotated[
        list[Path] | None,
        typer.Option("--identity", metavar="FILE", help="A key of age that can read it. May be given again."),
    ] = None,
    file: File = None,
    cluster: Name = None,
    to: To = "",
) -> None:
    """Restore an archive into a scratch etcd here, and compare.

    Revision, number of keys and hash must be those that etcd had. Nothing of the cluster is touched.
    """
    import asyncio
    from contextlib import nullcontext

    from anykube.cli.printing import message
    from anykube.cli.restoring import keys_of
    from anykube.safekeeping import own_key, verify

    keys = keys_of(identity) if identity else ()
    if archive and Path(archive).is_file() and identity:
        source: AbstractContextManager[Path] = nullcontext(Path(archive))
    else:
        from anykube.cli.target import target
        from anykube.safekeeping import place_of

        found = target(file, cluster).cluster
        own = own_key(found)
        keys = keys or ((own,) if own else ())
        if archive and Path(archive).is_file():
            source = nullcontext(Path(archive))
        else:
            place = place_of(found, to)
            source = place.got(archive or _newest(found, place))
    with source as path:
        made = asyncio.run(verify(path, keys))
    snapshot = made.snapshot
    message(
        f"{path.name} can be restored: {made.cluster}, Kubernetes {made.kubernetes}, taken "
        f"{made.when:%Y-%m-%d %H:%M:%S} UTC on {made.node}; revision {snapshot.revision}, "
        f"{snapshot.keys} keys, hash {snapshot.hash}."
    )


@app.command("prune")
def prune(
    file: File = None,
    cluster: Name = None,
    to: To = "",
    keep: Annotated[
        int, typer.Option("--keep", min=1, help="How many stay. Default: spec.backup.keep of the object.")
    ] = 0,
    yes: Yes = False,
) -> int:
    """Remove old archives of a cluster from a place. The newest always stays."""
    from anykube.backup.names import surplus
    from anykube.cli.printing import confirm, message
    from anykube.cli.target import target
    from anykube.errors import UsageError
    from anykube.safekeeping import entries, place_of, prune

    found = target(file, cluster).cluster
    place = place_of(found, to)
    keep = keep or (found.spec.backup.keep if found.spec.backup else 0)
    if not keep:
        raise UsageError(
            "Nothing says how many archives stay.", remedy="--keep NUMBER, or set spec.backup.keep"
        )
    doomed = surplus(entries(found, place), keep)
    _show(doomed)
    if doomed and not (yes or confirm(f"Remove these {len(doomed)} from {place.name}?")):
        return 1
    message(f"{len(prune(found, place, keep))} removed from {place.name}.")
    return 0


@app.command("key")
def key(file: File = None, cluster: Name = None) -> None:
    """Print the cluster's own key for its archives. Keep it elsewhere: without it they cannot be read."""
    from anykube.cli.printing import message
    from anykube.cli.target import target
    from anykube.errors import UsageError
    from anykube.safekeeping import own_key, recipient

    found = target(file, cluster).cluster
    own = own_key(found)
    if own is None:
        raise UsageError(
            f"{found.name} has no key of its own for archives.",
            remedy="they are for spec.backup.recipients; or there is none yet: anykube backup create",
        )
    message(f"# The key of {recipient(own)}: reads every archive of {found.name}, with all its keys in them.")
    print(own.reveal().decode().strip())


def _newest(cluster: Cluster, place: Place) -> str:
    from anykube.errors import BackupError
    from anykube.safekeeping import entries

    items = entries(cluster, place)
    if not items:
        raise BackupError(
            f"There is no archive of {cluster.name} in {place.name}.", remedy="anykube backup create"
        )
    return items[-1].name


def _show(items: Sequence[Entry]) -> None:
    from anykube.cli.printing import message

    for item in items:
        message(f"{item.name}  {_size(item.size)}")


def _warn_about_key(cluster: Cluster) -> None:
    """Whoever loses this machine loses the only key, unless it is kept elsewhere."""
    from anykube.cli.printing import message

    if not (cluster.spec.backup and cluster.spec.backup.recipients):
        message(
            "It is encrypted with a key that only this machine has. KEEP THAT KEY ELSEWHERE, or the archive "
            f"is worth nothing when this machine is lost: anykube backup key -c {cluster.name}"
        )


def _full_name(place: Place, name: str) -> str:
    return f"{place.name}/{name}"


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"
