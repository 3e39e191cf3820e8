"""Running restore and adopt from the command line: which keys, which object, and the question before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from anykube.cli.options import Output
from anykube.cli.printing import document, message, typed
from anykube.cli.progress import Progress, is_live
from anykube.cli.running import run_to_its_end
from anykube.errors import AnykubeError, UsageError

if TYPE_CHECKING:
    from anykube.execute.engine import StopFlag
    from anykube.plan.model import Plan
    from anykube.run import Report
    from anykube.secret import Secret


def run_restore(
    archive: str,
    identities: Sequence[Path],
    node: str,
    lost: Sequence[str],
    file: Path | None,
    output: Output,
    *,
    yes: bool,
) -> int:
    """anykube restore ARCHIVE."""
    from anykube.objectfile import read
    from anykube.restore import restore

    text, source = read(file) if file else ("", "")
    if file and str(file) != "-":
        source = str(file.absolute())
    keys = keys_of(identities)

    async def work(stop: StopFlag, show: Progress) -> Report:
        return await restore(
            path,
            keys,
            text=text,
            source=source,
            node=node,
            lost=lost,
            approve=_approval("restore it", yes=yes),
            emit=show,
            stop=stop,
        )

    with _fetched(archive) as path:
        report = run_to_its_end(work, output)
    return _ended(report, output)


def run_go_on(name: str, lost: Sequence[str], output: Output, *, yes: bool, what: str = "restore") -> int:
    """anykube restore -c NAME, or rollback once more."""
    from anykube.restore import go_on

    async def work(stop: StopFlag, show: Progress) -> Report:
        approve = _approval(f"finish the {what}", yes=yes)
        return await go_on(name, lost=lost, approve=approve, emit=show, stop=stop)

    return _ended(run_to_its_end(work, output), output)


def run_rollback(
    version: str, lost: Sequence[str], file: Path | None, name: str | None, output: Output, *, yes: bool
) -> int:
    """anykube rollback across minor versions. The file has the old version once it is agreed to."""
    from anykube.cli.running import with_other_version
    from anykube.rollback import rollback

    wanted, keep = with_other_version(version, file, name)
    approve = _approval("undo the upgrade", yes=yes)

    def agreed(plan: Plan) -> bool:
        answer = approve(plan)
        if answer:
            keep()
        return answer

    async def work(stop: StopFlag, show: Progress) -> Report:
        return await rollback(
            wanted.cluster,
            text=wanted.text,
            source=wanted.source,
            lost=lost,
            approve=agreed,
            emit=show,
            stop=stop,
        )

    return _ended(run_to_its_end(work, output), output)


def run_abort(name: str, output: Output, *, yes: bool) -> int:
    """anykube restore --abort -c NAME."""
    from anykube.restore import abort

    async def work(stop: StopFlag, show: Progress) -> Report:
        approve = _approval("take the restore back", yes=yes)
        return await abort(name, approve=approve, emit=show, stop=stop)

    return _ended(run_to_its_end(work, output), output)


def run_adopt(
    archive: str,
    node: str,
    ssh_key: Path | None,
    host_key: str,
    identities: Sequence[Path],
    file: Path | None,
    output: Output,
) -> int:
    """anykube adopt."""
    import asyncio

    from anykube.adopt import Adopted, adopt, sealed_on_node
    from anykube.backup.archive import opened
    from anykube.cli.reset import endpoint_of
    from anykube.objectfile import read
    from anykube.plan.render import summary
    from anykube.secret import Secret

    text, source = read(file) if file else ("", "")
    keys = keys_of(identities)
    ssh_secret = Secret(_bytes_of(ssh_key, "The SSH key")) if ssh_key else Secret(b"")

    async def work() -> Adopted:
        if archive:
            with _fetched(archive) as path, opened(path, keys) as found:
                return await adopt(found.state, keys, text=text, source=source)
        saved = await sealed_on_node(endpoint_of(node, host_key), ssh_secret, keys)
        return await adopt(saved, keys, text=text, source=source)

    done = asyncio.run(work())
    name = done.plan.cluster
    if output in (Output.JSON, Output.YAML):
        document("Adopted", {"cluster": name, "lineage": done.lineage, "epoch": done.epoch}, output)
        return 0
    message(f"{name} is known here again: lineage {done.lineage}, next run {done.epoch + 1}.")
    message(summary(done.plan))
    return 0


def keys_of(files: Sequence[Path]) -> tuple[Secret, ...]:
    """The identities of age in these files; without files, those that clusters known here keep themselves."""
    from anykube.backup.age import identities

    found = [key for path in files for key in identities(_bytes_of(path, "The identity"), str(path))]
    found = found or list(_own_keys())
    if not found:
        raise UsageError("No identity of age was given.", remedy="--identity FILE, as age-keygen wrote it")
    return tuple(found)


def _own_keys() -> Iterator[Secret]:
    from anykube.cli.target import target
    from anykube.paths import state_dir
    from anykube.safekeeping import own_key
    from anykube.state.clusters import clusters

    for name in clusters(state_dir()):
        with suppress(AnykubeError):
            if key := own_key(target(None, name).cluster):
                yield key


def _fetched(archive: str) -> AbstractContextManager[Path]:
    """The archive as a file of this machine: a path, or a name in S3."""
    from anykube.backup.places import SCHEME, place

    if not archive.startswith(SCHEME):
        return nullcontext(Path(archive))
    folder, _, name = archive.rpartition("/")
    return place(folder).got(name)


def _bytes_of(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{what} {path} cannot be read: {error.strerror}.", remedy="name another") from error


def _approval(what: str, *, yes: bool) -> Callable[[Plan], bool]:
    """What was written since is lost, so the cluster is named in the answer."""

    def approve(plan: Plan) -> bool:
        from anykube.plan.render import lines

        message("\n".join(lines(plan)))
        return yes or typed(f"Type the name of the cluster to {what}:", plan.cluster)

    return approve


def _ended(report: Report, output: Output) -> int:
    if not report.approved:
        message("Nothing was changed.")
    elif output is not Output.JSON:
        from anykube.cli.ending import finish
        from anykube.cli.target import target

        finish(report, target(None, report.plan.cluster), live=is_live())
    return 0
